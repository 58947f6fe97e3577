// A statement's result, which owns libpq's, or the news that the connection broke before there
// was one; and what the error means for the protocol.
//
// The judgement is by SQLSTATE, in one place: the same error must not be a retry here and the end
// there. No lock.
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
    stale,     // the job is somebody else's by now
    conflict,  // with another transaction: the same statements may succeed at once
    transient, // the same statement may succeed later
    read_only, // transactions are read-only here by a setting, and not because it is a standby
    refused,   // it will not, and no other job is to blame
    fatal      // nor will any: no such queue, no privilege, no extension
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
    // As psql shows it: severity, message, DETAIL, HINT, CONTEXT.
    std::string message() const;

    int rows() const { return PQntuples(result_.get()); }
    std::string_view get(int row, int column) const;
    std::optional<std::string> get_optional(int row, int column) const;

private:
    struct Clear {
        void operator()(PGresult *result) const { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
    bool of_primary_; // of a server that says of itself that it is no standby
    std::string lost_;
};

// Of a round trip: one for each statement up to the first that failed, and one more if they could
// not be committed. So the last one says whether all went well.
using Results = std::vector<Result>;

} // namespace ecto_job::consumer
