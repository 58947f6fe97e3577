// Sql performs --sql jobs: the server executes the statement in the transaction that completes the
// job.
//
// Each concurrent transaction has a SqlWorker: a connection with one or more jobs. The main loop
// serves all workers without threads, since a worker only waits for its server. Jobs are claimed on
// another connection, so that one claim serves all workers.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/sql_worker.hpp"
#include "consumer/performer.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace ecto_job::consumer {

class Sql : public Performer {
public:
    // Opens all connections. Throws Unreachable if the server cannot be reached.
    Sql(const Options &options, Shutdown &shutdown, const std::function<void()> &finished);

    std::size_t room() const override;
    std::size_t busy() const override;
    bool needs_main_connection() const override { return false; }
    void begin(std::deque<Job> &waiting) override;
    void step(Clock::time_point now) override;
    void watch(Poller &poller) override;
    // Does nothing: the server finishes the transactions that it has been sent, with their COMMIT.
    void abandon() override {}

private:
    std::size_t free_workers() const;

    std::size_t per_transaction_;
    std::vector<std::unique_ptr<SqlWorker>> workers_;
};

} // namespace ecto_job::consumer
