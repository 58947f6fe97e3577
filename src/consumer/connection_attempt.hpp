// ConnectionAttempt connects in a thread of its own, so that the main loop does not block.
//
// PQconnectPoll would need no thread, but it blocks while it looks up names, and it ignores
// connect_timeout; so after a silent host it never tries the next of several, which failover needs.
// The thread shares only the promise with the loop. If the program ends first, the thread is
// abandoned.
#pragma once

#include "consumer/descriptor.hpp"

#include <future>
#include <libpq-fe.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ecto_job::consumer {

struct Finish {
    void operator()(PGconn *connection) const { PQfinish(connection); }
};
using PgConnection = std::unique_ptr<PGconn, Finish>;

// libpq's keywords and values. A later value for the same keyword takes precedence.
using ConnectionOptions = std::vector<std::pair<std::string, std::string>>;

// Connects, and blocks until the attempt has succeeded or failed: see PQstatus.
PgConnection connect(const ConnectionOptions &parameters);

class ConnectionAttempt {
public:
    explicit ConnectionAttempt(ConnectionOptions parameters);
    // Returns a descriptor that becomes readable when take() no longer blocks.
    int fd() const { return done_.get(); }
    PgConnection take() { return connection_.get(); }

private:
    Descriptor done_;
    std::future<PgConnection> connection_;
};

} // namespace ecto_job::consumer
