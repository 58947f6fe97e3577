// Link always uses libpq's pipeline mode: a trip of one call costs as much as without it.
#include "link.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <poll.h>

namespace bench {

Link::Link() : connection_(PQconnectdb("")) {
    if (PQstatus(connection_.get()) != CONNECTION_OK)
        fail("connect");
    // Discards the WARNING of a COMMIT outside a transaction, with which a script may begin
    PQsetNoticeProcessor(
        connection_.get(), [](void *, const char *) {}, nullptr);
    if (PQenterPipelineMode(connection_.get()) != 1)
        fail("pipeline");
}

void Link::fail(const std::string &what) {
    std::cerr << what << ": " << PQerrorMessage(connection_.get()) << '\n';
    std::exit(1); // NOLINT(concurrency-mt-unsafe): ends the other threads, too
}

std::string Link::prepared(const std::string &sql) {
    const auto found = names_.find(sql);
    if (found != names_.end())
        return found->second;
    const std::string name = "s" + std::to_string(names_.size());
    if (PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), 0, nullptr) != 1 ||
        PQpipelineSync(connection_.get()) != 1)
        fail(sql);
    next_result(nullptr);
    next_result(nullptr); // of the sync
    names_[sql] = name;
    return name;
}

void Link::next_result(std::vector<Row> *rows) {
    PGresult *const result = PQgetResult(connection_.get());
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC)
        fail("statement");
    for (int i = 0; rows != nullptr && i < PQntuples(result); i++) {
        Row row;
        for (int column = 0; column < PQnfields(result); column++)
            row.emplace_back(PQgetvalue(result, i, column),
                             static_cast<std::size_t>(PQgetlength(result, i, column)));
        rows->push_back(std::move(row));
    }
    PQclear(result);
    if (status != PGRES_PIPELINE_SYNC)
        PQclear(PQgetResult(connection_.get())); // the null pointer that ends a statement's results
}

// Sends a call whose statement is prepared
void Link::send(const Call &call) {
    std::vector<const char *> values;
    for (const std::string &parameter : call.parameters)
        values.push_back(parameter.c_str());
    if (PQsendQueryPrepared(connection_.get(), prepared(call.sql).c_str(),
                            static_cast<int>(values.size()), values.data(), nullptr, nullptr,
                            0) != 1)
        fail(call.sql);
}

void Link::sync() {
    if (PQpipelineSync(connection_.get()) != 1)
        fail("sync");
}

std::vector<std::vector<Row>> Link::send_all(const std::vector<Call> &calls, bool one_transaction) {
    for (const Call &call : calls)
        prepared(call.sql);
    const auto ends_transaction = [&](std::size_t i) {
        return !one_transaction || i + 1 == calls.size();
    };
    for (std::size_t i = 0; i < calls.size(); i++) {
        send(calls[i]);
        if (ends_transaction(i))
            sync();
    }
    std::vector<std::vector<Row>> results(calls.size());
    for (std::size_t i = 0; i < calls.size(); i++) {
        next_result(&results[i]);
        if (ends_transaction(i))
            next_result(nullptr); // of the sync
    }
    return results;
}

std::vector<std::vector<Row>> Link::trip(const std::vector<Call> &calls) {
    return send_all(calls, true);
}

std::vector<std::vector<Row>> Link::transactions(const std::vector<Call> &calls) {
    return send_all(calls, false);
}

std::vector<Row> Link::query(const std::string &sql, std::vector<std::string> parameters) {
    return trip({{sql, std::move(parameters)}})[0];
}

bool Link::wait_for_notification(int milliseconds) {
    const std::int64_t limit = now_us() + std::int64_t{1000} * milliseconds;
    for (bool heard = false;;) {
        if (PQconsumeInput(connection_.get()) != 1)
            fail("wait");
        while (PGnotify *const notification = PQnotifies(connection_.get())) {
            PQfreemem(notification);
            heard = true;
        }
        const std::int64_t left = limit - now_us();
        if (heard || left <= 0)
            return heard;
        pollfd descriptor{PQsocket(connection_.get()), POLLIN, 0};
        poll(&descriptor, 1, static_cast<int>(std::max<std::int64_t>(1, left / 1000)));
    }
}

std::size_t parameter_count(const std::string &sql) {
    std::size_t highest = 0;
    for (std::size_t at = sql.find('$'); at != std::string::npos; at = sql.find('$', at + 1))
        highest = std::max<std::size_t>(highest, std::strtoul(sql.c_str() + at + 1, nullptr, 10));
    return highest;
}

std::int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

} // namespace bench
