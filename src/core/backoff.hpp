// A pause between tries that doubles from the first pause to the longest, in the caller's unit of
// time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ecto_job {

class Backoff {
public:
    constexpr Backoff(std::int64_t first, std::int64_t longest, std::int32_t tries = 0)
        : first_(first), longest_(longest), tries_(tries) {}

    // Counts a try that failed, and returns the pause before the next one.
    constexpr std::int64_t next() {
        tries_ = std::min(tries_ + 1, many_tries);
        return pause();
    }
    // Returns the pause that the last next() has returned; 0: nothing has failed.
    constexpr std::int64_t pause() const {
        if (tries_ == 0)
            return 0;
        return std::min(first_ << std::min(tries_ - 1, most_doublings), longest_);
    }
    constexpr std::int32_t tries() const { return tries_; }
    constexpr void reset() { tries_ = 0; }

private:
    static constexpr std::int32_t many_tries = 1000;
    static constexpr std::int32_t most_doublings = 24; // of a minute in microseconds: no overflow

    std::int64_t first_;
    std::int64_t longest_;
    std::int32_t tries_; // that failed, in a row
};

// The back-off of a queue whose sweeps fail, and of an owner whose code ends the scheduler: 1 s to
// 5 minutes, in microseconds.
constexpr Backoff failure_backoff(std::int32_t failures = 0) {
    return {1'000'000, 300'000'000, failures};
}

} // namespace ecto_job
