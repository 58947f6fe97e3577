// The size of a batch is bounded, and leads to batches of the wanted length.
#include "core/batch_size.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace {

using namespace ecto_job;

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

// The usual size of a batch of a backlog; now and then another one is tried
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

// What does not depend on the number of jobs costs about half of the time at most, whatever was
// seen before
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

} // namespace
