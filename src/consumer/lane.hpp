// One connection that performs jobs by a statement, one transaction at a time: BEGIN, complete_job,
// the statement, COMMIT, in one round trip; or ROLLBACK and fail_job.
//
// Completion comes first, so that a job that is somebody else's by now is found out before the
// statement writes anything. With several jobs in a transaction, they are completed together and
// the statement is executed for each; if anything of it fails, all of it is undone and each job
// performed by itself. One that met another transaction (40001, 40P01) is repeated as it was, a few
// times: nothing of it has happened. If the connection breaks, a job that was alone counts as
// failed: should the COMMIT have got through all the same, the server knows it and fail_job changes
// nothing. It is not simply performed again, or a job that kills its server would do so for ever.
// No lock.
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

class Lane {
public:
    Lane(const Options &options, int number, Shutdown &shutdown, std::function<void()> finished);

    bool free() const { return connection_.idle() && busy() == 0; }
    // Jobs that are not over and told.
    std::size_t busy() const { return jobs_.size() + alone_.size() + outcomes_.size(); }
    // Jobs of one queue, to be performed in one transaction.
    void begin(std::vector<Job> jobs);
    void tend(Clock::time_point now);
    void watch(Poller &poller);

private:
    void perform(std::vector<Job> jobs);
    void answered(const Results &results);
    void performed();
    void undone(Verdict verdict, const std::string &why);

    std::string name_;
    std::string sql_;
    Connection connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    Outcomes outcomes_;
    std::vector<Job> jobs_; // of the transaction that is under way, or is to be repeated
    int conflicts_ = 0;     // that this transaction has had
    Backoff conflict_pause_ = conflict_backoff();
    std::optional<Clock::time_point> again_at_;
    std::deque<Job> alone_; // of one that failed, each to be performed by itself
};

} // namespace ecto_job::consumer
