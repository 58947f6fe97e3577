// RunningJob is a job whose program runs, and the times at which something has to happen to it: its
// lease is extended, or its program gets a signal.
//
// The lease is the program's time limit. Where it ends, because it is not extended or the server
// cannot be reached, the program gets SIGTERM and then SIGKILL, since another consumer may have the
// job by then. So does the program of a job that was lost or cancelled.
#pragma once

#include "consumer/child.hpp"
#include "consumer/protocol.hpp"

#include <memory>
#include <string_view>

namespace ecto_job::consumer {

class RunningJob {
public:
    RunningJob(Job job, std::unique_ptr<Child> child);

    const Job &job() const { return job_; }
    Child &child() const { return *child_; }
    // Returns the job, whose program has ended.
    Job take() { return std::move(job_); }

    // Returns when to extend the lease; never for a program that was sent a signal.
    Clock::time_point extend_at() const;
    // Returns the length of the lease as it was claimed.
    std::chrono::milliseconds lease_length() const { return lease_length_; }
    // Notes the lease's new end.
    void extended(Clock::time_point lease_over, Clock::time_point now);
    // Notes that the server refused to extend the lease.
    void not_extended(Clock::time_point now);
    // Has the lease be extended in a transaction of its own, since extending it together with
    // others has failed.
    void extend_alone() { alone_ = true; }
    bool alone() const { return alone_; }
    // Stops the program of a job that is lost or cancelled.
    void lost(Clock::time_point now);
    bool is_lost() const { return lost_; }

    // Sends the program the signal that is due.
    void enforce_deadline(Clock::time_point now);
    Clock::time_point signal_at() const { return signal_at_; }
    // Returns whether the program was sent a signal.
    bool stopped() const { return !why_stopped_.empty(); }

private:
    void stop(std::string_view why, Clock::time_point now);

    Job job_;
    std::unique_ptr<Child> child_;
    std::chrono::milliseconds lease_length_;
    Clock::time_point extend_at_;
    bool alone_ = false;
    bool lost_ = false;
    std::string_view why_stopped_; // empty: the program was sent no signal
    Clock::time_point signal_at_;  // SIGTERM is due then, or SIGKILL if SIGTERM was sent
};

} // namespace ecto_job::consumer
