// A lease of a node whose clock is behind is converted to the server's clock. The lease keeps its
// length, to the second, and is never shortened.
#include "core/node_clock.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace ecto_job;

namespace {

constexpr Micros second = 1'000'000;
constexpr Micros hour = 3600 * second;
constexpr Micros now = 815'000'000'123'456;

} // namespace

TEST(NodeClock, IsLeftAloneWhereItIsNotBehind) {
    EXPECT_EQ(lease_by_our_clock(now, now + hour, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(now + hour, now + 2 * hour, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(now - clock_in_step, now + hour, now), std::nullopt);
}

TEST(NodeClock, IsCorrectedFromTheFirstMicrosecondPastWhatCountsAsInStep) {
    EXPECT_EQ(lease_by_our_clock(now - clock_in_step - 1, now + hour, now),
              now + hour + 3 * second);
    EXPECT_EQ(lease_by_our_clock(now - hour, now - hour + 60 * second, now), now + 60 * second);
}

TEST(NodeClock, OfATestIsLeftAlone) {
    EXPECT_EQ(lease_by_our_clock(now - clock_of_test, now - clock_of_test + 1, now), now + 1);
    EXPECT_EQ(lease_by_our_clock(now - clock_of_test - 1, now, now), std::nullopt);
}

TEST(NodeClock, GivesNoLengthToALeaseThatHasNone) {
    EXPECT_EQ(lease_by_our_clock(now - hour, now - hour, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(now - hour, now - 2 * hour, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(now - hour, minus_infinity, now), std::nullopt);
}

TEST(NodeClock, PassesNoLimitOfTheCalendar) {
    EXPECT_EQ(lease_by_our_clock(now - hour, plus_infinity, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(now - hour, end_timestamp - 1, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(minus_infinity, now, now), std::nullopt);
    EXPECT_EQ(lease_by_our_clock(plus_infinity, now, now), std::nullopt);
}

RC_GTEST_PROP(NodeClock, NeverShortensALeaseNorLengthensItByASecond, ()) {
    const Micros begins = now - *rc::gen::inRange<Micros>(-hour, 30 * hour);
    const Micros length = *rc::gen::inRange<Micros>(1, hour);
    const std::optional<Micros> ends = lease_by_our_clock(begins, begins + length, now);
    if (ends) {
        RC_ASSERT(*ends >= now + length);
        RC_ASSERT(*ends < now + length + second);
    }
}
