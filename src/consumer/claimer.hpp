// Finding jobs: LISTEN, look, wait for a notification, at most poll_interval. One connection, which
// serves all queues.
//
// A notification is a hint, from anybody: it makes the claimer look, and a look that found nothing
// is not repeated within 10 ms, so that a storm of notifications does not become one of claims.
// Queues take turns. A claim that fails is made again after a pause that grows, unless no claim can
// succeed: one bad row or a trigger must not end the program. What a queue is (its channel, its
// poll interval) is read again with each poll, so that configure_queue and RENAME reach a running
// consumer. No lock.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connection.hpp"
#include "consumer/protocol.hpp"
#include "consumer/shutdown.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ecto_job::consumer {

// A claim that is to be sent, and whom to tell what came of it: the result, or that nothing did,
// since what was in the same transaction failed.
struct Claim {
    Statement statement;
    std::function<void(const Result &)> answered;
    std::function<void()> undone;
};

class Claimer {
public:
    using TakeJobs = std::function<void(std::vector<Job>)>;

    Claimer(const Options &options, Connection &connection, Shutdown &shutdown, TakeJobs take);

    // The next claim, for whoever sends something on the connection anyway; `room` is how many jobs
    // could be taken. None if nothing is due, or something else must come first.
    std::optional<Claim> next_claim(Clock::time_point now, std::size_t room);
    // Takes the next step, if the connection is idle.
    void tend(Clock::time_point now, std::size_t room);
    void watch(Poller &poller, std::size_t room) const;

    // Look at all queues once more, although nobody notified.
    void look_again();
    // A claim is under way: its jobs will have to be performed.
    bool claiming() const { return claiming_; }
    // All queues were looked at, on this connection, and nothing was there.
    bool found_nothing() const;

private:
    struct Queue {
        std::string name;
        QueueFacts facts = {};
        bool known = false;     // facts are fresh
        bool listening = false; // to facts.table
        bool checked = false;   // the server takes the --timeout and the --sql statement
        bool due = true;        // there may be something
        Backoff errors{};       // of claims, one after the other
        Backoff conflicts = conflict_backoff();
        Clock::time_point not_before = {};
        Clock::time_point next_poll = Clock::time_point::max();
    };
    using Answered = std::function<void(const Result &)>;

    void start_over();
    void notified(std::string_view channel);
    bool prepared(const Queue &queue) const;
    void prepare(Queue &queue);
    std::vector<Statement> checks(const Queue &queue) const;
    void found(Queue &queue, const Result &result);
    Claim claim(Queue &queue, std::size_t room);
    void claimed(Queue &queue, const Result &result, int demand);
    void send(Queue &queue, const std::vector<Statement> &statements, const Answered &take);
    void claim_answered(Queue &queue, const Result &result, int demand);
    void failed(Queue &queue, const Result &result, bool may_pass);
    void rest(Queue &queue, const Result &result);

    const Options &options_;
    Connection &connection_;
    Shutdown &shutdown_;
    TakeJobs take_;
    std::vector<Queue> queues_;
    std::size_t turn_ = 0;
    bool extension_found_ = false;
    bool has_claimed_ = false; // whatever a claim found
    bool claiming_ = false;
};

} // namespace ecto_job::consumer
