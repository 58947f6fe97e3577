// What the command line asks for. psql's letters mean what they mean in psql.
//
// Everything is checked here, so that no other file meets a value that makes no sense; what only
// the server can judge (queues, the timeout's text, the statement) it judges at the start. No lock.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

struct Options {
    // the database; nullopt leaves it to libpq: PG* variables, then its defaults
    std::optional<std::string> dbname; // a name, a conninfo string or a URI
    std::optional<std::string> host;
    std::optional<std::string> port;
    std::optional<std::string> user;

    std::vector<std::string> queues; // at least one, as regclass reads it
    // one of the two
    std::optional<std::string> exec;
    std::optional<std::string> sql;

    int jobs = 1;                       // performed at the same time
    std::optional<int> batch;           // jobs of one start call; nullopt = as many as can be run
    int per_transaction = 1;            // --sql: jobs that one transaction performs
    std::optional<std::string> timeout; // an interval; nullopt = the queue's setting
    bool drain = false;
    std::string log_level = "info";
};

// nullopt: go on with `options`. Else the program ends with this status: 0 after --help and
// --version, 2 after a usage error, and has printed what is to be said.
std::optional<int> parse_options(int argc, const char *const *argv, Options &options);

} // namespace ecto_job::consumer
