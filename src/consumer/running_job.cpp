// The times of a running job: a lease is extended at a third of its length, so that two tries may
// fail before it ends.
#include "consumer/running_job.hpp"

#include "consumer/report.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace ecto_job::consumer {

namespace {

// From SIGTERM to SIGKILL; --help names it
constexpr auto grace = std::chrono::seconds(5);

// Leases that are shorter than three times this are extended later than at a third
constexpr std::chrono::milliseconds shortest_interval(100);

std::chrono::milliseconds interval(std::chrono::milliseconds lease_length) {
    return std::max(lease_length / 3, shortest_interval);
}

} // namespace

RunningJob::RunningJob(Job job, std::unique_ptr<Child> child)
    : job_(std::move(job)), child_(std::move(child)),
      lease_length_(
          std::max(std::chrono::ceil<std::chrono::milliseconds>(job_.lease_over - job_.started),
                   std::chrono::milliseconds(1))),
      extend_at_(job_.started + interval(lease_length_)), signal_at_(job_.lease_over) {}

Clock::time_point RunningJob::extend_at() const {
    return stopped() ? Clock::time_point::max() : extend_at_;
}

void RunningJob::extended(Clock::time_point lease_over, Clock::time_point now) {
    alone_ = false;
    job_.lease_over = lease_over;
    extend_at_ = now + interval(lease_length_);
    if (!stopped())
        signal_at_ = lease_over;
}

void RunningJob::not_extended(Clock::time_point now) {
    const std::chrono::milliseconds pause =
        std::max<std::chrono::milliseconds>(lease_length_ / 30, std::chrono::seconds(1));
    extend_at_ = now + std::min(pause, interval(lease_length_));
}

void RunningJob::lost(Clock::time_point now) {
    lost_ = true;
    if (!stopped())
        stop("lost or cancelled", now);
}

void RunningJob::enforce_deadline(Clock::time_point now) {
    if (now < signal_at_)
        return;
    if (!stopped())
        return stop("its lease is over", now);
    report::signalled(job_, why_stopped_, "SIGKILL");
    child_->kill(SIGKILL);
    signal_at_ = Clock::time_point::max();
}

void RunningJob::stop(std::string_view why, Clock::time_point now) {
    why_stopped_ = why;
    report::signalled(job_, why, "SIGTERM");
    child_->kill(SIGTERM);
    signal_at_ = now + grace;
}

} // namespace ecto_job::consumer
