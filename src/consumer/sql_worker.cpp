// A worker's transaction: its statements and the handling of their results.
//
// The user's statement cannot end the transaction: parse_options() refuses statements that would.
#include "consumer/sql_worker.hpp"

#include "consumer/performer.hpp"
#include "consumer/report.hpp"
#include "consumer/text.hpp"

#include <algorithm>
#include <spdlog/spdlog.h>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Results of a transaction: BEGIN, the completion, the statements, COMMIT
constexpr std::size_t completion = 1;

// Repetitions after conflicts, about two seconds in all; then the transaction has failed
constexpr int most_conflicts = 8;

Statement complete(const std::vector<Job> &jobs) {
    if (jobs.size() == 1)
        return protocol::complete(jobs.front());
    std::vector<const Job *> all;
    all.reserve(jobs.size());
    for (const Job &job : jobs)
        all.push_back(&job);
    return protocol::complete(all);
}

} // namespace

SqlWorker::SqlWorker(const Options &options, int number, Shutdown &shutdown,
                     std::function<void()> finished)
    : name_("connection " + std::to_string(number)), sql_(*options.sql),
      connection_(options, name_, protocol::settings(protocol::Session::users)),
      shutdown_(shutdown), finished_(finished),
      outcomes_(connection_, shutdown, std::move(finished)) {
    connection_.open();
}

void SqlWorker::begin(std::vector<Job> jobs) {
    for (const Job &job : jobs)
        report::started(job);
    perform(std::move(jobs));
}

void SqlWorker::perform(std::vector<Job> jobs) {
    jobs_ = std::move(jobs);
    std::vector<Statement> statements{{"BEGIN"}, complete(jobs_)};
    for (const Job &job : jobs_)
        statements.push_back(protocol::perform(sql_, job));
    statements.push_back({"COMMIT"});
    connection_.send(statements, [this](const Results &results) { on_results(results); });
}

void SqlWorker::on_results(const Results &results) {
    const Result &last = results.back();
    const auto verdict = last.verdict();
    if (last.ok())
        return on_commit();
    const std::string why = last.message();
    const bool not_completed = results.size() == completion + 1;
    if (not_completed && verdict == Verdict::fatal)
        shutdown_.fatal(why);
    if (not_completed && verdict == Verdict::lost)
        connection_.drop(why); // a standby: a new connection may lead to the primary
    // ROLLBACK is needed only if the connection is open and still in the transaction.
    const auto meaning = not_completed || verdict == Verdict::conflict ? verdict : Verdict::refused;
    if (!connection_.ready() || !connection_.in_transaction())
        return on_rollback(meaning, why);
    connection_.send({{"ROLLBACK"}},
                     [this, meaning, why](const Results &) { on_rollback(meaning, why); });
}

void SqlWorker::on_commit() {
    conflicts_ = 0;
    for (const Job &job : std::exchange(jobs_, {})) {
        report::completed(job);
        finished_();
    }
}

void SqlWorker::on_rollback(Verdict verdict, const std::string &why) {
    if (verdict == Verdict::conflict && conflicts_ < most_conflicts) {
        if (conflicts_++ == 0)
            conflict_pause_.reset();
        retry_at_ = Clock::now() + conflict_pause_.next();
        return spdlog::debug("{}: the transaction is tried again: {}", name_, one_line(why));
    }
    conflicts_ = 0;
    std::vector<Job> jobs = std::exchange(jobs_, {});
    if (jobs.size() > 1) {
        spdlog::warn("{}: a transaction of {} jobs failed, each is performed by itself: {}", name_,
                     jobs.size(), one_line(why));
        individual_jobs_.assign(std::make_move_iterator(jobs.begin()),
                                std::make_move_iterator(jobs.end()));
    } else if (verdict == Verdict::stale) {
        report::lost(jobs.front(), why);
        finished_();
    } else {
        outcomes_.failed(std::move(jobs.front()), why);
    }
}

void SqlWorker::step(Clock::time_point now) {
    connection_.step(now);
    outcomes_.step(now);
    // Without a connection the transaction is not repeated. Its jobs wait until their leases end.
    if (retry_at_ && !connection_.ready()) {
        retry_at_.reset();
        conflicts_ = 0;
        for (Job &job : std::exchange(jobs_, {}))
            individual_jobs_.push_back(std::move(job));
    }
    drop_overdue(individual_jobs_, now);
    if (connection_.idle() && retry_at_ && now >= *retry_at_) {
        retry_at_.reset();
        perform(std::exchange(jobs_, {}));
    }
    if (connection_.idle() && jobs_.empty() && outcomes_.size() == 0 && !individual_jobs_.empty()) {
        std::vector<Job> jobs;
        jobs.push_back(std::move(individual_jobs_.front()));
        individual_jobs_.pop_front();
        perform(std::move(jobs));
    }
}

void SqlWorker::watch(Poller &poller) {
    connection_.watch(poller);
    outcomes_.watch(poller);
    if (retry_at_ && connection_.idle())
        poller.wake_at(*retry_at_);
    for (const Job &job : individual_jobs_)
        poller.wake_at(connection_.idle() ? Clock::now() : job.lease_over);
}

} // namespace ecto_job::consumer
