// Pauses double up to the longest, and begin anew after a success.
#include "core/backoff.hpp"

#include <gtest/gtest.h>

namespace {

using namespace ecto_job;

TEST(Backoff, DoublesUpToTheLongest) {
    Backoff backoff(10, 75);
    EXPECT_EQ(backoff.pause(), 0);
    for (const std::int64_t pause : {10, 20, 40, 75, 75})
        EXPECT_EQ(backoff.next(), pause);
    EXPECT_EQ(backoff.pause(), 75);
    EXPECT_EQ(backoff.tries(), 5);
}

TEST(Backoff, BeginsAnewAfterASuccess) {
    Backoff backoff(10, 75);
    backoff.next();
    backoff.next();
    backoff.reset();
    EXPECT_EQ(backoff.pause(), 0);
    EXPECT_EQ(backoff.next(), 10);
}

TEST(Backoff, EndsNeitherInAnOverflowNorInAnEndlessCount) {
    Backoff backoff(60'000'000, 300'000'000'000);
    for (int i = 0; i < 5000; i++)
        EXPECT_GT(backoff.next(), 0);
    EXPECT_EQ(backoff.pause(), 300'000'000'000);
    EXPECT_LE(backoff.tries(), 1000);
}

TEST(Backoff, OfFailuresGoesFromASecondToFiveMinutes) {
    EXPECT_EQ(failure_backoff(1).pause(), 1'000'000);
    EXPECT_EQ(failure_backoff(2).pause(), 2'000'000);
    EXPECT_EQ(failure_backoff(9).pause(), 256'000'000);
    EXPECT_EQ(failure_backoff(10).pause(), 300'000'000);
    EXPECT_EQ(failure_backoff(1000).pause(), 300'000'000);
}

} // namespace
