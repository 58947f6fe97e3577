// No owner starves, none accumulates credit, and a batch takes about as long as its goal.
#include "core/fairness.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/backoff.hpp"

namespace {

using namespace ecto_job;

// Returns the next of these owners, all of whose queues have been due since 0
OwnerId next(const Shares &shares, const std::vector<OwnerId> &owners) {
    return *std::min_element(owners.begin(), owners.end(), [&](OwnerId a, OwnerId b) {
        return goes_before({a, shares.used_by(a), 0}, {b, shares.used_by(b), 0});
    });
}

TEST(Shares, TheQueueThatIsDueLongestIsFirst) {
    EXPECT_TRUE(goes_before({1, 5, 10}, {1, 5, 20}));
    EXPECT_FALSE(goes_before({1, 5, 20}, {1, 5, 10}));
    EXPECT_TRUE(goes_before({1, 4, 20}, {2, 5, 10}));
}

TEST(Shares, TenQueuesOfAnOwnerGetWhatOneQueueOfAnotherGets) {
    Shares shares;
    std::map<OwnerId, std::int64_t> used;
    for (int i = 0; i < 1000; i++) {
        const OwnerId owner = next(shares, {1, 2});
        shares.charge(owner, owner == 1 ? 4'000'000 : 1'000);
        used[owner] += owner == 1 ? 4'000'000 : 1'000;
    }
    EXPECT_LE(std::abs(used[1] - used[2]), 4'000'000);
}

// An owner that was idle is served after at most one batch of each other owner
RC_GTEST_PROP(Shares, WhoHadNothingDueIsServedSoon, ()) {
    Shares shares;
    const auto busy = *rc::gen::inRange(1, 6);
    const auto length = rc::gen::inRange<std::int64_t>(0, 10'000'000);
    std::vector<OwnerId> owners;
    for (int i = 1; i <= busy; i++)
        owners.push_back(static_cast<OwnerId>(i));
    for (int i = 0; i < *rc::gen::inRange(0, 200); i++)
        shares.charge(next(shares, owners), *length);
    const OwnerId newcomer = 100;
    std::multiset<OwnerId> before;
    owners.push_back(newcomer);
    for (OwnerId served = next(shares, owners); served != newcomer; served = next(shares, owners)) {
        before.insert(served);
        RC_ASSERT(before.count(served) == 1U);
        shares.charge(served, 1 + *length);
    }
}

// The times used by owners that always have due jobs differ by at most one batch
RC_GTEST_PROP(Shares, TheBusyGetTheSameTime, ()) {
    Shares shares;
    const std::vector<OwnerId> owners{1, 2, 3};
    std::map<OwnerId, std::int64_t> used{{1, 0}, {2, 0}, {3, 0}};
    constexpr std::int64_t longest = 5'000'000;
    for (int i = 0; i < 300; i++) {
        const OwnerId owner = next(shares, owners);
        const auto took = *rc::gen::inRange<std::int64_t>(1, longest);
        shares.charge(owner, took);
        used[owner] += took;
        const auto [least, most] = std::minmax_element(
            used.begin(), used.end(), [](auto &a, auto &b) { return a.second < b.second; });
        RC_ASSERT(most->second - least->second <= longest);
    }
}

// After an idle time of any length an owner is at most one batch ahead of the others
RC_GTEST_PROP(Shares, IdlenessIsNoCredit, ()) {
    Shares shares;
    shares.charge(2, 10);
    for (int i = 0; i < *rc::gen::inRange(1, 1000); i++)
        shares.charge(1, 100'000);
    int in_a_row = 0;
    while (next(shares, {1, 2}) == 2) {
        shares.charge(2, 100'000);
        in_a_row++;
    }
    RC_ASSERT(in_a_row <= 2);
}

TEST(Shares, OwnersWhoHaveLeftAreForgotten) {
    Shares shares;
    for (OwnerId owner = 1; owner < 10'000; owner++) {
        shares.charge(owner, 100);
        shares.charge(owner, 100);
    }
    EXPECT_LT(shares.owners(), 200U);
}

RC_GTEST_PROP(BatchSize, IsBounded, ()) {
    BatchSize size;
    for (int i = 0; i < 100; i++) {
        if (*rc::gen::inRange(0, 10) == 0)
            size.timed_out();
        else
            size.finished(*rc::gen::inRange<std::int64_t>(0, 1001),
                          *rc::gen::inRange<std::int64_t>(0, 20'000'000));
        RC_ASSERT(size.jobs() >= 1);
        RC_ASSERT(size.jobs() <= largest_batch);
    }
}

// Returns the usual size of a batch of a backlog; sometimes another size is tried
std::int64_t settled(BatchSize size, std::int64_t fixed_us, std::int64_t each_us) {
    std::vector<std::int64_t> sizes;
    for (int i = 0; i < 80; i++) {
        size.finished(size.jobs(), fixed_us + size.jobs() * each_us);
        sizes.push_back(size.jobs());
    }
    std::sort(sizes.end() - 30, sizes.end());
    return sizes[65];
}

RC_GTEST_PROP(BatchSize, ABatchTakesAsLongAsItShall, ()) {
    const auto each_us = *rc::gen::inRange<std::int64_t>(1, 10'000'000);
    const auto jobs = settled({}, 0, each_us);
    RC_ASSERT(jobs == 1 || jobs * each_us <= 3 * batch_goal_us / 2);
    RC_ASSERT(jobs == largest_batch || (jobs + 1) * each_us >= batch_goal_us / 2);
}

// The fixed cost of a batch is at most about half of its time, whatever was measured before
RC_GTEST_PROP(BatchSize, SmallBatchesAreNoEndInThemselves, ()) {
    BatchSize size;
    for (int i = 0; i < *rc::gen::inRange(0, 20); i++) {
        if (*rc::gen::inRange(0, 3) == 0)
            size.timed_out();
        else
            size.finished(*rc::gen::inRange<std::int64_t>(0, 3),
                          *rc::gen::inRange<std::int64_t>(0, 1'000'000));
    }
    const auto fixed_us = *rc::gen::inRange<std::int64_t>(150'000, 1'000'000);
    const auto each_us = *rc::gen::inRange<std::int64_t>(10, 20'000);
    const auto jobs = settled(size, fixed_us, each_us);
    RC_ASSERT(jobs == largest_batch || (jobs + 1) * each_us >= fixed_us / 4);
}

TEST(BatchSize, FewSlowJobsMakeTheNextBatchSmall) {
    BatchSize size;
    for (int i = 0; i < 10; i++)
        size.finished(1, 4'000'000);
    EXPECT_LE(size.jobs(), 2);
}

TEST(BatchSize, GrowsAgain) {
    BatchSize size;
    size.timed_out();
    size.timed_out();
    EXPECT_EQ(size.jobs(), 1);
    for (int i = 0; i < 10; i++)
        size.finished(size.jobs(), size.jobs() * 20);
    EXPECT_EQ(size.jobs(), largest_batch);
}

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
