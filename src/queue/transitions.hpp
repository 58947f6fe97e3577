// The life of a job: each transition is one guarded statement on the queue's table, which changes
// the row or changes nothing. The functions follow the table in docs/design.md.
// end_expired_leases() does the work of two rows of that table; superseding is in unique_jobs.hpp,
// faults are in rows_at_fault.hpp, and the deletion of FAILED jobs is in retention.hpp.
//
// The caller has connected SPI. A claim, update_job_in_progress(), job_failed(), snooze_job(),
// cancel_job() and requeue() leave the changed rows in SPI_tuptable, with the attributes of
// ecto_job.job. Each transition sends the notifications of its change. Transitions of jobs that the
// caller names wait for their row locks, except cancel_job(). Claims and sweeps skip locked rows.
#pragma once

#include <optional>

#include "core/key.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"
#include "queue/run_selection.hpp"
#include "queue/unique_jobs.hpp"

namespace ecto_job {

// Inserts a job and returns its id. The columns are the fields `params` to `key` of Arguments. If
// another job waits under the key, `on_conflict` decides (unique_jobs.hpp). In a queue without
// priorities the caller has refused any priority but 0.
int64 enqueue(Queue *queue, const Arguments &job, OnConflict on_conflict);

// Makes SCHEDULED and RETRY jobs AVAILABLE that are due at `now`: `limit` of them, or all. Returns
// their number. `isolates_rows`, as for each sweep: a row at fault does not end the sweep, which
// costs a subtransaction; otherwise the row ends the sweep with an ERROR. See rows_at_fault.hpp.
uint64 activate_scheduled_jobs(Queue *queue, TimestampTz now, std::optional<int64> limit,
                               bool isolates_rows);

// Locks the first `demand` AVAILABLE jobs and changes nothing. Returns their number.
uint64 available_jobs(Queue *queue, int64 demand);

// Claims the first `demand` AVAILABLE jobs: they become RESERVED, under a new lease that ends
// `timeout_ms` after `now`. Returns their number. ERROR 22008 if that time is out of range.
uint64 reserve_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms);

// Starts a RESERVED job whose lease has not ended: the job becomes IN_PROGRESS, in its next
// attempt. `lease` nullopt: the attempt alone says that the job is the caller's. Returns the number
// of rows, 0 or 1. ERROR 22008 as above.
uint64 update_job_in_progress(Queue *queue, int64 id, int32 attempt, TimestampTz now,
                              int64 timeout_ms, std::optional<int64> lease);

// Claims and starts the first `demand` AVAILABLE jobs in one step. A lease lasts `timeout_ms` times
// the number of the attempt. Returns the number of jobs. ERROR 22008 as above.
uint64 start_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms);

// Deletes the row of a job that is done; complete_jobs() deletes the rows of several jobs and
// returns their number. ERROR JQ001 if a job is no longer the caller's; 09000 if the job is the
// caller's and a trigger or policy keeps its row.
void delete_job(Queue *queue, int64 id, int32 attempt, std::optional<int64> lease,
                bool with_notification);
void complete_job(Queue *queue, int64 id, int64 lease);
uint64 complete_jobs(Queue *queue, ArrayType *ids, ArrayType *leases);

struct FailedAttempt {
    const text *error = nullptr;        // why; null: the caller gives no reason
    bool retry = true;                  // false: the job is FAILED whatever its attempt
    std::optional<int64> delay_ms = {}; // until the next attempt; without it retry_timeout_ms says
};
// Ends an attempt that has failed. The caller holds the job by attempt (EctoJob's guard), by lease,
// or by both.
uint64 job_failed(Queue *queue, int64 id, std::optional<int32> attempt, std::optional<int64> lease,
                  TimestampTz now, int64 retry_timeout_ms, const FailedAttempt &failed);

// Puts a held job back, as if the attempt had not begun: SCHEDULED at the end of the delay, or
// AVAILABLE at its old place if there is no delay.
uint64 snooze_job(Queue *queue, int64 id, int64 lease, TimestampTz now, int64 delay_ms);

// Moves the end of a held job's lease to `duration_ms` after `now`, unless it ends later already.
// Returns the end; nullopt if the job is not held under this lease, or the lease has ended.
std::optional<TimestampTz> extend_lease(Queue *queue, int64 id, int64 lease, TimestampTz now,
                                        int64 duration_ms);

// Deletes a job in any state, unless another transaction has locked it. `reason` becomes the error
// of the returned row; null: the row keeps its error.
uint64 cancel_job(Queue *queue, int64 id, const text *reason);

// Ends leases in one scan of the rows in play up to `to`. `exhausted`: false does the work of
// activate_expired_jobs, true that of fail_expired_jobs_at_max_attempts, nullopt that of both.
EndedLeases end_expired_leases(Queue *queue, const JobKey &to, TimestampTz now,
                               std::optional<int64> limit, bool isolates_rows,
                               std::optional<bool> exhausted = std::nullopt);

// Returns the ended sessions whose leases hold jobs up to `to`; null if there are none. For the
// scheduler.
ArrayType *ended_sessions(Queue *queue, const JobKey &to);

// Gives back the jobs of these sessions: a RESERVED job becomes AVAILABLE, and an IN_PROGRESS job
// is treated as by job_failed(). Locked jobs are skipped.
EndedLeases give_back_jobs(Queue *queue, ArrayType *sessions, const JobKey &to, TimestampTz now,
                           int64 limit, bool isolates_rows);

// Makes a FAILED job wait again, with attempt 0. Returns the number of rows, 0 or 1. ERROR 23505 if
// another job waits under its key.
uint64 requeue(Queue *queue, int64 id, TimestampTz now);

// next_due() and next_expiry() may run code of the table's owner, since the planner evaluates
// immutable functions of the table's indexes. So call them only where that code may run.

// Returns the earliest schedule, at `from` or later, of a SCHEDULED or RETRY job.
std::optional<TimestampTz> next_due(Queue *queue, TimestampTz from);
// Returns the earliest end, at `from` or later, of a RESERVED or IN_PROGRESS job's lease. Reads all
// rows in play up to `to`.
std::optional<TimestampTz> next_expiry(Queue *queue, const JobKey &to, TimestampTz from);

// Returns the key of the last RESERVED or IN_PROGRESS job, lowest_key if there is none. The scan
// reads all rows in play behind that job. Returns highest_key for a table of EctoJob's. Such a
// table has no index of the rows in play, so scans go to the end anyway; and a remembered key might
// become too low, since a changed priority is not reported.
JobKey last_held(Queue *queue);

// Returns the key of the 10,000th job in play, highest_key if there are fewer. Jobs are started in
// the queue's order, so most held jobs lie below that key.
JobKey end_of_head(Queue *queue);

// Returns the key of the first AVAILABLE job at or above `from`. Locks no row.
std::optional<JobKey> first_available(Queue *queue, const JobKey &from);

} // namespace ecto_job
