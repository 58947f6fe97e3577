// Versions are compared number by number from the left; a missing number is 0.
#include "core/version.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

using namespace ecto_job;

namespace {

TEST(version, compares_numbers) {
    EXPECT_EQ(compare_versions("0.1.0", "0.1.0"), 0);
    EXPECT_EQ(compare_versions("0.2.0", "0.10.0"), -1);
    EXPECT_EQ(compare_versions("1.0", "0.99.99"), 1);
    EXPECT_EQ(compare_versions("1.0", "1.0.0"), 0);
    EXPECT_EQ(compare_versions("1.0.1", "1.0"), 1);
    EXPECT_EQ(compare_versions("", ""), 0);
}

RC_GTEST_PROP(version, has_an_order, ()) {
    const auto part = rc::gen::inRange(0, 100);
    const int a = *part, b = *part, c = *part, d = *part;
    const auto text = [](int one, int two) {
        return std::to_string(one) + "." + std::to_string(two);
    };
    const int expected = a != c ? (a < c ? -1 : 1) : b != d ? (b < d ? -1 : 1) : 0;
    RC_ASSERT(compare_versions(text(a, b).c_str(), text(c, d).c_str()) == expected);
    RC_ASSERT(compare_versions(text(c, d).c_str(), text(a, b).c_str()) == -expected);
}

} // namespace
