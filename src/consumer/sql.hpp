// --sql: the server performs the job, inside the transaction that completes it.
//
// Each transaction at work has a lane: a connection, with one job or several in it. Lanes are
// served by the same loop as everything else, without threads: a lane only ever waits for its
// server, and what it does when an answer comes takes no time. Jobs are claimed on another
// connection and handed over, so that one claim serves all lanes. No lock.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/lane.hpp"
#include "consumer/performer.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace ecto_job::consumer {

class Sql : public Performer {
public:
    // Opens all connections; throws Unreachable.
    Sql(const Options &options, Shutdown &shutdown, const std::function<void()> &finished);

    std::size_t room() const override;
    std::size_t busy() const override;
    void begin(std::deque<Job> &waiting) override;
    void tend(Clock::time_point now) override;
    void watch(Poller &poller) override;
    // The server finishes what it has been sent, COMMIT included
    void abandon() override {}

private:
    std::size_t free_lanes() const;

    std::size_t per_transaction_;
    std::vector<std::unique_ptr<Lane>> lanes_;
};

} // namespace ecto_job::consumer
