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
    transient, // the same statement may succeed later
    refused,   // it will not, and no other job is to blame
    fatal      // nor will any: no such queue, no privilege, no extension
};

class Result {
public:
    explicit Result(PGresult *result) : result_(result) {}
    static Result lost(std::string message) {
        Result result(nullptr);
        result.lost_ = std::move(message);
        return result;
    }

    Verdict verdict() const;
    bool ok() const { return verdict() == Verdict::ok; }
    // As psql shows it: severity, message, DETAIL, HINT, CONTEXT.
    std::string message() const;

    // "INSERT 0 1", "COMMIT"
    std::string_view command() const { return PQcmdStatus(result_.get()); }
    int rows() const { return PQntuples(result_.get()); }
    std::string_view get(int row, int column) const;
    std::optional<std::string> get_optional(int row, int column) const;

private:
    struct Clear {
        void operator()(PGresult *result) const { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
    std::string lost_;
};

// Of a round trip: one for each statement up to the first that failed, and one more if they could
// not be committed. So the last one says whether all went well.
using Results = std::vector<Result>;

} // namespace ecto_job::consumer
