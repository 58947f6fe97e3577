// Telling outcomes, and what each answer means.
//
// While the program stops, an outcome that cannot be told (no server) is kept as long as its lease
// runs and then given up: else a stop would never end. While it does not stop it is kept for ever,
// since a lease that nobody swept is still good. No lock.
#include "consumer/outcomes.hpp"

#include "consumer/report.hpp"
#include "consumer/text.hpp"

#include <algorithm>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Before the next try after an error that may pass
constexpr auto pause_after_error = std::chrono::seconds(1);

} // namespace

Outcomes::Outcomes(Connection &connection, Shutdown &shutdown, std::function<void()> finished)
    : connection_(connection), shutdown_(shutdown), finished_(std::move(finished)) {}

void Outcomes::completed(Job job) {
    add({std::move(job)});
}

void Outcomes::failed(Job job, const std::string &error) {
    add({std::move(job), valid_utf8(error)});
}

void Outcomes::add(Outcome outcome) {
    // Not needed any more, and may be large
    outcome.job.params = {};
    outcome.job.row.reset();
    waiting_.push_back(std::move(outcome));
}

void Outcomes::tend(Clock::time_point now) {
    if (shutdown_.requested() && !connection_.ready())
        give_up_overdue(now);
    const auto due = std::find_if(waiting_.begin(), waiting_.end(), [now](const Outcome &outcome) {
        return outcome.not_before <= now;
    });
    if (due == waiting_.end() || !connection_.idle())
        return;
    Outcome outcome = std::move(*due);
    waiting_.erase(due);
    tell(std::move(outcome));
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
        std::stable_partition(waiting_.begin(), waiting_.end(), [now](const Outcome &outcome) {
            return outcome.job.lease_over > now;
        });
    std::for_each(overdue, waiting_.end(), [this](const Outcome &outcome) {
        lost(outcome, "stopping, and no server to report to: left to its lease");
    });
    waiting_.erase(overdue, waiting_.end());
}

void Outcomes::tell(Outcome outcome) {
    telling_ = std::move(outcome);
    const auto statement = telling_->error ? protocol::fail(telling_->job, *telling_->error)
                                           : protocol::complete(telling_->job);
    connection_.send(statement, [this](const Result &result) {
        Outcome told = *std::exchange(telling_, std::nullopt);
        if (told.error)
            failure_answered(std::move(told), result);
        else
            completion_answered(std::move(told), result);
    });
}

void Outcomes::completion_answered(Outcome outcome, const Result &result) {
    switch (result.verdict()) {
    case Verdict::ok:
        report::completed(outcome.job);
        return finished_();
    case Verdict::stale:
        return lost(outcome, result.message());
    case Verdict::lost:
    case Verdict::transient:
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
    case Verdict::transient:
        return try_again(std::move(outcome), result);
    case Verdict::fatal:
        shutdown_.fatal(result.message());
        break;
    case Verdict::stale:
    case Verdict::refused:
        break;
    }
    lost(outcome, *outcome.error + "; left to its lease: " + result.message());
}

void Outcomes::try_again(Outcome outcome, const Result &result) {
    if (result.verdict() == Verdict::lost) {
        connection_.drop(result.message());
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
