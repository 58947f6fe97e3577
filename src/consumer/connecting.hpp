// One attempt to connect, in a thread of its own, while the loop goes on.
//
// Why a thread, where libpq has PQconnectPoll: that one looks up names without returning and knows
// neither connect_timeout nor, after a silent host, the next of several, and the next host is what
// failover is about. The thread shares nothing with the loop but the promise; it is left behind
// when the program ends first. No lock.
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

// libpq's keywords and values; of two values for a keyword the later one counts
using Parameters = std::vector<std::pair<std::string, std::string>>;

// Waits until it is connected or not, as PQstatus tells.
PgConnection connect(const Parameters &parameters);

class Connecting {
public:
    explicit Connecting(Parameters parameters);
    // Readable when take() does not wait any more.
    int fd() const { return done_.get(); }
    PgConnection take() { return connection_.get(); }

private:
    Descriptor done_;
    std::future<PgConnection> connection_;
};

} // namespace ecto_job::consumer
