// Claims and sweeps of many rows, when one of the rows is at fault: its change raises an error, or
// a trigger keeps the row as it is.
//
// A statement *isolates rows* if it runs in a subtransaction. A row at fault in
// - a claim that isolates rows (a session's first one on a queue, and each one for a while after a
//   fault): a pass by halves follows;
// - any other claim: the error is raised, and the next claims isolate rows;
// - a batch that does not isolate rows: the batch is repeated, and the queue's batches isolate rows
//   for a while;
// - a batch that isolates rows: a pass by halves follows.
//
// A pass also follows if a trigger may have kept rows: fewer were changed than demanded. While this
// process skips jobs of the queue, each claim or batch is a pass, as is a batch of one job. A pass
// selects and locks the rows, and changes them in halves, each in a subtransaction, down to the row
// at fault.
//
// - The row becomes FAILED, with the error, if another row could be changed, or if it was the only
//   row and its data are at fault.
// - Otherwise the row is skipped for a while, with a WARNING (skipped_jobs.hpp). The fault may
//   concern every row, such as a broken trigger, which would make the whole queue FAILED.
// - A row is skipped, too, if it was kept without an error, or cannot be made FAILED.
// - A pass ends after most_skipped rows at fault.
// - A pass that has changed no row raises the error if a right or an object is missing, or if the
//   pass has met most_skipped rows at fault.
#pragma once

#include "pg/pg.hpp"
#include "queue/run_statement.hpp"
#include "queue/skipped_jobs.hpp"

namespace ecto_job {

// The statements of a claim or a sweep, and which jobs they select
struct Selection {
    Statement whole;  // selects and changes jobs
    Statement select; // returns the ids of jobs, which are locked; skips the ids of an array
    Statement change; // changes the jobs of an array; returns id, state, notify and key
    // The order in which the jobs are selected, and with it the arguments that bound the selection:
    // `from` (claims), `schedule` and `id` (scheduled jobs), `to` (leases and orphans)
    Walk walk;
    Arguments arguments;
    // Called with the changed rows of a sweep's statement in SPI_tuptable; null: nothing is called
    void (*on_change)(Queue *queue, void *context) = nullptr;
    void *context = nullptr;
};

// The jobs that were taken
struct Taken {
    Datum *ids; // int8, `count` of them, in no order; null in the result of a sweep
    int64 count;
    int64 failed; // jobs at fault that became FAILED, which `count` does not include
};

// Returns whether this process skips jobs of the queue.
bool skips_jobs(const Queue *queue);

// Runs the whole selection of a claim that does not isolate rows. If a row raises an error, the
// queue's record and this session remember that, so that the next claims isolate rows, and the
// error gets a HINT to call again.
void run_directly(Queue *queue, const Selection &selection);

// Runs the whole selection in a subtransaction. Returns null, with the rows in SPI_tuptable, or the
// error of a row.
ErrorData *run_in_subtransaction(Queue *queue, const Selection &selection);

// Takes the jobs of the selection, in halves where necessary. `taken_before`: the jobs that the
// whole selection has taken already. `cause` is what run_in_subtransaction() returned, or null.
Taken take_by_halves(Queue *queue, const Selection &selection, const Taken &taken_before,
                     ErrorData *cause);

// Makes a job FAILED whose change has raised `error`, or skips the job. `error` null: a trigger has
// kept the job. `others_changed`: the statement has changed other jobs. Returns how many jobs
// became FAILED.
int64 fail_or_skip_job(Queue *queue, const Selection &selection, int64 id, ErrorData *error,
                       bool others_changed);

// Forgets the job whose single change the time limit of an earlier batch may have cancelled. Called
// before each transaction of a batch.
void forget_single_job();
// Skips the job whose single change the time limit has cancelled, if there is one. Called after the
// batch.
void skip_slow_job(Oid queue, const char *name);

// Returns the ids of the last statement's rows.
Taken taken_ids();

} // namespace ecto_job
