// A pause before the next try grows: `first` to twice that at the first time, doubled each time,
// `longest` at most.
//
// The upper half of each step is random, so that a hundred consumers that lost one server do not
// come back at the same moment, nor two that met in the same rows. No lock.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace ecto_job::consumer {

class Backoff {
public:
    explicit Backoff(std::chrono::milliseconds first = std::chrono::seconds(1),
                     std::chrono::milliseconds longest = std::chrono::seconds(30))
        : first_(first), longest_(longest), step_(first) {}

    std::chrono::milliseconds next() {
        step_ = std::min(step_ * 2, longest_);
        return std::chrono::milliseconds(
            std::uniform_int_distribution(step_.count() / 2, step_.count())(random_));
    }
    void reset() { step_ = first_; }

private:
    std::chrono::milliseconds first_;
    std::chrono::milliseconds longest_;
    std::chrono::milliseconds step_;
    std::minstd_rand random_{std::random_device{}()};
};

// For a transaction that met another one: the other has ended by now, as a rule.
inline Backoff conflict_backoff() {
    return Backoff(std::chrono::milliseconds(5), std::chrono::seconds(1));
}

} // namespace ecto_job::consumer
