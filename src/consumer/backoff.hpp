// How long to wait before the next try: 1 to 2 s at first, doubled each time, 30 s at most.
//
// The upper half of each step is random, so that a hundred consumers that lost one server do not
// come back at the same moment. No lock.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace ecto_job::consumer {

class Backoff {
public:
    std::chrono::milliseconds next() {
        step_ = std::min(step_ * 2, longest);
        return std::chrono::milliseconds(
            std::uniform_int_distribution(step_.count() / 2, step_.count())(random_));
    }
    void reset() { step_ = first; }

private:
    static constexpr std::chrono::milliseconds first{1'000};
    static constexpr std::chrono::milliseconds longest{30'000};

    std::chrono::milliseconds step_ = first;
    std::minstd_rand random_{std::random_device{}()};
};

} // namespace ecto_job::consumer
