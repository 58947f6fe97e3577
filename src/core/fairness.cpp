// Shares, sizes and pauses. See fairness.hpp.
#include "core/fairness.hpp"

#include <algorithm>

#include "core/backoff.hpp"

namespace ecto_job {

namespace {

constexpr std::int64_t longest_to_try_us = 2'000'000; // twice as many jobs take no longer than 4 s
// Twice the longest wait of an owner
constexpr Micros quiet_us = 600'000'000;

} // namespace

std::int64_t Shares::used_by(OwnerId owner) const {
    const auto found = used_.find(owner);
    return found == used_.end() ? floor_ : std::max(found->second, floor_);
}

void Shares::charge(OwnerId owner, std::int64_t us) {
    floor_ = used_by(owner);
    used_[owner] = floor_ + std::max<std::int64_t>(us, 0);
    if (used_.size() < 2 * kept_)
        return;
    // An owner at the floor is as one who is not known
    std::erase_if(used_, [this](const auto &entry) { return entry.second <= floor_; });
    kept_ = std::max(used_.size(), few);
}

bool goes_before(const Candidate &a, const Candidate &b) {
    return a.used != b.used ? a.used < b.used : a.due < b.due;
}

// From a batch that took all that it might, and the one before, if their sizes differ enough
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

// Towards a batch of the goal's length, by what a full one has taken
std::int64_t BatchSize::wanted(std::int64_t took_us) {
    const bool long_one = took_us > batch_goal_us;
    if (long_one && !estimated_ && jobs_ > 1)
        return jobs_ / 2; // to have two to compare
    // What was estimated may be no longer true, and batches of one size do not tell
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
    estimated_ = true; // the jobs take all of the time, until something else is seen
}

Deaths one_more(const Deaths &before, Micros now) {
    constexpr std::int32_t many = 1000;
    const bool goes_on = before.count > 0 && before.last <= now && now - before.last <= quiet_us;
    return {goes_on ? std::min(before.count + 1, many) : 1, now};
}

Micros wait_until(const Deaths &deaths, Micros now) {
    if (deaths.count == 0 || deaths.last > now)
        return minus_infinity;
    return deaths.last + failure_backoff(deaths.count).pause();
}

} // namespace ecto_job
