// The output of programs, in any bytes, as text for the log and the database.
#include "consumer/text.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include <string>

using namespace ecto_job::consumer;

namespace {

using namespace std::string_literals;

TEST(text, one_line_escapes_what_would_end_the_line) {
    EXPECT_EQ(one_line("a\nb\t\"c\""), R"("a\nb\t\"c\"")");
    EXPECT_EQ(one_line(""), R"("")");
}

RC_GTEST_PROP(text, one_line_is_one_line_of_utf8, (const std::string &bytes)) {
    const std::string line = one_line(bytes);
    RC_ASSERT(line.find_first_of("\n\r\0"s) == std::string::npos);
    RC_ASSERT(nlohmann::json::accept(line)); // invalid UTF-8 would not be
}

TEST(text, valid_utf8_keeps_text_and_replaces_bytes) {
    EXPECT_EQ(valid_utf8("größer\n"), "größer\n");
    EXPECT_EQ(valid_utf8("a\0b"s), "ab");
    EXPECT_EQ(valid_utf8("a\xff"), "a\xef\xbf\xbd");
    EXPECT_EQ(valid_utf8("a\xc3"), "a\xef\xbf\xbd"); // a character that breaks off
}

RC_GTEST_PROP(text, valid_utf8_is_what_the_database_takes, (const std::string &bytes)) {
    const std::string text = valid_utf8(bytes);
    RC_ASSERT(text.find('\0') == std::string::npos);
    RC_ASSERT(valid_utf8(text) == text);
    RC_ASSERT(text.size() <= 3 * bytes.size());
}

TEST(text, clipped_ends_with_a_whole_character) {
    EXPECT_EQ(clipped("abc", 3), "abc");
    EXPECT_EQ(clipped("abcd", 3), "abc");
    EXPECT_EQ(clipped("aöb", 2), "a");
    EXPECT_EQ(clipped("aöb", 3), "aö");
    EXPECT_EQ(clipped("ö", 1), "");
}

RC_GTEST_PROP(text, clipped_is_valid_and_within_its_limit, (const std::string &bytes)) {
    const std::string text = valid_utf8(bytes);
    const auto limit = *rc::gen::inRange<std::size_t>(0, 20);
    const std::string result = clipped(text, limit);
    RC_ASSERT(valid_utf8(result) == result);
    RC_ASSERT(result.size() <= limit || result == text);
    RC_ASSERT(text.starts_with(result));
}

TEST(text, ascii_has_one_mark_for_each_character) {
    EXPECT_EQ(ascii("größe: can’t"), "gr??e: can?t");
    EXPECT_EQ(ascii("plain\n"), "plain\n");
}

TEST(tail, of_what_fits_is_all_of_it) {
    Tail tail(5);
    tail.append("ab");
    tail.append("cde");
    EXPECT_EQ(tail.text(), "abcde");
}

TEST(tail, says_that_something_was_before) {
    Tail tail(5);
    tail.append("abc");
    tail.append("def");
    EXPECT_EQ(tail.text(), "...bcdef");
    Tail at_once(5);
    at_once.append("abcdef");
    EXPECT_EQ(at_once.text(), "...bcdef");
}

TEST(tail, does_not_begin_within_a_character) {
    Tail tail(4);
    tail.append("aöbcd");
    EXPECT_EQ(tail.text(), "...bcd");
}

TEST(tail, is_trimmed) {
    Tail tail(20);
    tail.append(" \n an error\n\n");
    EXPECT_EQ(tail.text(), "an error");
    Tail blank(3);
    blank.append("\n\n\n\n\n");
    EXPECT_EQ(blank.text(), "");
}

RC_GTEST_PROP(tail, is_the_same_however_it_came, (const std::vector<std::string> &pieces)) {
    Tail pieced(16);
    std::string all;
    for (const std::string &piece : pieces) {
        pieced.append(piece);
        all += piece;
    }
    Tail whole(16);
    whole.append(all);
    RC_ASSERT(pieced.text() == whole.text());
}

} // namespace
