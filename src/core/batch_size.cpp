// How the size of a batch adapts. See batch_size.hpp.
#include "core/batch_size.hpp"

#include <algorithm>
#include <cstdlib>

namespace ecto_job {

// Estimates the costs from a full batch and the batch before, if their sizes differ enough.
void BatchSize::estimate(std::int64_t moved, std::int64_t took_us) {
    const std::int64_t differs = moved - last_moved_;
    const auto jobs = static_cast<double>(moved);
    if (last_moved_ > 0 && 4 * std::abs(differs) >= moved) {
        each_us_ =
            std::max(0.0, static_cast<double>(took_us - last_us_) / static_cast<double>(differs));
        fixed_us_ = std::max(took_us - static_cast<std::int64_t>(each_us_ * jobs), std::int64_t{0});
        estimated_ = true;
    } else {
        each_us_ = static_cast<double>(std::max(took_us - fixed_us_, std::int64_t{0})) / jobs;
    }
}

// Returns the size for a batch of the goal's length, by what a full batch has taken.
std::int64_t BatchSize::wanted(std::int64_t took_us) {
    const bool long_one = took_us > batch_goal_us;
    if (long_one && !estimated_ && jobs_ > 1)
        return jobs_ / 2; // the estimate needs two sizes
    // The estimate may have become false, which batches of equal size do not show
    constexpr std::int64_t longest_to_try_us = 2'000'000; // twice as many jobs take up to 4 s
    const bool tries =
        long_one && took_us < longest_to_try_us && (!estimated_ || ++since_try_ > 16);
    if (tries) {
        since_try_ = 0;
        return 2 * jobs_;
    }
    const auto room = static_cast<double>(std::max(batch_goal_us - fixed_us_, fixed_us_));
    return room >= each_us_ * static_cast<double>(largest_batch)
               ? largest_batch
               : static_cast<std::int64_t>(room / each_us_);
}

void BatchSize::finished(std::int64_t moved, std::int64_t took_us) {
    const std::int64_t size = jobs_;
    if (moved >= size) {
        estimate(moved, took_us);
        jobs_ = std::clamp(wanted(took_us), size / 2, 2 * size);
    } else if (took_us > batch_goal_us) {
        // Few jobs that took long: more of them may take longer, or not
        jobs_ = std::max(2 * moved, size / 2);
    }
    jobs_ = std::clamp<std::int64_t>(jobs_, 1, largest_batch);
    last_moved_ = moved;
    last_us_ = took_us;
}

void BatchSize::timed_out() {
    jobs_ = std::max<std::int64_t>(jobs_ / 8, 1);
    last_moved_ = fixed_us_ = 0;
    estimated_ = true; // all of the time counts as that of the jobs until the next estimate
}

} // namespace ecto_job
