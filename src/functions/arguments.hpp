// Arguments of the SQL functions: what NULL means, which values are refused, and with which ERROR.
//
// Our functions are not STRICT, since most arguments have a meaning for NULL; so each reads its
// arguments through these. Every refusal names the queue and the value, and says what to do.
#pragma once

#include <optional>
#include <type_traits>

#include "pg/boundary.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// The argument that names the queue is the first one of each function that has it.
constexpr int queue_at = 0;

// Returns the OID of the queue's table. ERROR 22004 for NULL.
Oid table_argument(FunctionCallInfo fcinfo);

// Raises an ERROR (42602, 42622) for the name of a table that cannot be a queue's, since the names
// of its channels are made of it. `what` says whose name it is: a queue's, or a table's.
void require_table_name(const char *name, const char *what);

// Returns the queue, with its table locked as the statements will lock it. The statements name the
// table, and while they wait for their lock another table might get its name. SPI is connected.
Queue *queue_argument(FunctionCallInfo fcinfo);

// Runs a function on a queue: connects SPI, calls body(queue) and returns the int64 that the body
// returns, or nothing, or a Datum in the caller's memory. Where int64 is passed by reference, it
// becomes a Datum only after SPI has freed its memory.
template <typename F> Datum with_queue(FunctionCallInfo fcinfo, F body) {
    using Result = std::invoke_result_t<F, Queue *>;
    SPI_connect();
    if constexpr (std::is_void_v<Result>) {
        body(queue_argument(fcinfo));
        SPI_finish();
        return 0;
    } else {
        const Result result = body(queue_argument(fcinfo));
        SPI_finish();
        if constexpr (std::is_same_v<Result, int64>)
            return Int64GetDatum(result);
        else
            return result;
    }
}

// The functions below return the argument number `at`, and name the queue in an ERROR.

// Returns a time; `absent` for NULL. ERROR 22023 for an infinity.
TimestampTz time_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                          TimestampTz absent);
// Returns the time of the call for NULL. ERROR 22023 for an infinity.
inline TimestampTz now_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    return time_argument(fcinfo, at, queue, "now", GetCurrentTimestamp());
}
// Returns 0 for NULL. ERROR 22023 below 0.
int64 demand_argument(FunctionCallInfo fcinfo, int at, const Queue *queue);
// ERROR 22004 for NULL.
int64 bigint_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name);
int32 integer_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name);
bool boolean_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name);
// Returns an interval in ms; nullopt for NULL. ERROR 22023 below `minimum` or with months.
std::optional<int64> interval_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                                       const char *name, int64 minimum);
// ERROR 22004 for NULL.
int64 required_interval_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                                 const char *name, int64 minimum);
// The argument is not NULL. ERROR 22023 below 1.
int32 max_attempts_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *hint);
std::optional<int64> lease_argument(FunctionCallInfo fcinfo, int at);
// Returns a timeout in ms; `setting`, that of the queue, for NULL. ERROR 22023 below `minimum`.
int64 timeout_ms_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                          int64 setting, int64 minimum);
// Returns a job's meta, with the key traceparent from the setting ecto_job.traceparent if the
// setting is not empty. A meta that has the key, or is no object, is returned as it is; so is NULL,
// as null, if the setting is empty.
const Jsonb *meta_argument(FunctionCallInfo fcinfo, int at);
// Returns the text, cut at error_bytes at a character's end; null for NULL.
const text *error_argument(FunctionCallInfo fcinfo, int at);

} // namespace ecto_job
