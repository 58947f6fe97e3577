// A libpq session for the property test. Times are sent and received in binary, as microseconds, so
// that no time is rounded.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model.hpp"

// A parameter of a statement: NULL, a text of the type that the server infers, or a timestamptz
class Parameter {
public:
    Parameter(std::nullopt_t) {}
    Parameter(const char *text) : value_(text) {}
    Parameter(const std::string &text) : value_(text) {}
    Parameter(std::int64_t number) : value_(std::to_string(number)) {}
    Parameter(std::int32_t number) : value_(std::to_string(number)) {}
    template <typename T> Parameter(const std::optional<T> &value) {
        if (value)
            *this = Parameter(*value);
    }
    static Parameter time(std::int64_t micros) {
        Parameter parameter{std::string(8, '\0')};
        for (int byte = 0; byte < 8; byte++)
            (*parameter.value_)[static_cast<std::size_t>(byte)] =
                static_cast<char>((static_cast<std::uint64_t>(micros) >> (56 - 8 * byte)) & 0xFFU);
        parameter.is_time_ = true;
        return parameter;
    }
    static Parameter time(const std::optional<std::int64_t> &micros) {
        return micros ? time(*micros) : Parameter(std::nullopt);
    }
    const char *data() const { return value_ ? value_->c_str() : nullptr; }
    bool is_time() const { return is_time_; }

private:
    std::optional<std::string> value_;
    bool is_time_ = false;
};

class Result {
public:
    explicit Result(PGresult *result) : result_(result, PQclear) {}

    std::string sqlstate() const {
        const char *const state = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
        return state == nullptr ? "" : state;
    }
    bool failed() const {
        const auto status = PQresultStatus(result_.get());
        return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK;
    }
    int rows() const { return PQntuples(result_.get()); }
    std::optional<std::string> value(int row, const char *name) const {
        const int column = PQfnumber(result_.get(), name);
        if (PQgetisnull(result_.get(), row, column) != 0)
            return std::nullopt;
        return PQgetvalue(result_.get(), row, column);
    }
    std::optional<std::int64_t> number(int row, const char *name) const {
        const auto text = value(row, name);
        return text ? std::optional(std::strtoll(text->c_str(), nullptr, 10)) : std::nullopt;
    }

private:
    std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

class Session {
public:
    Session() : connection_(PQconnectdb("")) {
        if (PQstatus(connection_) != CONNECTION_OK)
            fail("cannot connect");
        PQsetNoticeProcessor(
            connection_, [](void *, const char *) {}, nullptr);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;
    ~Session() { PQfinish(connection_); }

    Result run(const std::string &text, const std::vector<Parameter> &parameters = {}) {
        constexpr Oid timestamptz = 1184;
        std::vector<Oid> types;
        std::vector<const char *> values;
        std::vector<int> lengths;
        std::vector<int> formats;
        for (const Parameter &parameter : parameters) {
            types.push_back(parameter.is_time() ? timestamptz : 0);
            values.push_back(parameter.data());
            lengths.push_back(8); // libpq ignores the lengths of text parameters
            formats.push_back(parameter.is_time() ? 1 : 0);
        }
        Result result{PQexecParams(connection_, text.c_str(), static_cast<int>(types.size()),
                                   types.data(), values.data(), lengths.data(), formats.data(), 0)};
        if (result.failed() && result.sqlstate().empty())
            fail(text.c_str()); // the connection is lost
        message_ = result.failed() ? PQerrorMessage(connection_) : "";
        return result;
    }
    void must(const std::string &text) {
        if (run(text).failed())
            fail(text.c_str());
    }
    const std::string &message() const { return message_; }

private:
    [[noreturn]] void fail(const char *what) const {
        std::cerr << what << ": " << PQerrorMessage(connection_);
        std::exit(2);
    }

    PGconn *connection_;
    std::string message_;
};

// Microseconds of a timestamptz column, since 2000 as PostgreSQL counts them and sends them;
// extract(epoch) rounds the last valid time
inline std::string micros_of(const std::string &time) {
    return "('x' || encode(timestamptz_send(" + time + "), 'hex'))::bit(64)::bigint";
}

// The columns of a job as jobs_of() reads them; `updated_at` is a timestamptz of the same row
inline std::string job_columns(const std::string &updated_at, const std::string &lease = "lease") {
    return "id, state, " + micros_of("expires") + " AS expires, " + micros_of("schedule") +
           " AS schedule, attempt, max_attempts, priority, " + lease + " AS lease, error, " +
           micros_of(updated_at) + " AS updated_at, key";
}

inline std::vector<model::Job> jobs_of(const Result &result) {
    std::vector<model::Job> jobs;
    for (int row = 0; row < result.rows(); row++)
        jobs.push_back({*result.number(row, "id"), *result.value(row, "state"),
                        result.number(row, "expires"), result.number(row, "schedule").value_or(0),
                        static_cast<std::int32_t>(*result.number(row, "attempt")),
                        static_cast<std::int32_t>(*result.number(row, "max_attempts")),
                        static_cast<std::int32_t>(*result.number(row, "priority")),
                        result.number(row, "lease"), result.value(row, "error"),
                        result.number(row, "updated_at"), result.value(row, "key")});
    return jobs;
}
