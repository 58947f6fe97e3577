// Options holds the command line. psql's option letters have psql's meaning.
//
// parse_options() checks every value that can be checked without a server. The server checks the
// queues, the timeout and the statement at the start.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

struct Options {
    // the connection; nullopt: libpq uses PG* variables, then its defaults
    std::optional<std::string> dbname; // a name, a conninfo string or a URI
    std::optional<std::string> host;
    std::optional<std::string> port;
    std::optional<std::string> user;

    std::vector<std::string> queues; // at least one, in the syntax of regclass
    // exactly one of exec and sql is set
    std::optional<std::string> exec;
    std::optional<std::string> sql;

    int jobs = 1;                       // performed at the same time
    std::optional<int> batch;           // jobs of one start call; nullopt = as many as can be run
    int per_transaction = 1;            // --sql: jobs that one transaction performs
    std::optional<std::string> timeout; // an interval; nullopt = the queue's setting
    int snooze = 60;                    // --exec: seconds after exit status 75
    bool extend = true;                 // --exec: extend the leases of running programs
    bool flush = true;                  // commits of starts wait for the disk and a standby
    bool drain = false;
    std::string log_level = "info";
};

// Parses the command line into `options`. Returns nullopt on success. Otherwise the program has to
// end with the returned status: 0 after --help and --version, 2 after a usage error. The help or
// the error has been printed.
std::optional<int> parse_options(int argc, const char *const *argv, Options &options);

} // namespace ecto_job::consumer
