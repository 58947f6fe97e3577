// The size of a batch: how many jobs of a queue one transaction of a sweep moves.
//
// The size adapts, so that a batch takes about `batch_goal_us`. Where most of the time does not
// depend on the number of jobs, as with many dead index entries, smaller batches would only be more
// batches: there the jobs get as much time as the rest.
#pragma once

#include <cstdint>

namespace ecto_job {

inline constexpr std::int64_t first_batch = 100;
inline constexpr std::int64_t largest_batch = 1000;
inline constexpr std::int64_t batch_goal_us = 100'000;

class BatchSize {
public:
    // Returns the size of the next batch, from 1 to largest_batch.
    std::int64_t jobs() const { return jobs_; }
    // Takes how many jobs a batch has moved, and how long the batch took.
    void finished(std::int64_t moved, std::int64_t took_us);
    // Takes that the batch was cancelled by its time limit.
    void timed_out();

private:
    void estimate(std::int64_t moved, std::int64_t took_us);
    std::int64_t wanted(std::int64_t took_us);

    std::int64_t jobs_ = first_batch;
    std::int64_t last_moved_ = 0; // by the batch before; 0: unknown
    std::int64_t last_us_ = 0;
    // What a batch seems to take whatever its size, and what each job adds
    std::int64_t fixed_us_ = 0;
    double each_us_ = 0;
    bool estimated_ = false; // by two batches of different size
    int since_try_ = 0;      // full batches since the last batch of another size
};

} // namespace ecto_job
