// The rules of a queue's agenda as properties: against a queue whose jobs become due, are leased,
// orphaned and locked at random, and whose sweeps move what they find, or fail.
#include "core/agenda.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace {

using namespace ecto_job;

constexpr Micros second = 1'000'000;
constexpr Micros start = 800'000'000 * second;
constexpr Micros longest_sweep = 2 * second;
constexpr Micros longest_batch = 3 * second;
// No pause is longer: neither after a sweep, nor for a locked table
constexpr Micros longest_pause = longest_sweep + longest_batch;

bool one_in(int n) {
    return *rc::gen::inRange(0, n) == 0;
}

JobKey any_key() {
    return {0, 0, *rc::gen::inRange<std::int64_t>(1, 20)};
}

struct Job {
    JobKey key;
    Micros at;     // when to be activated, or when its lease ends
    bool is_stuck; // it is locked
};

class SimulatedQueue {
public:
    Agenda agenda;
    Micros now = start;
    Micros full_interval = 30 * second;

    // Simulates a commit, whose report the scheduler reads before the next sweep, never during one
    void commit() {
        const Micros at = now + *rc::gen::inRange<Micros>(-second, 20 * second);
        const Job job{any_key(), at, one_in(5)};
        if (one_in(3)) {
            orphans_.push_back({job.key, now, job.is_stuck});
            report_.orphaned_up_to = std::max(report_.orphaned_up_to, job.key);
        } else if (one_in(2)) {
            scheduled_.push_back(job);
            report_.due = std::min(report_.due, job.at);
        } else {
            leased_.push_back(job);
            report_.expiry = std::min(report_.expiry, job.at);
            report_.leased_up_to = std::max(report_.leased_up_to, job.key);
        }
    }

    void take_report() {
        agenda.reported(report_);
        report_ = {};
    }

    // Sweeps the work that is due; a commit during the sweep is reported after the sweep
    void sweep() {
        take_report();
        const Work work = agenda.due(now);
        if (work.empty())
            return;
        if (one_in(12)) {
            agenda.failed(now);
            return;
        }
        const Micros took = *rc::gen::inRange<Micros>(0, longest_batch);
        const Found found = perform(work, one_in(8));
        if (one_in(4))
            commit();
        now += took;
        agenda.finished(work, found, now, {took, longest_sweep, full_interval});
        // Whatever a queue cannot do now waits
        if (found.end == BatchEnd::locked || found.end == BatchEnd::gone)
            RC_ASSERT_FALSE(overlap(work, agenda.due(now)));
    }

    // Simulates one event of a random kind
    void step() {
        switch (*rc::gen::inRange(0, 8)) {
        case 0:
        case 1:
            commit();
            break;
        case 2:
            now += *rc::gen::inRange<Micros>(0, 10 * second);
            break;
        case 3:
            if (agenda.next() != never)
                now = std::max(now, agenda.next());
            break;
        case 4:
            if (one_in(5)) // the clock is set back
                set_clock_back();
            else if (one_in(3)) // a setting is changed
                full_interval = *rc::gen::inRange<Micros>(1, 60) * second;
            agenda.limit_wait(now, full_interval);
            break;
        default:
            sweep();
        }
    }

    void set_clock_back() {
        now -= *rc::gen::inRange<Micros>(1, 1000) * second;
        agenda.start_over();
        agenda.limit_wait(now, full_interval);
    }

    // Each job that was reported and may move is found, at most a pause after its time
    void check_nothing_is_late() const {
        for (const Job &job : scheduled_)
            check(job, [](const Work &work, const Job &) { return work.activate; });
        for (const Job &job : leased_)
            check(job, [](const Work &work, const Job &lease) {
                return work.expire && work.leases_up_to >= lease.key;
            });
        for (const Job &job : orphans_)
            check(job, [](const Work &work, const Job &) { return work.full; });
    }

private:
    static bool overlap(const Work &work, const Work &next) {
        return work.only_reclaims() ? next.only_reclaims() : next.activate || next.expire;
    }

    template <typename F> void check(const Job &job, F finds) const {
        if (job.is_stuck)
            return;
        const Micros latest = std::max(job.at, now) + longest_pause;
        RC_ASSERT(agenda.next() <= latest);
        const Work work = agenda.due(latest);
        // Orphans are reclaimed first; those of sessions that ended unnoticed are in the head, and
        // the full sweep that follows reads further
        RC_ASSERT(work.only_reclaims() || finds(work, job));
    }

    static std::int64_t take(std::vector<Job> *jobs, const JobKey &up_to, Micros at,
                             std::int64_t limit) {
        std::int64_t taken = 0;
        std::erase_if(*jobs, [&](const Job &job) {
            const bool moves = !job.is_stuck && job.key <= up_to && job.at <= at && taken < limit;
            taken += moves ? 1 : 0;
            return moves;
        });
        return taken;
    }

    static Earliest earliest(const std::vector<Job> &jobs, const JobKey &up_to, Micros swept_at) {
        Earliest found;
        for (const Job &job : jobs) {
            if (job.key > up_to)
                continue;
            found.first = std::min(found.first, job.at);
            if (job.at > swept_at)
                found.after_sweep = std::min(found.after_sweep, job.at);
        }
        return found;
    }

    Found perform(const Work &work, bool is_locked) {
        Found found{.swept_at = now};
        if (is_locked) {
            found.end = one_in(5) ? BatchEnd::gone : BatchEnd::locked;
            return found;
        }
        const auto limit = *rc::gen::inRange<std::int64_t>(1, 5);
        const JobKey orphans_to = work.orphans_in_head ? JobKey{0, 0, 10} : work.orphans_up_to;
        if (work.reclaim) {
            found.end = BatchEnd::more;
            if (take(&orphans_, orphans_to, never, limit) >= limit)
                return found;
            found.orphans = earliest(orphans_, orphans_to, never).first == never ? Orphans::none
                                                                                 : Orphans::stuck;
        }
        const bool is_full =
            (work.expire && take(&leased_, work.leases_up_to, now, limit) >= limit) ||
            (work.activate && take(&scheduled_, highest_key, now, limit) >= limit);
        found.end = is_full ? BatchEnd::more : BatchEnd::looked_ahead;
        found.due = earliest(scheduled_, highest_key, now);
        found.expiry = earliest(leased_, work.leases_up_to, now);
        for (const Job &job : leased_)
            found.last_held = std::max(found.last_held, job.key);
        return found;
    }

    std::vector<Job> scheduled_;
    std::vector<Job> leased_;
    std::vector<Job> orphans_;
    Report report_;
};

// An orphan below the reported key is reclaimed, or a full sweep is due as soon
RC_GTEST_PROP(Agenda, NothingIsLaterThanReported, ()) {
    SimulatedQueue queue;
    const int steps = *rc::gen::inRange(0, 100);
    for (int i = 0; i < steps; i++) {
        queue.step();
        queue.take_report();
        if (!queue.agenda.is_failing())
            queue.check_nothing_is_late();
    }
}

RC_GTEST_PROP(Agenda, WhenItIsTimeThereIsWork, ()) {
    SimulatedQueue queue;
    const int steps = *rc::gen::inRange(0, 100);
    for (int i = 0; i < steps; i++) {
        queue.step();
        const Micros next = queue.agenda.next();
        RC_ASSERT(next == never || !queue.agenda.due(next).empty());
        RC_ASSERT(next == never || !queue.agenda.due(std::max(next, queue.now)).empty());
        RC_ASSERT(next <= queue.now || queue.agenda.due(queue.now).empty());
    }
}

RC_GTEST_PROP(Agenda, AfterAStepBackEverythingIsDue, ()) {
    SimulatedQueue queue;
    const int steps = *rc::gen::inRange(0, 100);
    for (int i = 0; i < steps; i++)
        queue.step();
    queue.set_clock_back();
    Agenda &agenda = queue.agenda;
    if (agenda.is_failing()) {
        RC_ASSERT(agenda.next() <= queue.now + failure_backoff(agenda.failures()).pause());
        return;
    }
    const Work head = agenda.due(queue.now);
    RC_ASSERT(head.only_reclaims() && head.orphans_in_head);
    agenda.finished(head, {.swept_at = queue.now, .orphans = Orphans::none}, queue.now,
                    {0, longest_sweep, queue.full_interval});
    RC_ASSERT(agenda.due(queue.now).full);
}

// Apart from one sweep, which may be under way
RC_GTEST_PROP(Agenda, AQueueHasHalfOfTheTime, ()) {
    Agenda agenda;
    Micros now = start;
    Micros swept = 0;
    const int sweeps = *rc::gen::inRange(1, 200);
    for (int i = 0; i < sweeps; i++) {
        agenda.reported({.due = now, .expiry = now, .leased_up_to = highest_key});
        now = std::max(now, agenda.next());
        const Work work = agenda.due(now);
        const Micros took = *rc::gen::inRange<Micros>(1, longest_batch);
        const BatchEnd end = one_in(3) ? BatchEnd::looked_ahead : BatchEnd::more;
        now += took;
        swept += took;
        agenda.finished(work, {.end = end, .swept_at = now - took}, now,
                        {took, longest_sweep, 30 * second});
        RC_ASSERT(2 * swept <= now - start + longest_sweep + longest_batch);
    }
}

TEST(Agenda, ANewQueueIsSweptInFull) {
    EXPECT_TRUE(Agenda().due(start).full);
}

TEST(Agenda, OrphansDoNotWaitForTheQueuesPause) {
    Agenda agenda;
    agenda.finished(agenda.due(start), {.swept_at = start}, start + second,
                    {second, longest_sweep, 30 * second});
    EXPECT_TRUE(agenda.due(start + second).empty());
    agenda.reported({.orphaned_up_to = {0, 0, 7}});
    const Work work = agenda.due(start + second);
    EXPECT_TRUE(work.only_reclaims());
    EXPECT_EQ(work.orphans_up_to, (JobKey{0, 0, 7}));
}

TEST(Agenda, WhatIsStuckIsTriedLaterAndLater) {
    Agenda agenda;
    Micros now = start;
    for (const Micros pause : {1, 2, 4, 8, 16, 32, 60, 60}) {
        const Work work = agenda.due(now);
        agenda.finished(work, {.swept_at = now, .due = {.first = start}}, now,
                        {0, longest_sweep, 3600 * second});
        EXPECT_EQ(agenda.next(), now + pause * second);
        now = agenda.next();
    }
}

TEST(Agenda, WhatIsStuckKeepsNothingElseWaiting) {
    Agenda agenda;
    agenda.finished(agenda.due(start),
                    {.swept_at = start, .due = {.first = start, .after_sweep = start + 5}}, start,
                    {0, longest_sweep, 30 * second});
    EXPECT_EQ(agenda.next(), start + 5);
}

TEST(Agenda, AFailingQueueWhoseTableIsLockedWaits) {
    Agenda agenda;
    agenda.failed(start);
    EXPECT_EQ(agenda.next(), start + second);
    agenda.finished(agenda.due(start + second), {.end = BatchEnd::locked}, start + second,
                    {0, longest_sweep, 30 * second});
    EXPECT_EQ(agenda.next(), start + second + 10'000);
    EXPECT_TRUE(agenda.is_failing());
}

TEST(Agenda, ASchedulerTakesOverWhatFails) {
    Agenda agenda;
    agenda.resume(3, start);
    EXPECT_TRUE(agenda.is_failing());
    EXPECT_EQ(agenda.next(), start + 4 * second);
    EXPECT_TRUE(agenda.due(start + 4 * second).full);
}

// Returns what a batch has found that has nothing more to do, in a queue that keeps FAILED jobs for
// this time
Found nothing_more(Micros retention) {
    Found found;
    found.retention = retention;
    return found;
}

constexpr Micros day = 86'400 * second;
constexpr Pace quick{0, longest_sweep, 600 * second};

TEST(Agenda, FailedJobsAreKeptForEverByDefault) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(0), start, quick);
    EXPECT_EQ(agenda.next(), start + 600 * second);
    EXPECT_TRUE(agenda.due(start + 600 * second).full);
}

TEST(Agenda, PassesAreATenthOfTheRetentionApart) {
    for (const auto &[retention, pause] :
         {std::pair{second, 600 * second}, std::pair{10 * day, day}, std::pair{5 * day, day / 2},
          std::pair{3650 * day, day}}) {
        Agenda agenda;
        agenda.finished(agenda.due(start), nothing_more(retention), start, quick);
        const Work purge = agenda.due(start);
        EXPECT_TRUE(purge.purge && !purge.activate && !purge.expire && !purge.reclaim);
        Found more = nothing_more(retention);
        more.end = BatchEnd::more;
        agenda.finished(purge, more, start, quick);
        EXPECT_TRUE(agenda.due(start).purge) << "the pass goes on";
        agenda.finished(purge, nothing_more(retention), start, quick);
        // No other work than full sweeps until then
        for (Micros at = agenda.next(); !agenda.due(at).purge; at = agenda.next()) {
            EXPECT_LT(at, start + pause + 600 * second);
            agenda.finished(agenda.due(at), nothing_more(retention), at, quick);
            if (agenda.due(at).purge)
                break;
        }
        EXPECT_GE(agenda.next(), start + pause);
    }
}

TEST(Agenda, SweepsAndPurgesTakeTurns) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(day), start, quick);
    agenda.reported({.due = start});
    Found more = nothing_more(day);
    more.end = BatchEnd::more;
    int purges = 0;
    for (int i = 0; i < 10; i++) {
        const Work work = agenda.due(start + i);
        EXPECT_FALSE(work.empty());
        purges += work.purge ? 1 : 0;
        agenda.finished(work, more, start + i, quick);
    }
    EXPECT_EQ(purges, 5);
}

TEST(Agenda, ALongPurgeDelaysNoDueJob) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(day), start, quick);
    const Micros took = 3 * second;
    agenda.finished(agenda.due(start), nothing_more(day), start, {took, longest_sweep, day});
    agenda.reported({.due = start});
    EXPECT_LE(agenda.next(), start);
    EXPECT_TRUE(agenda.due(start).activate);
}

TEST(Agenda, APurgeThatFailsIsTriedAgainLater) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(day), start, quick);
    EXPECT_TRUE(agenda.due(start).purge);
    agenda.failed(start);
    const Micros again = start + second;
    EXPECT_TRUE(agenda.due(again).full);
    agenda.finished(agenda.due(again), nothing_more(day), again, quick);
    EXPECT_FALSE(agenda.due(start + 599 * second).purge);
    EXPECT_TRUE(agenda.due(start + 600 * second).purge);
}

TEST(Agenda, AShorterRetentionShortensThePause) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(10 * day), start, quick);
    agenda.finished(agenda.due(start), nothing_more(10 * day), start, quick);
    const Micros full = agenda.next();
    agenda.finished(agenda.due(full), nothing_more(second), full, quick);
    EXPECT_FALSE(agenda.due(full + 599 * second).purge);
    EXPECT_TRUE(agenda.due(full + 600 * second).purge);
}

TEST(Agenda, AResetRetentionEndsThePurge) {
    Agenda agenda;
    agenda.finished(agenda.due(start), nothing_more(day), start, quick);
    EXPECT_TRUE(agenda.due(start).purge);
    agenda.finished(agenda.due(start), nothing_more(0), start, quick);
    EXPECT_FALSE(agenda.due(start + 3 * day).purge);
}

} // namespace
