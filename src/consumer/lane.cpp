// The steps of a job's transaction, in their order: each sends a statement and names the next step.
//
// A statement that ends the transaction itself (COMMIT, ROLLBACK) is found out before ours, which
// would report a completion that was rolled back. No lock.
#include "consumer/lane.hpp"

#include "consumer/report.hpp"

#include <utility>

namespace ecto_job::consumer {

Lane::Lane(const Options &options, int number, Shutdown &shutdown, std::function<void()> finished)
    : sql_(*options.sql), connection_(options, "connection " + std::to_string(number)),
      shutdown_(shutdown), finished_(finished),
      outcomes_(connection_, shutdown, std::move(finished)) {
    connection_.open();
}

void Lane::begin(Job job) {
    report::started(job);
    job_ = std::move(job);
    connection_.send({"BEGIN"}, [this](const Result &result) {
        if (result.ok())
            complete();
        else
            roll_back(result, &Lane::failed);
    });
}

void Lane::complete() {
    connection_.send(protocol::complete(*job_), [this](const Result &result) {
        if (result.ok())
            return perform();
        if (result.verdict() == Verdict::fatal)
            shutdown_.fatal(result.message());
        if (result.verdict() == Verdict::lost)
            connection_.drop(result.message()); // a standby: there may be another server by now
        roll_back(result, result.verdict() == Verdict::stale ? &Lane::stale : &Lane::failed);
    });
}

void Lane::perform() {
    connection_.send(protocol::perform(sql_, *job_), [this](const Result &result) {
        if (!result.ok())
            roll_back(result, &Lane::failed);
        else if (!connection_.in_transaction())
            failed("the statement has ended the job's transaction");
        else
            commit();
    });
}

void Lane::commit() {
    connection_.send({"COMMIT"}, [this](const Result &result) {
        if (result.ok())
            performed();
        else
            roll_back(result, &Lane::failed);
    });
}

void Lane::performed() {
    report::completed(take_job());
    finished_();
}

// After a failed COMMIT there is nothing left to roll back, and after a loss nobody to tell.
void Lane::roll_back(const Result &result, void (Lane::*then)(const std::string &message)) {
    const std::string message = result.message();
    if (!connection_.ready() || !connection_.in_transaction())
        return (this->*then)(message);
    connection_.send({"ROLLBACK"},
                     [this, message, then](const Result &) { (this->*then)(message); });
}

void Lane::failed(const std::string &message) {
    outcomes_.failed(take_job(), message);
}

void Lane::stale(const std::string &message) {
    report::lost(take_job(), message);
    finished_();
}

Job Lane::take_job() {
    return *std::exchange(job_, std::nullopt);
}

void Lane::tend(Clock::time_point now) {
    connection_.tend(now);
    outcomes_.tend(now);
}

void Lane::watch(Poller &poller) {
    connection_.watch(poller);
    outcomes_.watch(poller);
}

} // namespace ecto_job::consumer
