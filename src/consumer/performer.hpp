// Who performs jobs: programs (exec) or the server itself (sql). The loop knows no more than this.
//
// A performer takes a job when it has room and keeps it until the server has been told how it
// ended. No lock.
#pragma once

#include "consumer/poller.hpp"
#include "consumer/protocol.hpp"

#include <cstddef>

namespace ecto_job::consumer {

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
    virtual void begin(Job job) = 0;

    virtual void tend(Clock::time_point now) = 0;
    virtual void watch(Poller &poller) = 0;
    // At once, without a word to the server.
    virtual void abandon() = 0;
};

} // namespace ecto_job::consumer
