// Telling outcomes, and what each answer means.
//
// While the program stops, an outcome that cannot be told (no server, or one that is read-only for
// now) is kept as long as its lease runs and then given up: else a stop would never end. While it
// does not stop it is kept for ever, since a lease that nobody swept is still good. No lock.
#include "consumer/outcomes.hpp"

#include "consumer/report.hpp"
#include "consumer/text.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Before the next try after an error that may pass
constexpr auto pause_after_error = std::chrono::seconds(1);

// What fail_job keeps. It cuts by the server's encoding, which may not know characters (SQL_ASCII).
constexpr std::size_t most_error = 8'192;

} // namespace

Outcomes::Outcomes(Connection &connection, Shutdown &shutdown, std::function<void()> finished,
                   NextClaim next_claim)
    : connection_(connection), shutdown_(shutdown), finished_(std::move(finished)),
      next_claim_(std::move(next_claim)) {}

void Outcomes::completed(Job job) {
    add({std::move(job)});
}

void Outcomes::failed(Job job, const std::string &error) {
    add({std::move(job), clipped(valid_utf8(error), most_error)});
}

void Outcomes::add(Outcome outcome) {
    // Not needed any more, and may be large
    outcome.job.params = {};
    outcome.job.row.reset();
    waiting_.push_back(std::move(outcome));
}

void Outcomes::tend(Clock::time_point now) {
    if (shutdown_.requested())
        give_up_overdue(now);
    if (!connection_.idle())
        return;
    telling_ = take_due(now);
    if (telling_.empty())
        return;
    if (telling_.front().alone)
        return tell_alone();
    if (const auto claim = next_claim_(); claim || telling_.size() > 1)
        tell_together(claim);
    else
        tell_alone();
}

// All that may be told together, or one that must be alone
std::vector<Outcomes::Outcome> Outcomes::take_due(Clock::time_point now) {
    std::vector<Outcome> due;
    std::erase_if(waiting_, [&](Outcome &outcome) {
        if (outcome.not_before > now || (!due.empty() && (outcome.alone || due.front().alone)))
            return false;
        due.push_back(std::move(outcome));
        return true;
    });
    return due;
}

void Outcomes::watch(Poller &poller) const {
    for (const Outcome &outcome : waiting_) {
        if (connection_.idle())
            poller.wake_at(outcome.not_before);
        else if (shutdown_.requested() && !connection_.ready())
            poller.wake_at(outcome.job.lease_over);
    }
}

void Outcomes::give_up_overdue(Clock::time_point now) {
    const auto overdue =
        std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Outcome &outcome) {
            return outcome.job.lease_over > now ||
                   (connection_.ready() && outcome.not_before <= now);
        });
    std::for_each(overdue, waiting_.end(), [this](const Outcome &outcome) {
        lost(outcome, "stopping, and no server that takes the report: left to its lease");
    });
    waiting_.erase(overdue, waiting_.end());
}

// The completions of each queue, then the failures in their order, then the claim
void Outcomes::tell_together(const std::optional<Claim> &claim) {
    std::map<std::string, std::vector<const Job *>> completed;
    std::vector<Statement> failures;
    for (const Outcome &outcome : telling_) {
        if (outcome.error)
            failures.push_back(protocol::fail(outcome.job, *outcome.error));
        else
            completed[outcome.job.queue].push_back(&outcome.job);
    }
    std::vector<Statement> statements;
    statements.reserve(completed.size() + failures.size() + 1);
    for (const auto &[queue, jobs] : completed)
        statements.push_back(protocol::complete(jobs));
    std::move(failures.begin(), failures.end(), std::back_inserter(statements));
    if (claim)
        statements.push_back(claim->statement);
    connection_.send(statements,
                     [this, claim](const Results &results) { told_together(results, claim); });
}

void Outcomes::told_together(const Results &results, const std::optional<Claim> &claim) {
    std::vector<Outcome> told = std::exchange(telling_, {});
    if (const Result &last = results.back(); !last.ok()) {
        const bool lost = last.verdict() == Verdict::lost;
        if (lost)
            connection_.drop(last.message());
        for (Outcome &outcome : told)
            outcome.alone = !lost;
        waiting_.insert(waiting_.begin(), std::make_move_iterator(told.begin()),
                        std::make_move_iterator(told.end()));
        if (claim)
            claim->undone();
        return;
    }
    const auto failures = std::count_if(
        told.begin(), told.end(), [](const Outcome &outcome) { return outcome.error.has_value(); });
    auto failure = results.end() - (claim ? 1 : 0) - failures;
    for (Outcome &outcome : told) {
        if (outcome.error)
            failure_answered(std::move(outcome), *failure++);
        else
            completion_answered(std::move(outcome), results.front());
    }
    if (claim)
        claim->answered(results.back());
}

void Outcomes::tell_alone() {
    const Outcome &outcome = telling_.front();
    const auto statement = outcome.error ? protocol::fail(outcome.job, *outcome.error)
                                         : protocol::complete(outcome.job);
    connection_.send({statement}, [this](const Results &results) {
        Outcome told = std::move(std::exchange(telling_, {}).front());
        if (told.error)
            failure_answered(std::move(told), results.back());
        else
            completion_answered(std::move(told), results.back());
    });
}

void Outcomes::completion_answered(Outcome outcome, const Result &result) {
    switch (result.verdict()) {
    case Verdict::ok:
        conflict_pause_.reset();
        report::completed(outcome.job);
        return finished_();
    case Verdict::stale:
        return lost(outcome, result.message());
    case Verdict::lost:
    case Verdict::conflict:
    case Verdict::transient:
    case Verdict::read_only:
        return try_again(std::move(outcome), result);
    case Verdict::fatal:
        shutdown_.fatal(result.message());
        break;
    case Verdict::refused:
        break;
    }
    failed(std::move(outcome.job), "done, but not completed: " + result.message());
}

void Outcomes::failure_answered(Outcome outcome, const Result &result) {
    switch (result.verdict()) {
    case Verdict::ok:
        if (const auto next = protocol::failed(result)) {
            report::failed(outcome.job, *outcome.error, *next);
            return finished_();
        }
        return lost(outcome, "no longer ours; what failed: " + *outcome.error);
    case Verdict::lost:
    case Verdict::conflict:
    case Verdict::transient:
    case Verdict::read_only:
        return try_again(std::move(outcome), result);
    case Verdict::fatal:
        shutdown_.fatal(result.message());
        break;
    case Verdict::refused:
        if (std::string plain = ascii(*outcome.error); plain != *outcome.error) {
            outcome.error = std::move(plain);
            return waiting_.push_front(std::move(outcome));
        }
        break;
    case Verdict::stale:
        break;
    }
    lost(outcome, *outcome.error + "; left to its lease: " + result.message());
}

void Outcomes::try_again(Outcome outcome, const Result &result) {
    const auto verdict = result.verdict();
    if (verdict == Verdict::lost) {
        connection_.drop(result.message());
    } else if (verdict == Verdict::conflict) {
        outcome.not_before = Clock::now() + conflict_pause_.next();
    } else {
        report::not_told(outcome.job, result.message());
        outcome.not_before = Clock::now() + pause_after_error;
    }
    waiting_.push_front(std::move(outcome));
}

void Outcomes::lost(const Outcome &outcome, std::string_view why) {
    report::lost(outcome.job, why);
    finished_();
}

} // namespace ecto_job::consumer
