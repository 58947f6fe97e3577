// Decisions of the scheduler that need neither clock nor server: which owner is served next, how
// many jobs a batch takes, and how long an owner's queues wait after code of theirs has ended the
// scheduler.
//
// The scheduler's time is shared by owners, not by queues: ten queues of one owner together get
// what the single queue of another gets. No lock.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "core/times.hpp"

namespace ecto_job {

using OwnerId = std::uint32_t;

// The time that each owner has used, from which follows who is next: of those who have something
// due, the owner with the least. An owner who had nothing to do saves up no credit: he counts as
// having used what the owner who was served last had used before that.
class Shares {
public:
    std::int64_t used_by(OwnerId owner) const;
    // Notes that this owner, who was next, has used so much time.
    void charge(OwnerId owner, std::int64_t us);
    std::size_t owners() const { return used_.size(); }

private:
    std::unordered_map<OwnerId, std::int64_t> used_;
    std::int64_t floor_ = 0; // nobody counts as having used less
    static constexpr std::size_t few = 64;
    std::size_t kept_ = few; // at the last look for owners who need not be known
};

struct Candidate {
    OwnerId owner;
    std::int64_t used; // by the owner
    Micros due;        // of the queue
};

// True if a's queue is served before b's: by the time their owners have used, then by the time for
// which the queues have been due.
bool goes_before(const Candidate &a, const Candidate &b);

// How many jobs of a queue one transaction moves. It adapts, so that a batch takes about
// `batch_goal_us`. Where most of the time does not depend on the number of jobs, as with many dead
// index entries, smaller batches would only be more batches: there the jobs get as much time as the
// rest.
inline constexpr std::int64_t first_batch = 100;
inline constexpr std::int64_t largest_batch = 1000;
inline constexpr std::int64_t batch_goal_us = 100'000;

class BatchSize {
public:
    std::int64_t jobs() const { return jobs_; }
    void finished(std::int64_t moved, std::int64_t took_us);
    // The batch was cancelled, because it took too long.
    void timed_out();

private:
    void estimate(std::int64_t moved, std::int64_t took_us);
    std::int64_t wanted(std::int64_t took_us);

    std::int64_t jobs_ = first_batch;
    std::int64_t last_moved_ = 0; // by the batch before; 0: not known
    std::int64_t last_us_ = 0;
    // What a batch seems to take whatever its size, and what each job adds
    std::int64_t fixed_us_ = 0;
    double each_us_ = 0;
    bool estimated_ = false; // by two batches of different size
    int since_try_ = 0;      // full batches since one of another size was tried
};

// How often code of an owner has ended the scheduler, without a longer time of quiet between.
struct Deaths {
    std::int32_t count;
    Micros last;
};
Deaths one_more(const Deaths &before, Micros now);
// Until when the owner's queues wait; minus_infinity: they do not, as after a step back of the
// clock.
Micros wait_until(const Deaths &deaths, Micros now);

} // namespace ecto_job
