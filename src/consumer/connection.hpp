// A connection that is served by the loop: one round trip at a time, its results given to a
// handler.
//
// A round trip is one or more statements in libpq's pipeline mode. They are one transaction, unless
// they make their own: the first that fails undoes those before it, and those behind it are not
// executed. Each handler is called exactly once, with results or with the news that the connection
// broke first. A broken connection comes back by itself, after a back-off; `connected` is called
// then, and whoever wants to send anything looks at idle() first. Every connection is in
// autocommit: a transaction is what its user makes. No lock: one thread.
#pragma once

#include "consumer/backoff.hpp"
#include "consumer/connecting.hpp"
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

    // The name is for the log. `settings` is sent first on each connection: protocol::settings().
    Connection(const Options &options, std::string name, Statement settings);
    Connection(const Connection &) = delete; // its address is known to libpq and to the poller
    Connection &operator=(const Connection &) = delete;

    // The program's first connection: waits, and throws Unreachable. Later ones come by tend().
    void open();

    bool ready() const { return connection_ != nullptr; }
    bool idle() const { return ready() && !handler_; }
    bool in_transaction() const;
    // Only when idle.
    void send(const std::vector<Statement> &statements, Handler handler);
    // Gives the connection up: its server is of no use. Nothing if it is already gone.
    void drop(const std::string &why);
    std::string identifier(const std::string &name) const;

    void tend(Clock::time_point now);
    void watch(Poller &poller);

    std::function<void()> on_connected = [] {};
    std::function<void(std::string_view channel)> on_notification = [](std::string_view) {};

private:
    void adopt(PgConnection connection);
    void take_connected();
    void retry_later(const std::string &why);
    void receive();
    bool send_one(const Statement &statement, bool parsed);
    void take(PGresult *result);
    void finish();
    void settled(const Result &result) const;
    bool of_primary() const;

    Parameters parameters_;
    std::string name_;
    Statement settings_;
    PgConnection connection_;
    std::optional<Connecting> connecting_;
    Backoff backoff_;
    Clock::time_point retry_at_{};
    bool unsent_ = false;
    Handler handler_;
    Results results_; // those that have come
};

} // namespace ecto_job::consumer
