// Who performs jobs: programs (exec) or the server itself (sql). The loop knows no more than this.
//
// A performer takes jobs when it has room and keeps them until the server has been told how they
// ended. No lock.
#pragma once

#include "consumer/poller.hpp"
#include "consumer/protocol.hpp"
#include "consumer/report.hpp"

#include <cstddef>
#include <deque>

namespace ecto_job::consumer {

// Other consumers may have a job whose lease was over before its turn came.
inline void give_up_overdue(std::deque<Job> &waiting, Clock::time_point now) {
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

    // Jobs that could begin now.
    virtual std::size_t room() const = 0;
    // Jobs that are not over and told.
    virtual std::size_t busy() const = 0;
    // Takes of the waiting jobs what it has room for, from their beginning.
    virtual void begin(std::deque<Job> &waiting) = 0;

    virtual void tend(Clock::time_point now) = 0;
    virtual void watch(Poller &poller) = 0;
    // At once, without a word to the server.
    virtual void abandon() = 0;
};

} // namespace ecto_job::consumer
