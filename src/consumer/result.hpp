// Result owns the result of a statement, or stands for a connection that broke before there was
// one, and says what an error means for the protocol.
//
// verdict() is the only place that judges a SQLSTATE, so that the same error is treated in the same
// way everywhere.
#pragma once

#include <libpq-fe.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ecto_job::consumer {

enum class Verdict {
    ok,
    lost,      // the connection is gone, or leads to a server that cannot write
    stale,     // the job is not held any more
    conflict,  // with another transaction: repeating the transaction at once may succeed
    transient, // the same statement may succeed later
    read_only, // transactions are read-only here by a setting, and not because it is a standby
    refused,   // the same statement will not succeed; statements for other jobs may
    fatal      // no statement will succeed: no such queue, no privilege, no extension
};

class Result {
public:
    explicit Result(PGresult *result, bool of_primary) : result_(result), of_primary_(of_primary) {}
    static Result lost(std::string message) {
        Result result(nullptr, false);
        result.lost_ = std::move(message);
        return result;
    }

    Verdict verdict() const;
    bool ok() const { return verdict() == Verdict::ok; }
    // Returns the error as psql shows it: severity, message, DETAIL, HINT, CONTEXT.
    std::string message() const;

    int rows() const { return PQntuples(result_.get()); }
    std::string_view get(int row, int column) const;
    std::optional<std::string> get_optional(int row, int column) const;

private:
    struct Clear {
        void operator()(PGresult *result) const { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
    bool of_primary_; // the server reports that it is a primary
    std::string lost_;
};

// The results of a round trip: one for each statement up to the first that failed, and one more if
// the commit failed. So the last one tells whether all statements succeeded.
using Results = std::vector<Result>;

} // namespace ecto_job::consumer
