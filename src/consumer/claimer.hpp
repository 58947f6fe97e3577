// Claimer finds jobs for all queues on one connection: it claims until no job is left, and then
// waits for the next job in the server (IdleWait). It LISTENs instead where waiting is not
// possible, and while the connection may be needed for jobs that are being performed.
//
// A notification is a hint that any role may send. It causes one claim; a claim that found no job
// is not repeated within 10 ms, so that a storm of notifications does not become a storm of claims.
// Each queue is polled, too, every poll_interval. Queues are claimed from in turn. After a failed
// claim the queue backs off, unless no later claim can succeed, which ends the program: one bad row
// or trigger must not end it. The queue's facts (its channel, its poll interval) are read again
// with each poll, so that configure_queue and RENAME reach a running consumer.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connection.hpp"
#include "consumer/idle_wait.hpp"
#include "consumer/protocol.hpp"
#include "consumer/shutdown.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ecto_job::consumer {

// A claim to be sent. The sender calls on_result with the claim's result, or on_rollback if the
// transaction failed before the claim was executed.
struct Claim {
    Statement statement;
    std::function<void(const Result &)> on_result;
    std::function<void()> on_rollback;
};

class Claimer {
public:
    using TakeJobs = std::function<void(std::vector<Job>)>;

    Claimer(const Options &options, Connection &connection, Shutdown &shutdown, TakeJobs take);

    // Returns the next claim for at most `room` jobs, so that the caller can send it together with
    // other statements. Returns nullopt if no claim is due, or if a queue must be prepared first.
    std::optional<Claim> next_claim(Clock::time_point now, std::size_t room);
    // Sends the next statement, if the connection is idle. `is_needed`: the connection may be
    // needed at any time, for jobs that have been claimed.
    void step(Clock::time_point now, std::size_t room, bool is_needed);
    void watch(Poller &poller, std::size_t room) const;

    // Makes a claim due on all queues, without a notification.
    void recheck_all();
    // Returns the features of the extension, as last found.
    const protocol::Features &features() const { return features_; }
    // Returns whether a claim or a wait has been sent, and its result is pending.
    bool claiming() const { return claiming_ || idle_wait_.active(); }
    // Returns whether the last claim on each queue, on this connection, found no more jobs.
    bool found_nothing() const;

private:
    struct Queue {
        std::string name;
        QueueFacts facts = {};
        bool known = false;     // facts are up to date
        bool listening = false; // on the channel facts.table
        bool checked = false;   // the server accepts --timeout and the --sql statement
        bool due = true;        // a claim may find jobs
        Backoff errors{};       // after failed claims
        Backoff conflicts = conflict_backoff();
        Clock::time_point not_before = {};
        Clock::time_point next_poll = Clock::time_point::max();
    };
    using OnResult = std::function<void(const Result &)>;

    void start_over();
    void poll(Clock::time_point now);
    void send_next(Clock::time_point now, std::size_t room);
    void wait(Clock::time_point now, std::size_t room);
    bool can_wait() const;
    void found_job(Oid queue);
    void notified(std::string_view channel);
    bool prepared(const Queue &queue) const;
    void prepare(Queue &queue);
    std::vector<Statement> checks(const Queue &queue) const;
    void found(Queue &queue, const Result &result);
    Claim claim(Queue &queue, std::size_t room);
    Connection::Transaction transaction(const Claim &claim) const;
    void claimed(Queue &queue, const Result &result, int demand);
    void send(Queue &queue, const std::vector<Statement> &statements, const OnResult &take);
    void on_claim_result(Queue &queue, const Result &result, int demand);
    void failed(Queue &queue, const Result &result, bool may_pass);
    void back_off(Queue &queue, const Result &result);

    const Options &options_;
    Connection &connection_;
    Shutdown &shutdown_;
    TakeJobs take_;
    std::vector<Queue> queues_;
    std::size_t next_queue_ = 0;
    bool extension_found_ = false; // on this connection
    protocol::Features features_;
    bool has_claimed_ = false; // a claim has succeeded, with or without jobs
    Clock::time_point starts_are_durable_until_ = {};
    bool claiming_ = false;
    bool listens_ = true; // on all queues; false: it waits
    IdleWait idle_wait_;
    std::size_t room_of_wait_ = 0; // of the claim that was sent behind the last wait
};

} // namespace ecto_job::consumer
