// Performer is the interface between the main loop and whatever performs jobs: programs (Exec) or
// the server itself (Sql).
//
// A performer takes jobs when it has room, and keeps each until its outcome has been reported to
// the server.
#pragma once

#include "consumer/poller.hpp"
#include "consumer/protocol.hpp"
#include "consumer/report.hpp"

#include <cstddef>
#include <deque>

namespace ecto_job::consumer {

// Drops jobs whose lease ended while they waited: other consumers may have them.
inline void drop_overdue(std::deque<Job> &waiting, Clock::time_point now) {
    std::erase_if(waiting, [now](const Job &job) {
        if (job.lease_over > now)
            return false;
        report::lost(job, "its lease was over before its turn came");
        return true;
    });
}

class Performer {
public:
    Performer() = default;
    Performer(const Performer &) = delete;
    Performer &operator=(const Performer &) = delete;
    virtual ~Performer() = default;

    // Returns the number of jobs that could begin now.
    virtual std::size_t room() const = 0;
    // Returns the number of jobs whose outcome has not been reported.
    virtual std::size_t busy() const = 0;
    // Returns whether it may need the main connection at any time, for the jobs that it performs.
    virtual bool needs_main_connection() const = 0;
    // Begins as many of the waiting jobs as there is room for, from the front.
    virtual void begin(std::deque<Job> &waiting) = 0;

    virtual void step(Clock::time_point now) = 0;
    virtual void watch(Poller &poller) = 0;
    // Stops at once, without reporting to the server.
    virtual void abandon() = 0;
};

} // namespace ecto_job::consumer
