// Channel names against plain strings, up to the longest name that LISTEN takes (63 bytes).
#include "core/channel.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

using namespace ecto_job;

namespace {

constexpr std::array<std::pair<Notification, std::string_view>, 4> notifications{{
    {Notification::available, ""},
    {Notification::completed, ".completed"},
    {Notification::retry, ".retry"},
    {Notification::failed, ".failed"},
}};

std::string_view text_of(const Channel &channel) {
    return {std::begin(channel.name),
            std::find(std::begin(channel.name), std::end(channel.name), '\0')};
}

TEST(channel, is_the_table_and_what_happened) {
    for (const auto &[notification, suffix] : notifications) {
        const auto made = channel("jobs", notification);
        ASSERT_TRUE(made);
        EXPECT_EQ(text_of(*made), "jobs" + std::string{suffix});
    }
}

TEST(channel, the_longest_name_fills_63_bytes) {
    const std::string longest(53, 'x');
    const auto made = channel(longest, Notification::completed);
    ASSERT_TRUE(made);
    EXPECT_EQ(text_of(*made), longest + ".completed");
    EXPECT_EQ(text_of(*made).size(), 63U);
}

TEST(channel, refuses_the_same_tables_for_every_notice) {
    for (const auto &[notification, suffix] : notifications) {
        EXPECT_FALSE(channel("", notification));
        EXPECT_FALSE(channel(std::string(54, 'x'), notification));
        EXPECT_FALSE(channel(std::string_view{"jo\0bs", 5}, notification));
        EXPECT_FALSE(channel(std::string_view{"\0", 1}, notification));
        EXPECT_FALSE(channel(std::string_view{"jobs\0", 5}, notification));
    }
}

// After a RENAME the table may have a name that creation refuses; the queue still has its channels.
TEST(channel, takes_control_characters) {
    const auto made = channel("jo\nbs", Notification::retry);
    ASSERT_TRUE(made);
    EXPECT_EQ(text_of(*made), "jo\nbs.retry");
}

TEST(table_name, counts_bytes_not_characters) {
    std::string accented;
    for (int i = 0; i < 26; ++i)
        accented += "\xc3\xa9"; // e acute in UTF-8
    EXPECT_EQ(check_table_name(accented), NameFault::none);
    EXPECT_EQ(check_table_name(accented + "x"), NameFault::none);
    EXPECT_EQ(check_table_name(accented + "\xc3\xa9"), NameFault::too_long);
}

TEST(table_name, names_the_fault) {
    EXPECT_EQ(check_table_name("jobs"), NameFault::none);
    EXPECT_EQ(check_table_name("Jobs \"of\" 'today'; --"), NameFault::none);
    EXPECT_EQ(check_table_name(""), NameFault::empty);
    EXPECT_EQ(check_table_name(std::string(53, 'x')), NameFault::none);
    EXPECT_EQ(check_table_name(std::string(54, 'x')), NameFault::too_long);
    EXPECT_EQ(check_table_name(std::string(54, '\n')), NameFault::too_long);
}

TEST(table_name, refuses_each_control_byte_and_no_other) {
    for (int byte = 0; byte < 256; ++byte) {
        const bool control = byte < 32 || byte == 127;
        const auto character = static_cast<char>(byte);
        for (const std::string &name : {std::string{character}, "a" + std::string{character} + "b"})
            EXPECT_EQ(check_table_name(name),
                      control ? NameFault::control_character : NameFault::none)
                << byte;
    }
}

RC_GTEST_PROP(channel, agrees_with_strings, ()) {
    const auto length = *rc::gen::inRange<std::size_t>(0, 60);
    const auto table = *rc::gen::container<std::string>(length, rc::gen::arbitrary<char>());
    const auto [notification, suffix] = *rc::gen::elementOf(notifications);
    const bool fits = !table.empty() && table.size() <= 53 && table.find('\0') == std::string::npos;
    const auto made = channel(table, notification);
    RC_ASSERT(made.has_value() == fits);
    if (made)
        RC_ASSERT(text_of(*made) == table + std::string{suffix});
}

// A queue whose name creation accepts has all its channels.
RC_GTEST_PROP(channel, exists_for_every_accepted_name, ()) {
    const auto length = *rc::gen::inRange<std::size_t>(0, 60);
    const auto table = *rc::gen::container<std::string>(length, rc::gen::inRange<char>(' ', '~'));
    for (const auto &[notification, suffix] : notifications)
        RC_ASSERT(channel(table, notification).has_value() ==
                  (check_table_name(table) == NameFault::none));
}

} // namespace
