// IdleWait has the server wait for a job, by ecto_job.wait_any, on a connection that has nothing
// else to send.
//
// The commit that brings a job wakes a session that waits, and of several such sessions only as
// many as there are jobs; a session that LISTENs is signalled for each commit. A claim can be sent
// with the wait, as a transaction of its own: the server executes the claim as soon as the wait has
// ended, however the wait ends.
//
// A connection on which a wait has failed, or has ended too early to be of use, waits no more: the
// program LISTENs on it, and waits again on the next connection.
#pragma once

#include "consumer/connection.hpp"
#include "consumer/poller.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ecto_job::consumer {

class IdleWait {
public:
    using OnFound = std::function<void(Oid queue)>;

    // `on_found` is called when a wait ends because a queue has a job.
    IdleWait(Connection &connection, OnFound on_found)
        : connection_(connection), on_found_(std::move(on_found)) {}

    // Begins to wait for a job of one of the queues, at most for `timeout`. `claim` is executed
    // afterwards. A session that LISTENs ceases to: notifications would signal it for nothing, and
    // could not be read.
    void begin(const std::vector<std::string> &queues, std::chrono::milliseconds timeout,
               bool listens, std::optional<Connection::Transaction> claim);
    // Has the wait end soon, if there is one, and then the claim that was sent with it, if a lock
    // keeps the claim waiting. To be called in each step until the claim's result is there.
    void end(Clock::time_point now);
    void watch(Poller &poller) const;

    // Records that the connection is a new one.
    void start_over() { is_possible_ = true; }
    // Returns whether no wait has failed on this connection.
    bool is_possible() const { return is_possible_; }
    bool active() const { return active_; }

private:
    void on_result(const Result &result);
    void listen_instead(std::string_view why);
    bool is_pending() const { return active_ || claim_pending_; }

    Connection &connection_;
    OnFound on_found_;
    bool is_possible_ = true;
    bool active_ = false;
    bool claim_pending_ = false; // the result of the claim that was sent with a wait
    bool still_listens_ = false; // UNLISTEN has failed
    Clock::time_point early_;    // a wait that finds no job before is of no use
    bool ending_ = false;
    Clock::time_point next_cancel_;
    Clock::time_point patience_ends_;
};

} // namespace ecto_job::consumer
