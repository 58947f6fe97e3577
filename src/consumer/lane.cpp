// A transaction's statements, and what their results mean.
//
// The user's statement cannot end the transaction: options refuses what would. No lock.
#include "consumer/lane.hpp"

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

// A transaction that met others so often has failed: two seconds, about
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

Lane::Lane(const Options &options, int number, Shutdown &shutdown, std::function<void()> finished)
    : name_("connection " + std::to_string(number)), sql_(*options.sql),
      connection_(options, name_, protocol::settings(protocol::Session::users)),
      shutdown_(shutdown), finished_(finished),
      outcomes_(connection_, shutdown, std::move(finished)) {
    connection_.open();
}

void Lane::begin(std::vector<Job> jobs) {
    for (const Job &job : jobs)
        report::started(job);
    perform(std::move(jobs));
}

void Lane::perform(std::vector<Job> jobs) {
    jobs_ = std::move(jobs);
    std::vector<Statement> statements{{"BEGIN"}, complete(jobs_)};
    for (const Job &job : jobs_)
        statements.push_back(protocol::perform(sql_, job));
    statements.push_back({"COMMIT"});
    connection_.send(statements, [this](const Results &results) { answered(results); });
}

void Lane::answered(const Results &results) {
    const Result &last = results.back();
    const auto verdict = last.verdict();
    if (last.ok())
        return performed();
    const std::string why = last.message();
    const bool not_completed = results.size() == completion + 1;
    if (not_completed && verdict == Verdict::fatal)
        shutdown_.fatal(why);
    if (not_completed && verdict == Verdict::lost)
        connection_.drop(why); // a standby: there may be another server by now
    // After a failed COMMIT there is nothing left to roll back, and after a loss nobody to tell
    const auto meaning = not_completed || verdict == Verdict::conflict ? verdict : Verdict::refused;
    if (!connection_.ready() || !connection_.in_transaction())
        return undone(meaning, why);
    connection_.send({{"ROLLBACK"}},
                     [this, meaning, why](const Results &) { undone(meaning, why); });
}

void Lane::performed() {
    conflicts_ = 0;
    for (const Job &job : std::exchange(jobs_, {})) {
        report::completed(job);
        finished_();
    }
}

void Lane::undone(Verdict verdict, const std::string &why) {
    if (verdict == Verdict::conflict && conflicts_ < most_conflicts) {
        if (conflicts_++ == 0)
            conflict_pause_.reset();
        again_at_ = Clock::now() + conflict_pause_.next();
        return spdlog::debug("{}: the transaction is tried again: {}", name_, one_line(why));
    }
    conflicts_ = 0;
    std::vector<Job> jobs = std::exchange(jobs_, {});
    if (jobs.size() > 1) {
        spdlog::warn("{}: a transaction of {} jobs failed, each is performed by itself: {}", name_,
                     jobs.size(), one_line(why));
        alone_.assign(std::make_move_iterator(jobs.begin()), std::make_move_iterator(jobs.end()));
    } else if (verdict == Verdict::stale) {
        report::lost(jobs.front(), why);
        finished_();
    } else {
        outcomes_.failed(std::move(jobs.front()), why);
    }
}

void Lane::tend(Clock::time_point now) {
    connection_.tend(now);
    outcomes_.tend(now);
    // A repetition has no place to happen: its jobs wait, as others do, until their leases are over
    if (again_at_ && !connection_.ready()) {
        again_at_.reset();
        conflicts_ = 0;
        for (Job &job : std::exchange(jobs_, {}))
            alone_.push_back(std::move(job));
    }
    give_up_overdue(alone_, now);
    if (connection_.idle() && again_at_ && now >= *again_at_) {
        again_at_.reset();
        perform(std::exchange(jobs_, {}));
    }
    if (connection_.idle() && jobs_.empty() && outcomes_.size() == 0 && !alone_.empty()) {
        std::vector<Job> jobs;
        jobs.push_back(std::move(alone_.front()));
        alone_.pop_front();
        perform(std::move(jobs));
    }
}

void Lane::watch(Poller &poller) {
    connection_.watch(poller);
    outcomes_.watch(poller);
    if (again_at_ && connection_.idle())
        poller.wake_at(*again_at_);
    for (const Job &job : alone_)
        poller.wake_at(connection_.idle() ? Clock::now() : job.lease_over);
}

} // namespace ecto_job::consumer
