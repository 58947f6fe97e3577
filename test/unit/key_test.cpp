// The order of keys against that of tuples, which is the order of SQL's row comparison.
#include "core/key.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <tuple>

using namespace ecto_job;

namespace {

// Generates few values, so that fields are often equal, with the ends of their types among them
JobKey any_key() {
    const auto any_of = [](std::initializer_list<std::int64_t> values) {
        return *rc::gen::elementOf(values);
    };
    return {static_cast<std::int32_t>(any_of({lowest_key.priority, -1, 0, 7})),
            any_of({minus_infinity, -1, 0, 7, plus_infinity}), any_of({lowest_key.id, -1, 0, 7})};
}

auto as_tuple(const JobKey &key) {
    return std::tuple(key.priority, key.schedule, key.id);
}

TEST(key, each_field_counts_before_the_next) {
    constexpr JobKey key{1, 20, 300};
    EXPECT_LT(key, (JobKey{2, 0, 0}));
    EXPECT_LT(key, (JobKey{1, 21, 0}));
    EXPECT_LT(key, (JobKey{1, 20, 301}));
    EXPECT_EQ(key, (JobKey{1, 20, 300}));
    EXPECT_GT(key, (JobKey{0, 99, 999}));
}

RC_GTEST_PROP(key, order_is_lexicographic, ()) {
    const JobKey a = any_key();
    const JobKey b = any_key();
    RC_ASSERT((a <=> b) == (as_tuple(a) <=> as_tuple(b)));
    RC_ASSERT((a == b) == (as_tuple(a) == as_tuple(b)));
}

RC_GTEST_PROP(key, nothing_is_below_the_lowest, ()) {
    RC_ASSERT(lowest_key <= any_key());
}

} // namespace
