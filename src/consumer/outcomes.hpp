// Outcomes reports to the server how claimed jobs ended. All pending outcomes go in one round trip
// and one transaction, together with the next claim if one is due. If that transaction fails, each
// outcome is reported in its own, so that a stale job does not affect the others.
//
// An outcome outlives its connection: it is reported again on the next one, and the lease tells the
// server whether it was reported before. A completion that the server refuses becomes a failure
// with the server's message, so that the job's error shows why the job is retried. An error text
// that the server refuses is reported once more in ASCII, since the database's encoding may lack a
// character.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/claimer.hpp"
#include "consumer/connection.hpp"
#include "consumer/protocol.hpp"
#include "consumer/shutdown.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ecto_job::consumer {

class Outcomes {
public:
    using NextClaim = std::function<std::optional<Claim>()>;

    // `finished` is called for each job whose outcome was reported or dropped.
    Outcomes(
        Connection &connection, Shutdown &shutdown, std::function<void()> finished,
        NextClaim next_claim = [] { return std::nullopt; });

    void completed(Job job);
    void failed(Job job, const std::string &error);
    // Fails the job for good.
    void given_up(Job job, const std::string &error);
    // Puts the job back without counting its attempt. `why` is for the log.
    void snoozed(Job job, const std::string &why, std::chrono::seconds delay);
    // Puts back a job that was not begun.
    void given_back(Job job) { snoozed(std::move(job), "not begun", std::chrono::seconds(0)); }

    // Returns the number of outcomes that have not been reported.
    std::size_t size() const { return waiting_.size() + in_flight_.size(); }
    void step(Clock::time_point now);
    void watch(Poller &poller) const;

private:
    enum class End { completed, failed, given_up, snoozed };
    struct Outcome {
        Job job;
        End end;
        std::string why = {};            // the error of a failure
        std::chrono::seconds delay = {}; // of a snoozed job
        Clock::time_point not_before = {};
        bool individually =
            false; // report it in a transaction of its own, since reporting together has failed
    };

    void add(Outcome outcome);
    static Statement statement(const Outcome &outcome);
    void drop_overdue(Clock::time_point now);
    std::vector<Outcome> take_due(Clock::time_point now);
    void report_together(const std::optional<Claim> &claim);
    void on_results_together(const Results &results, const std::optional<Claim> &claim);
    void report_one();
    void on_completion_result(Outcome outcome, const Result &result);
    void on_change_result(Outcome outcome, const Result &result);
    void retry(Outcome outcome, const Result &result);
    void lost(const Outcome &outcome, std::string_view why);

    Connection &connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    NextClaim next_claim_;
    Backoff conflict_pause_ = conflict_backoff();
    std::deque<Outcome> waiting_;
    std::vector<Outcome> in_flight_;
};

} // namespace ecto_job::consumer
