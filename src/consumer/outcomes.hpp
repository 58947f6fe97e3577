// How started jobs ended, on their way to the server: complete_job or fail_job, one at a time.
//
// An outcome outlives its connection: it is told again on the next one, and the server knows by the
// lease whether it was told before. A completion that the server refuses becomes a failure with the
// server's words, so that somebody sees why the job comes again. No lock.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/protocol.hpp"
#include "consumer/shutdown.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <string>

namespace ecto_job::consumer {

class Outcomes {
public:
    // `finished` is called for each job that is told, or given up.
    Outcomes(Connection &connection, Shutdown &shutdown, std::function<void()> finished);

    void completed(Job job);
    void failed(Job job, const std::string &error);

    // Not told yet.
    std::size_t size() const { return waiting_.size() + (telling_ ? 1 : 0); }
    void tend(Clock::time_point now);
    void watch(Poller &poller) const;

private:
    struct Outcome {
        Job job;
        std::optional<std::string> error = {}; // nullopt = success
        Clock::time_point not_before = {};
    };

    void add(Outcome outcome);
    void give_up_overdue(Clock::time_point now);
    void tell(Outcome outcome);
    void completion_answered(Outcome outcome, const Result &result);
    void failure_answered(Outcome outcome, const Result &result);
    void try_again(Outcome outcome, const Result &result);
    void lost(const Outcome &outcome, std::string_view why);

    Connection &connection_;
    Shutdown &shutdown_;
    std::function<void()> finished_;
    std::deque<Outcome> waiting_;
    std::optional<Outcome> telling_;
};

} // namespace ecto_job::consumer
