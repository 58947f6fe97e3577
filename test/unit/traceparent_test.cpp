// The form of a traceparent, and where a job's meta has one.
#include "core/traceparent.hpp"
#include "consumer/trace.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

using namespace ecto_job;
using consumer::traceparent_of;

namespace {

// The example of the recommendation
const std::string example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string with(std::size_t at, const std::string &text) {
    std::string changed = example;
    return changed.replace(at, text.size(), text);
}

} // namespace

TEST(traceparent, takes_what_the_recommendation_allows) {
    for (const std::string &text : {example, with(53, "00"), with(53, "ff"), with(0, "cc")})
        EXPECT_TRUE(is_traceparent(text)) << text;
}

TEST(traceparent, refuses_what_the_recommendation_forbids) {
    const std::string none;
    for (const std::string &text :
         {none, std::string("00"), example + "-00", example + "\n", example.substr(0, 54),
          with(0, "ff"), with(2, "_"), with(35, "_"), with(52, "_"), with(3, std::string(32, '0')),
          with(36, std::string(16, '0')), with(3, "4BF9"), with(3, "g"), with(53, " 1"),
          std::string(55, '0'), std::string(55, '-')})
        EXPECT_FALSE(is_traceparent(text)) << text;
}

RC_GTEST_PROP(traceparent, has_hexadecimal_digits_in_each_place, ()) {
    const auto at = *rc::gen::inRange<std::size_t>(0, 55);
    const auto character = *rc::gen::arbitrary<char>();
    const std::string text = with(at, std::string(1, character));
    const bool hyphen = example[at] == '-';
    const bool digit = std::string("0123456789abcdef").find(character) != std::string::npos;
    RC_ASSERT(is_traceparent(text) ==
              (hyphen ? character == '-' : digit && !text.starts_with("ff")));
}

TEST(traceparent, is_found_in_a_jobs_meta) {
    EXPECT_EQ(traceparent_of(R"({"a": [1], "traceparent": ")" + example + R"("})"), example);
    for (const std::string &meta :
         {std::string("{}"), std::string("null"), std::string("not JSON"),
          R"({"traceparent": ")" + example, R"(["traceparent", ")" + example + R"("])",
          R"({"a": {"traceparent": ")" + example + R"("}})",
          std::string(R"({"traceparent": null})"), std::string(R"({"traceparent": 1})"),
          R"({"traceparent": ")" + example + R"(\nLD_PRELOAD=x"})"})
        EXPECT_EQ(traceparent_of(meta), std::nullopt) << meta;
}
