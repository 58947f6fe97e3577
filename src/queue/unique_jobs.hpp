// Unique jobs: of a queue's jobs with one key, at most one waits, that is, is SCHEDULED, AVAILABLE
// or RETRY. A unique index enforces this. A job that is RESERVED, IN_PROGRESS or FAILED does not
// count, so that an enqueue never waits for the transaction that performs a job.
//
// A job with a key that comes back (it failed, was put back, or its lease or session ended) may
// find another job waiting under its key. Then the other job does the work, and the one that comes
// back is superseded: its row is deleted. Such a job is therefore changed in a statement of its
// own: where the parameter `keyed` is false, the statements of transitions skip a job with a key,
// and those of sweeps leave its state as it was.
#pragma once

#include "pg/pg.hpp"
#include "queue/rows_at_fault.hpp"
#include "queue/run_statement.hpp"

namespace ecto_job {

// What enqueue does if a job waits under the key
enum class OnConflict {
    keep, // nothing; the job that waits is locked until the transaction ends, so that no consumer
          // starts it before the caller's writes are visible
    replace, // gives the job that waits the new arguments
    error    // raises an ERROR
};
inline constexpr const char *on_conflict_names[] = {"keep", "replace", "error"};

inline constexpr int key_bytes = 1024; // of the longest key

// Adds the job, unless one waits under its key. Returns true, with the id of the job that will do
// the work in SPI_tuptable, or false if a trigger, rule or policy of the table kept the job away.
// Waits for a transaction that has let a job wait under the key and may still be rolled back.
// ERROR 23505: a job waits, with OnConflict::error; 23514 or 42P10: the table is not made for
// unique jobs, with a HINT.
bool enqueue_unique(Queue *queue, const Arguments &job, OnConflict on_conflict);

// Runs a statement that may make one held job wait again. Returns the number of rows: 0 if no job
// is as the statement demands. The row of a superseded job is returned unchanged. Waits for a
// transaction that has let another job wait under the key and may still be rolled back.
uint64 run_wait_again(Queue *queue, Statement statement, Arguments arguments);

// Makes a FAILED job wait again. Returns the number of rows. ERROR 23505 if another job waits under
// the key.
uint64 run_requeue(Queue *queue, Arguments arguments);

// A job with a key that a sweep has left RESERVED or IN_PROGRESS
struct HeldJob {
    int64 id;
    text *key;
};
struct HeldJobs {
    HeldJob *jobs;
    int64 count;
};

// Returns the HeldJobs among the last statement's rows, the latest first: of two jobs of one key
// the later one comes back.
HeldJobs held_jobs();

// How a sweep's change of a HeldJob has ended
struct WaitAgain {
    enum End {
        changed,    // as the sweep changes other jobs; the row is in SPI_tuptable
        superseded, // the job is gone
        postponed,  // the job is still held and comes later, since an open transaction may let
                    // another one wait under the key: an expired job in a second, a job of an ended
                    // session when its sweep comes again
        at_fault    // the change has raised `error`, or a trigger has kept the job (null)
    } end;
    ErrorData *error;
};

// Finishes the change of one HeldJob by `sweep.change`.
WaitAgain let_wait_again(Queue *queue, const Selection &sweep, const HeldJob &job);

} // namespace ecto_job
