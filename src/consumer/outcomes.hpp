// How started jobs ended, on their way to the server: all that wait go in one round trip and one
// transaction, with the next claim if there is one. If that fails, each is told by itself: a stale
// job costs the others nothing.
//
// An outcome outlives its connection: it is told again on the next one, and the server knows by the
// lease whether it was told before. A completion that the server refuses becomes a failure with the
// server's words, so that somebody sees why the job comes again. An error's text that the server
// refuses is told once more in ASCII: its encoding may lack a character. No lock.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/claimer.hpp"
#include "consumer/connection.hpp"
#include "consumer/protocol.hpp"
#include "consumer/shutdown.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

class Outcomes {
public:
    using NextClaim = std::function<std::optional<Claim>()>;

    // `finished` is called for each job that is told, or given up.
    Outcomes(
        Connection &connection, Shutdown &shutdown, std::function<void()> finished,
        NextClaim next_claim = [] { return std::nullopt; });

    void completed(Job job);
    void failed(Job job, const std::string &error);

    // Not told yet.
    std::size_t size() const { return waiting_.size() + telling_.size(); }
    void tend(Clock::time_point now);
    void watch(Poller &poller) const;

private:
    struct Outcome {
        Job job;
        std::optional<std::string> error = {}; // nullopt = success
        Clock::time_point not_before = {};
        bool alone = false; // it was among those that could not be told together
    };

    void add(Outcome outcome);
    void give_up_overdue(Clock::time_point now);
    std::vector<Outcome> take_due(Clock::time_point now);
    void tell_together(const std::optional<Claim> &claim);
    void told_together(const Results &results, const std::optional<Claim> &claim);
    void tell_alone();
    void completion_answered(Outcome outcome, const Result &result);
    void failure_answered(Outcome outcome, const Result &result);
    void try_again(Outcome outcome, const Result &result);
    void lost(const Outcome &outcome, std::string_view why);

    Connection &connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    NextClaim next_claim_;
    Backoff conflict_pause_ = conflict_backoff();
    std::deque<Outcome> waiting_;
    std::vector<Outcome> telling_;
};

} // namespace ecto_job::consumer
