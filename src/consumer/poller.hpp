// Poller is the one place where the program waits: for sockets, pipes and times, in poll().
//
// Interests are declared before each wait and forgotten after it, so that none has to be withdrawn.
// The callbacks of ready descriptors run after poll() has returned. A callback must not destroy an
// object that declared an interest in the same wait.
#pragma once

#include <chrono>
#include <functional>
#include <poll.h>
#include <vector>

namespace ecto_job::consumer {

// Steady, so that a change of the wall clock neither ends a program nor causes a wake-up.
using Clock = std::chrono::steady_clock;

class Poller {
public:
    void watch(int fd, short events, std::function<void()> ready);
    void wake_at(Clock::time_point when);
    void wait();

private:
    std::vector<pollfd> fds_;
    std::vector<std::function<void()>> ready_;
    Clock::time_point wake_ = Clock::time_point::max();
};

} // namespace ecto_job::consumer
