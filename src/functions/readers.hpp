// Who may ask how a queue goes: readers of its table, and pg_monitor.
//
// What these functions show they read from shared memory and by index scans of ours, and plan
// nothing on a queue's table: the planner would run code of the table's owner, such as an index's
// immutable function, with the rights of whoever looks. So nothing here applies the table's
// policies either, and a reader under policies is refused.
#pragma once

#include "core/job_state.hpp"
#include "pg/boundary.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Returns whether the caller may read the table. False for a table that is dropped at this moment,
// for which a view shall not fail.
bool may_read(Oid table);

// Returns whether the caller may read the table and no policy may hide jobs from him.
bool may_see_jobs(Oid table);

// Returns whether the caller has the rights of pg_monitor.
bool is_monitor();

// A queue's table, open until the caller closes it with AccessShareLock
struct WatchedQueue {
    const Queue *queue; // until the transaction ends
    Relation table;
};

// Opens the table of the queue that is the first argument, for a function that shows numbers of its
// jobs. Connects SPI for that time. ERROR 22004 null, 42P01 no such table, 42809 not a queue, 0A000
// Citus distributes the table, or it is unlogged and this is a standby, 42501 the caller is neither
// a reader without policies nor pg_monitor.
WatchedQueue open_watched_queue(FunctionCallInfo fcinfo);

// Returns the argument number `at`, how many jobs the function may count or return. ERROR 22004 for
// NULL, 22023 below 1.
int64 at_most_argument(FunctionCallInfo fcinfo, int at, const Queue *queue);

// Returns how many entries of an index may be read for `at_most` jobs, `each` for a job; limited to
// the largest number.
int64 entries_for(int64 at_most, int64 each);

// Returns the state as a value of the type text.
Datum text_datum(State state);

} // namespace ecto_job
