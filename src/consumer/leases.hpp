// Leases extends the leases of running programs, so that a program may take longer than a lease,
// and a job that was lost or cancelled has its program stopped.
//
// All leases that are due are extended in one round trip and one transaction. If that fails, each
// is extended in a transaction of its own, so that a row which the server refuses to change does
// not affect the others.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/running_job.hpp"

#include <string>
#include <vector>

namespace ecto_job::consumer {

class Leases {
public:
    // `running` are the jobs whose leases are extended.
    Leases(Connection &connection, std::vector<RunningJob> &running)
        : connection_(connection), running_(running) {}

    // Extends the leases that are due, if the connection is idle.
    void step(Clock::time_point now);
    void watch(Poller &poller) const;

private:
    struct Sent {
        std::string queue;
        std::string id;
        std::string lease;
    };

    std::vector<const RunningJob *> due(Clock::time_point now) const;
    void on_results(const std::vector<Sent> &sent, const Results &results);
    void on_failure(const std::vector<Sent> &sent, const Result &result);
    RunningJob *find(const Sent &sent);

    Connection &connection_;
    std::vector<RunningJob> &running_;
};

} // namespace ecto_job::consumer
