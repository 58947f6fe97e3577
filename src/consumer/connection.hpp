// Connection is a connection that the main loop serves: it sends transactions and passes their
// results to handlers.
//
// The statements of a transaction are sent in libpq's pipeline mode. They are one transaction
// unless they contain BEGIN: the first one that fails rolls back those before it, and those after
// it are not executed. Transactions that are sent together are executed one after the other,
// whether the earlier ones fail or not. Each handler is called exactly once, with the results, or
// with Result::lost() if the connection broke. A broken connection is opened again after a
// back-off, and on_connected is called. Check idle() before send(). The connection is in autocommit
// mode.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connection_attempt.hpp"
#include "consumer/descriptor.hpp"
#include "consumer/options.hpp"
#include "consumer/poller.hpp"
#include "consumer/result.hpp"
#include "consumer/statement.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ecto_job::consumer {

struct Unreachable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Connection {
public:
    using Handler = std::function<void(const Results &)>;
    struct Transaction {
        std::vector<Statement> statements;
        Handler handler;
    };

    // `name` is for the log. `settings`, from protocol::settings(), is sent first on each
    // connection.
    Connection(const Options &options, std::string name, Statement settings);
    Connection(const Connection &) = delete; // libpq and the poller hold its address
    Connection &operator=(const Connection &) = delete;

    // Opens the first connection; blocks. Throws Unreachable. Reconnecting is done by step().
    void open();

    bool ready() const { return connection_ != nullptr; }
    bool idle() const { return ready() && handlers_.empty() && !cancellation_; }
    bool in_transaction() const;
    // Sends the statements of one transaction. The connection must be idle.
    void send(std::vector<Statement> statements, Handler handler);
    // Sends several transactions together. The connection must be idle.
    void send(std::vector<Transaction> transactions);
    // Asks the server to cancel the statement that it executes, without waiting for the end of the
    // statement. The connection is not idle before the request has been delivered, so that no later
    // statement is cancelled. Does nothing while an earlier request is being delivered. Throws
    // std::system_error if threads or descriptors have run out.
    void cancel();
    // Returns whether a request to cancel is being delivered, for 10 s at most.
    bool is_cancelling() const { return cancellation_.has_value(); }
    // Closes the connection and schedules a new attempt. Does nothing if it is already closed.
    void drop(const std::string &why);
    std::string identifier(const std::string &name) const;

    void step(Clock::time_point now);
    void watch(Poller &poller);

    std::function<void()> on_connected = [] {};
    std::function<void(std::string_view channel)> on_notification = [](std::string_view) {};

private:
    void adopt(PgConnection connection);
    void take_attempt();
    void retry_later(const std::string &why);
    void receive();
    bool send_transaction(const std::vector<Statement> &statements);
    bool send_one(const Statement &statement, bool parsed);
    void take(PGresult *result);
    void finish();
    void on_settings_result(const Result &result) const;
    bool of_primary() const;

    ConnectionOptions connection_options_;
    std::string name_;
    Statement settings_;
    PgConnection connection_;
    std::optional<ConnectionAttempt> attempt_;
    Backoff backoff_;
    Clock::time_point retry_at_{};
    bool unsent_ = false;
    std::deque<Handler> handlers_; // of the transactions that were sent and have not ended
    Results results_;              // of the first of these transactions, received so far
    std::optional<Descriptor> cancellation_; // becomes readable when it has been delivered
    Clock::time_point cancellation_ends_{};  // the connection is dropped if it has not
};

} // namespace ecto_job::consumer
