// The life of a job: each transition is one guarded statement on the queue's table, which changes
// the row or changes nothing. In the order of the table in docs/design.md, one function each.
//
// The caller has connected SPI. What a transition returns are the rows it changed, in SPI_tuptable,
// with the attributes of ecto_job.job; the result is their number. Each sends the notices that its
// change makes true. No lock is waited for but by those that name one job.
#pragma once

#include <optional>

#include "core/key.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Inserts a job, whose columns are the arguments params to meta, and returns its id. In a queue
// without priorities the caller has refused any priority but 0.
int64 enqueue(Queue *queue, const Arguments &job);

// The sweeps take a limit of jobs, or none. Where a sweep is not `guarded`, a row at fault ends the
// sweep with an ERROR, and a sweep without such rows costs nothing more; see rows_at_fault.hpp.
uint64 activate_scheduled_jobs(Queue *queue, TimestampTz now, std::optional<int64> limit,
                               bool guarded);
uint64 available_jobs(Queue *queue, int64 demand);
uint64 reserve_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms);
uint64 update_job_in_progress(Queue *queue, int64 id, int32 attempt, TimestampTz now,
                              int64 timeout_ms, std::optional<int64> lease);
uint64 start_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms);

// The guarded deletes. ERROR JQ001 if the job is no longer the caller's, 09000 if it is and a
// trigger or policy keeps its row.
void delete_job(Queue *queue, int64 id, int32 attempt, std::optional<int64> lease,
                bool with_notice);
void complete_job(Queue *queue, int64 id, int64 lease);
uint64 complete_jobs(Queue *queue, ArrayType *ids, ArrayType *leases);

// Ends an attempt that has failed. The caller holds the job by attempt (EctoJob's guard), by lease,
// or by both. `error` is null if the caller gives none.
uint64 job_failed(Queue *queue, int64 id, std::optional<int32> attempt, std::optional<int64> lease,
                  TimestampTz now, int64 retry_timeout_ms, const text *error);

// What became of jobs whose leases have ended
struct EndedLeases {
    int64 available, retried, failed;

    int64 count() const { return available + retried + failed; }
};

uint64 activate_expired_jobs(Queue *queue, TimestampTz now, std::optional<int64> limit,
                             bool guarded);
uint64 fail_expired_jobs_at_max_attempts(Queue *queue, TimestampTz now, std::optional<int64> limit,
                                         bool guarded);
// Does the work of the two functions above, in one scan of the rows in play up to `to`.
EndedLeases end_expired_leases(Queue *queue, const JobKey &to, TimestampTz now,
                               std::optional<int64> limit, bool guarded);

// The jobs up to `to` that are held under leases of sessions that have ended: first whose (null: no
// such), then RESERVED becomes AVAILABLE, and IN_PROGRESS goes the way of job_failed. Locked ones
// are passed by. For the scheduler.
ArrayType *ended_sessions(Queue *queue, const JobKey &to);
EndedLeases give_back_jobs(Queue *queue, ArrayType *sessions, const JobKey &to, TimestampTz now,
                           int64 limit, bool guarded);

uint64 requeue(Queue *queue, int64 id, TimestampTz now);

// The earliest schedule of a SCHEDULED or RETRY job, and the earliest expires of a RESERVED or
// IN_PROGRESS one, which looks at all rows in play up to `to`; at `from` or later. They change
// nothing. The planner evaluates immutable functions of the table's indexes: only for those who may
// run the code of the table's owner.
std::optional<TimestampTz> next_due(Queue *queue, TimestampTz from);
std::optional<TimestampTz> next_expiry(Queue *queue, const JobKey &to, TimestampTz from);

// Where the last RESERVED or IN_PROGRESS job stands, lowest_key if there is none: a look at all
// rows in play behind it. In a table without our index of these, as EctoJob made it, the looks of
// above go to the end anyway, since jobs may be given another place unseen: highest_key.
JobKey last_held(Queue *queue);

// Where the first 10,000 jobs in play end, highest_key if there are fewer. Jobs are started in the
// queue's order, so most of those that are held are among them.
JobKey end_of_head(Queue *queue);

// Where the first AVAILABLE job at or above `from` stands. Changes and locks nothing.
std::optional<JobKey> first_available(Queue *queue, const JobKey &from);

} // namespace ecto_job
