// The one place where the program waits: for sockets, pipes and times, in poll().
//
// Interests are declared anew before each wait and forgotten after it, so that nobody has to take
// back what has gone. What is ready runs after poll() has returned; whoever is called must not
// destroy others that declared an interest in this round. No lock: one thread.
#pragma once

#include <chrono>
#include <functional>
#include <poll.h>
#include <vector>

namespace ecto_job::consumer {

// Steady, so that a change of the wall clock neither kills a job nor wakes anybody.
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
