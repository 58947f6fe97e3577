// A connection by PG* variables, on which everything is prepared once and sent by pipelines: the
// same client for every side, so that the sides differ in their statements alone.
//
// An error ends the program: a benchmark that goes on after an error measures something else.
#pragma once

#include <cstdint>
#include <libpq-fe.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace bench {

using Row = std::vector<std::string>;

struct Call {
    std::string sql;
    std::vector<std::string> parameters;
};

class Link {
public:
    Link();
    // Makes one round trip; returns one result for each call
    std::vector<std::vector<Row>> trip(const std::vector<Call> &calls);
    std::vector<Row> query(const std::string &sql, std::vector<std::string> parameters = {});
    void execute(const std::string &sql) { query(sql); }
    // Waits for a notification, at most so long; notifications that have come already count
    bool wait_for_notification(int milliseconds);

private:
    struct Finish {
        void operator()(PGconn *connection) const { PQfinish(connection); }
    };
    [[noreturn]] void fail(const std::string &what);
    std::string prepared(const std::string &sql);
    void next_result(std::vector<Row> *rows);

    std::unique_ptr<PGconn, Finish> connection_;
    std::map<std::string, std::string> names_;
};

// Returns the highest n of the statement's $n
std::size_t parameter_count(const std::string &sql);

std::int64_t now_us(); // the clock that the server's timestamps have

} // namespace bench
