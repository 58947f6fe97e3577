// Connection is a connection that the main loop serves: one round trip at a time, whose results are
// passed to a handler.
//
// A round trip sends one or more statements in libpq's pipeline mode. They form one transaction,
// unless they contain BEGIN: the first one that fails rolls back those before it, and those after
// it are not executed. Each handler is called exactly once, with the results, or with
// Result::lost() if the connection broke. A broken connection is opened again after a back-off, and
// on_connected is called. Check idle() before send(). The connection is in autocommit mode.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connection_attempt.hpp"
#include "consumer/options.hpp"
#include "consumer/poller.hpp"
#include "consumer/result.hpp"
#include "consumer/statement.hpp"

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

    // `name` is for the log. `settings`, from protocol::settings(), is sent first on each
    // connection.
    Connection(const Options &options, std::string name, Statement settings);
    Connection(const Connection &) = delete; // libpq and the poller hold its address
    Connection &operator=(const Connection &) = delete;

    // Opens the first connection; blocks. Throws Unreachable. Reconnecting is done by step().
    void open();

    bool ready() const { return connection_ != nullptr; }
    bool idle() const { return ready() && !handler_; }
    bool in_transaction() const;
    // Sends the statements. The connection must be idle.
    void send(const std::vector<Statement> &statements, Handler handler);
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
    Handler handler_;
    Results results_; // received so far
};

} // namespace ecto_job::consumer
