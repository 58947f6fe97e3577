// Backoff is a growing pause before the next try: between `first` and twice `first` before the
// first retry, doubled for each further one, at most `longest`.
//
// The upper half of each step is random, so that a hundred consumers that lost the same server do
// not reconnect at the same moment, and two transactions that conflicted do not conflict again.
#pragma once

#include <chrono>
#include <random>

#include "core/backoff.hpp"

namespace ecto_job::consumer {

class Backoff {
public:
    explicit Backoff(std::chrono::milliseconds first = std::chrono::seconds(1),
                     std::chrono::milliseconds longest = std::chrono::seconds(30))
        : longest_ms_(2 * first.count(), longest.count()) {}

    std::chrono::milliseconds next() {
        const auto longest_ms = longest_ms_.next();
        return std::chrono::milliseconds(
            std::uniform_int_distribution(longest_ms / 2, longest_ms)(random_));
    }
    void reset() { longest_ms_.reset(); }

private:
    ecto_job::Backoff longest_ms_;
    std::minstd_rand random_{std::random_device{}()};
};

// Returns the back-off after a conflict: short, since the other transaction has usually ended.
inline Backoff conflict_backoff() {
    return Backoff(std::chrono::milliseconds(5), std::chrono::seconds(1));
}

} // namespace ecto_job::consumer
