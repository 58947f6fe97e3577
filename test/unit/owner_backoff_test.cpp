// Deaths of the scheduler by an owner's code: longer and longer pauses, which quiet ends.
#include "core/owner_backoff.hpp"

#include <gtest/gtest.h>

#include "core/backoff.hpp"

namespace {

using namespace ecto_job;

TEST(Deaths, TwelveInARowTakeLongerAndLonger) {
    Deaths deaths{};
    Micros now = 0;
    EXPECT_EQ(wait_until(deaths, now), minus_infinity);
    for (int i = 1; i <= 12; i++) {
        deaths = one_more(deaths, now);
        EXPECT_EQ(deaths.count, i);
        EXPECT_EQ(wait_until(deaths, now), now + failure_backoff(i).pause());
        now = wait_until(deaths, now);
    }
}

TEST(Deaths, QuietForgets) {
    const Deaths before{7, 0};
    EXPECT_EQ(one_more(before, 600'000'000).count, 8);
    EXPECT_EQ(one_more(before, 600'000'001).count, 1);
}

TEST(Deaths, AStepBackOfTheClockEndsTheWait) {
    EXPECT_EQ(wait_until({3, 1000}, 999), minus_infinity);
    EXPECT_EQ(one_more({3, 1000}, 999).count, 1);
}

} // namespace
