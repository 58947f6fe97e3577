// Arguments of the SQL functions: what NULL means, which values are refused, and with which ERROR.
//
// Our functions are not STRICT, since most arguments have a meaning for NULL; so each reads its
// arguments through these. Every refusal names the queue and the value, and says what to do.
#pragma once

#include <optional>

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

// The frame of a function on a queue: connects SPI, calls body(queue) and returns its Datum.
template <typename F> Datum with_queue(FunctionCallInfo fcinfo, F body) {
    SPI_connect();
    const Datum result = body(queue_argument(fcinfo));
    SPI_finish();
    return result;
}

// NULL is the clock at the call. ERROR 22023 for an infinity.
TimestampTz now_argument(FunctionCallInfo fcinfo, int at, const Queue *queue);
// ERROR 22023 for an infinity; NULL is `absent`.
TimestampTz schedule_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                              TimestampTz absent);
// NULL is 0. ERROR 22023 below 0.
int64 demand_argument(FunctionCallInfo fcinfo, int at, const Queue *queue);
// ERROR 22004 for NULL.
int64 bigint_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name);
int32 integer_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name);
// Not NULL. ERROR 22023 below 1.
int32 max_attempts_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *hint);
std::optional<int64> lease_argument(FunctionCallInfo fcinfo, int at);
// NULL is `setting`. ERROR 22023 below `minimum`.
int64 timeout_ms_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                          int64 setting, int64 minimum);
int64 interval_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                        int64 setting, int64 minimum);
// Returns the text, cut at error_bytes at a character's end; null for NULL.
const text *error_argument(FunctionCallInfo fcinfo, int at);

} // namespace ecto_job
