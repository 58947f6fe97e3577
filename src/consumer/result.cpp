// The meaning of SQLSTATEs.
//
// 25006 (read-only transaction) usually comes from a standby: after a failover the old server may
// be back as one, and a new connection may lead to the primary. From a primary it is caused by a
// setting, which a new connection would meet again. Class 22 is not fatal, since the server may
// refuse a single job's text.
#include "consumer/result.hpp"

#include <algorithm>
#include <array>

namespace ecto_job::consumer {

namespace {

constexpr std::string_view stale_completion = "JQ001";
constexpr std::string_view read_only_transaction = "25006";
constexpr std::string_view serialization_failure = "40001";
constexpr std::string_view deadlock = "40P01";

// Rollback for reasons other than a conflict, resources, object not ready (locks), operator
// intervention (time-outs, shutdown), system, internal
constexpr std::array<std::string_view, 6> transient_classes{"40", "53", "55", "57", "58", "XX"};
// Not supported, authorization, no database, no schema, syntax and access rules
constexpr std::array<std::string_view, 5> fatal_classes{"0A", "28", "3D", "3F", "42"};

template <std::size_t size>
bool holds(const std::array<std::string_view, size> &classes, std::string_view sqlstate) {
    return std::find(classes.begin(), classes.end(), sqlstate.substr(0, 2)) != classes.end();
}

} // namespace

Verdict Result::verdict() const {
    if (!result_)
        return Verdict::lost;
    const auto status = PQresultStatus(result_.get());
    if (status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE)
        return Verdict::ok;
    const char *const field = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
    const std::string_view sqlstate = field == nullptr ? "" : field;
    if (sqlstate == stale_completion)
        return Verdict::stale;
    if (sqlstate == read_only_transaction)
        return of_primary_ ? Verdict::read_only : Verdict::lost;
    if (sqlstate == serialization_failure || sqlstate == deadlock)
        return Verdict::conflict;
    if (holds(transient_classes, sqlstate))
        return Verdict::transient;
    return holds(fatal_classes, sqlstate) ? Verdict::fatal : Verdict::refused;
}

std::string Result::message() const {
    if (!result_)
        return lost_;
    const std::unique_ptr<char, decltype(&PQfreemem)> text(
        PQresultVerboseErrorMessage(result_.get(), PQERRORS_DEFAULT, PQSHOW_CONTEXT_ERRORS),
        PQfreemem);
    std::string message = text ? text.get() : "out of memory";
    message.erase(message.find_last_not_of(" \n") + 1);
    return message;
}

std::string_view Result::get(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::optional<std::string> Result::get_optional(int row, int column) const {
    if (PQgetisnull(result_.get(), row, column) != 0)
        return std::nullopt;
    return std::string(get(row, column));
}

} // namespace ecto_job::consumer
