// The pauses between attempts grow up to a limit, and differ from consumer to consumer.
#include "consumer/backoff.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

using namespace ecto_job::consumer;
using namespace std::chrono_literals;

namespace {

TEST(backoff, grows_from_1_s_to_30_s) {
    Backoff backoff;
    for (const auto &[least, most] :
         {std::pair(1s, 2s), std::pair(2s, 4s), std::pair(4s, 8s), std::pair(8s, 16s),
          std::pair(15s, 30s), std::pair(15s, 30s), std::pair(15s, 30s)}) {
        const auto wait = backoff.next();
        EXPECT_GE(wait, least);
        EXPECT_LE(wait, most);
    }
}

TEST(backoff, of_conflicts_grows_from_milliseconds_to_a_second) {
    Backoff backoff = conflict_backoff();
    EXPECT_LE(backoff.next(), 10ms);
    for (int i = 0; i < 20; i++)
        EXPECT_LE(backoff.next(), 1s);
    EXPECT_GE(backoff.next(), 500ms);
}

TEST(backoff, starts_over_after_a_success) {
    Backoff backoff;
    for (int i = 0; i < 10; i++)
        backoff.next();
    backoff.reset();
    EXPECT_LE(backoff.next(), 2s);
}

TEST(backoff, is_not_the_same_for_everybody) {
    std::set<std::chrono::milliseconds> waits;
    for (int i = 0; i < 50; i++)
        waits.insert(Backoff().next());
    EXPECT_GT(waits.size(), 10U);
}

} // namespace
