// Link is a connection by PG* variables, on which each statement is prepared once and sent in
// pipelines. All sides have this client, so that they differ in their statements alone.
//
// An error ends the program: after an error the benchmark would measure something else.
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
    // Makes one round trip with all calls in one transaction; returns one result for each call
    std::vector<std::vector<Row>> trip(const std::vector<Call> &calls);
    // Makes one round trip with a transaction for each call; returns one result for each call
    std::vector<std::vector<Row>> transactions(const std::vector<Call> &calls);
    std::vector<Row> query(const std::string &sql, std::vector<std::string> parameters = {});
    void execute(const std::string &sql) { query(sql); }
    // Waits for a notification up to this time; one that has already arrived counts
    bool wait_for_notification(int milliseconds);

private:
    struct Finish {
        void operator()(PGconn *connection) const { PQfinish(connection); }
    };
    [[noreturn]] void fail(const std::string &what);
    std::string prepared(const std::string &sql);
    std::vector<std::vector<Row>> send_all(const std::vector<Call> &calls, bool one_transaction);
    void send(const Call &call);
    void sync();
    void next_result(std::vector<Row> *rows);

    std::unique_ptr<PGconn, Finish> connection_;
    std::map<std::string, std::string> names_;
};

// Returns the highest n of the statement's $n
std::size_t parameter_count(const std::string &sql);

std::int64_t now_us(); // by the clock of the server's timestamps

} // namespace bench
