// Fairness: no owner starves, and no owner saves up time.
#include "core/fairness.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

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

} // namespace
