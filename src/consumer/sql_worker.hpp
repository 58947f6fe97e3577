// SqlWorker performs jobs by the --sql statement on one connection, one transaction at a time:
// BEGIN, complete_job, the statement, COMMIT in one round trip; after an error ROLLBACK and
// fail_job.
//
// Completion comes first, so that a lost job is detected before the statement writes anything. A
// transaction with several jobs completes them together and executes the statement for each. If it
// fails, it is rolled back and each job is performed in a transaction of its own. A transaction
// that failed with 40001 or 40P01 is repeated a few times, since it has changed nothing. If the
// connection breaks, a single job counts as failed; should its COMMIT have succeeded, fail_job
// changes nothing. Such a job is not repeated at once: a job that kills its server process would be
// repeated for ever.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connection.hpp"
#include "consumer/outcomes.hpp"
#include "consumer/protocol.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

class SqlWorker {
public:
    SqlWorker(const Options &options, int number, Shutdown &shutdown,
              std::function<void()> finished);

    bool free() const { return connection_.idle() && busy() == 0; }
    // Returns the number of jobs whose outcome has not been reported.
    std::size_t busy() const { return jobs_.size() + individual_jobs_.size() + outcomes_.size(); }
    // Performs the jobs, which are of one queue, in one transaction.
    void begin(std::vector<Job> jobs);
    void step(Clock::time_point now);
    void watch(Poller &poller);

private:
    void perform(std::vector<Job> jobs);
    void on_results(const Results &results);
    void on_commit();
    void on_rollback(Verdict verdict, const std::string &why);

    std::string name_;
    std::string sql_;
    Connection connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    Outcomes outcomes_;
    std::vector<Job> jobs_; // of the current transaction, or of the one to be repeated
    int conflicts_ = 0;     // of the current transaction
    Backoff conflict_pause_ = conflict_backoff();
    std::optional<Clock::time_point> retry_at_;
    std::deque<Job> individual_jobs_; // of a failed transaction, each to be performed in its own
};

} // namespace ecto_job::consumer
