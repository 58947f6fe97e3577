// Outcomes sends the reports and handles the server's results.
//
// While the program stops, an outcome that cannot be reported (no server, or a read-only one) is
// kept until its lease ends and then dropped; otherwise the program might never end. While the
// program runs, an outcome is kept without limit, since a lease stays valid until a sweep ends it.
#include "consumer/outcomes.hpp"

#include "consumer/report.hpp"
#include "consumer/text.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Pause before the next try after a transient error
constexpr auto pause_after_error = std::chrono::seconds(1);

// Bytes that fail_job keeps. In SQL_ASCII the server would cut within a character, so the program
// cuts.
constexpr std::size_t most_error = 8'192;

std::string storable(const std::string &error) {
    return clipped(valid_utf8(error), most_error);
}

} // namespace

Outcomes::Outcomes(Connection &connection, Shutdown &shutdown, std::function<void()> finished,
                   NextClaim next_claim)
    : connection_(connection), shutdown_(shutdown), finished_(std::move(finished)),
      next_claim_(std::move(next_claim)) {}

void Outcomes::completed(Job job) {
    add({std::move(job), End::completed});
}

void Outcomes::failed(Job job, const std::string &error) {
    add({std::move(job), End::failed, storable(error)});
}

void Outcomes::given_up(Job job, const std::string &error) {
    add({std::move(job), End::given_up, storable(error)});
}

void Outcomes::snoozed(Job job, const std::string &why, std::chrono::seconds delay) {
    add({std::move(job), End::snoozed, why, delay});
}

void Outcomes::add(Outcome outcome) {
    // Free what may be large and is not needed any more.
    outcome.job.params = {};
    outcome.job.row.reset();
    waiting_.push_back(std::move(outcome));
}

Statement Outcomes::statement(const Outcome &outcome) {
    switch (outcome.end) {
    case End::completed:
        return protocol::complete(outcome.job);
    case End::failed:
        return protocol::fail(outcome.job, outcome.why, true);
    case End::given_up:
        return protocol::fail(outcome.job, outcome.why, false);
    case End::snoozed:
        break;
    }
    return protocol::snooze(outcome.job, outcome.delay);
}

void Outcomes::step(Clock::time_point now) {
    if (shutdown_.requested())
        drop_overdue(now);
    if (!connection_.idle())
        return;
    in_flight_ = take_due(now);
    if (in_flight_.empty())
        return;
    if (in_flight_.front().individually)
        return report_one();
    if (const auto claim = next_claim_(); claim || in_flight_.size() > 1)
        report_together(claim);
    else
        report_one();
}

// Takes either all due outcomes that may be reported together, or one to be reported individually.
std::vector<Outcomes::Outcome> Outcomes::take_due(Clock::time_point now) {
    std::vector<Outcome> due;
    std::erase_if(waiting_, [&](Outcome &outcome) {
        if (outcome.not_before > now ||
            (!due.empty() && (outcome.individually || due.front().individually)))
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

void Outcomes::drop_overdue(Clock::time_point now) {
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

// Sends the completions of each queue, then the other outcomes in their order, then the claim.
void Outcomes::report_together(const std::optional<Claim> &claim) {
    std::map<std::string, std::vector<const Job *>> completed;
    std::vector<Statement> changes;
    for (const Outcome &outcome : in_flight_) {
        if (outcome.end == End::completed)
            completed[outcome.job.queue].push_back(&outcome.job);
        else
            changes.push_back(statement(outcome));
    }
    std::vector<Statement> statements;
    statements.reserve(completed.size() + changes.size() + 1);
    for (const auto &[queue, jobs] : completed)
        statements.push_back(protocol::complete(jobs));
    std::move(changes.begin(), changes.end(), std::back_inserter(statements));
    if (claim)
        statements.push_back(claim->statement);
    connection_.send(
        statements, [this, claim](const Results &results) { on_results_together(results, claim); });
}

void Outcomes::on_results_together(const Results &results, const std::optional<Claim> &claim) {
    std::vector<Outcome> told = std::exchange(in_flight_, {});
    if (const Result &last = results.back(); !last.ok()) {
        const bool lost = last.verdict() == Verdict::lost;
        if (lost)
            connection_.drop(last.message());
        for (Outcome &outcome : told)
            outcome.individually = !lost;
        waiting_.insert(waiting_.begin(), std::make_move_iterator(told.begin()),
                        std::make_move_iterator(told.end()));
        if (claim)
            claim->on_rollback();
        return;
    }
    const auto changes = std::count_if(told.begin(), told.end(), [](const Outcome &outcome) {
        return outcome.end != End::completed;
    });
    auto change = results.end() - (claim ? 1 : 0) - changes;
    for (Outcome &outcome : told) {
        if (outcome.end == End::completed)
            on_completion_result(std::move(outcome), results.front());
        else
            on_change_result(std::move(outcome), *change++);
    }
    if (claim)
        claim->on_result(results.back());
}

void Outcomes::report_one() {
    connection_.send({statement(in_flight_.front())}, [this](const Results &results) {
        Outcome told = std::move(std::exchange(in_flight_, {}).front());
        if (told.end == End::completed)
            on_completion_result(std::move(told), results.back());
        else
            on_change_result(std::move(told), results.back());
    });
}

void Outcomes::on_completion_result(Outcome outcome, const Result &result) {
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
        return retry(std::move(outcome), result);
    case Verdict::fatal:
        shutdown_.fatal(result.message());
        break;
    case Verdict::refused:
        break;
    }
    failed(std::move(outcome.job), "done, but not completed: " + result.message());
}

void Outcomes::on_change_result(Outcome outcome, const Result &result) {
    const bool snoozed = outcome.end == End::snoozed;
    switch (result.verdict()) {
    case Verdict::ok:
        if (const auto next = protocol::changed(result)) {
            const auto log = snoozed ? report::snoozed : report::failed;
            log(outcome.job, outcome.why, *next);
            return finished_();
        }
        return lost(outcome,
                    (snoozed ? "no longer ours; snoozed: " : "no longer ours; what failed: ") +
                        outcome.why);
    case Verdict::lost:
    case Verdict::conflict:
    case Verdict::transient:
    case Verdict::read_only:
        return retry(std::move(outcome), result);
    case Verdict::fatal:
        shutdown_.fatal(result.message());
        break;
    case Verdict::refused:
        if (std::string plain = ascii(outcome.why); plain != outcome.why) {
            outcome.why = std::move(plain);
            return waiting_.push_front(std::move(outcome));
        }
        break;
    case Verdict::stale:
        break;
    }
    lost(outcome, outcome.why + "; left to its lease: " + result.message());
}

void Outcomes::retry(Outcome outcome, const Result &result) {
    const auto verdict = result.verdict();
    if (verdict == Verdict::lost) {
        connection_.drop(result.message());
    } else if (verdict == Verdict::conflict) {
        outcome.not_before = Clock::now() + conflict_pause_.next();
    } else {
        report::not_reported(outcome.job, result.message());
        outcome.not_before = Clock::now() + pause_after_error;
    }
    waiting_.push_front(std::move(outcome));
}

void Outcomes::lost(const Outcome &outcome, std::string_view why) {
    report::lost(outcome.job, why);
    finished_();
}

} // namespace ecto_job::consumer
