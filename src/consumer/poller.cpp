// Poller calls poll() and then the callbacks of the ready descriptors.
//
// A signal ends the wait too (EINTR); the signals' pipe is then readable in the next wait. Times
// are rounded up to poll's milliseconds: rounded down, the last millisecond would be a busy loop.
#include "consumer/poller.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace ecto_job::consumer {

namespace {

// poll's timeout is an int, so longer waits end early and are repeated.
constexpr std::chrono::milliseconds longest_wait = std::chrono::hours(1);

int timeout_until(Clock::time_point when) {
    if (when == Clock::time_point::max())
        return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now());
    return static_cast<int>(
        std::clamp(left, std::chrono::milliseconds::zero(), longest_wait).count());
}

} // namespace

void Poller::watch(int fd, short events, std::function<void()> ready) {
    fds_.push_back({fd, events, 0});
    ready_.push_back(std::move(ready));
}

void Poller::wake_at(Clock::time_point when) {
    wake_ = std::min(wake_, when);
}

void Poller::wait() {
    auto fds = std::exchange(fds_, {});
    const auto ready = std::exchange(ready_, {});
    const auto wake = std::exchange(wake_, Clock::time_point::max());
    if (poll(fds.data(), static_cast<nfds_t>(fds.size()), timeout_until(wake)) < 0) {
        if (errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "poll");
        return;
    }
    for (std::size_t i = 0; i < fds.size(); i++)
        if (fds[i].revents != 0)
            ready[i]();
}

} // namespace ecto_job::consumer
