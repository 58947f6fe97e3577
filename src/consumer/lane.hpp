// One connection that performs one job at a time by a statement: BEGIN, complete_job, the
// statement, COMMIT; or ROLLBACK and fail_job.
//
// Completion comes first, so that a job that is somebody else's by now is found out before the
// statement writes anything. If the connection breaks, the job counts as failed: should the COMMIT
// have got through all the same, the server knows it and fail_job changes nothing. It is not simply
// performed again, or a job that kills its server would do so for ever. No lock.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/outcomes.hpp"
#include "consumer/protocol.hpp"

#include <functional>
#include <optional>
#include <string>

namespace ecto_job::consumer {

class Lane {
public:
    Lane(const Options &options, int number, Shutdown &shutdown, std::function<void()> finished);

    bool free() const { return connection_.idle() && !busy(); }
    bool busy() const { return job_.has_value() || outcomes_.size() > 0; }
    void begin(Job job);
    void tend(Clock::time_point now);
    void watch(Poller &poller);

private:
    void complete();
    void perform();
    void commit();
    void performed();
    void roll_back(const Result &result, void (Lane::*then)(const std::string &message));
    void failed(const std::string &message);
    void stale(const std::string &message);
    Job take_job();

    std::string sql_;
    Connection connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    Outcomes outcomes_;
    std::optional<Job> job_;
};

} // namespace ecto_job::consumer
