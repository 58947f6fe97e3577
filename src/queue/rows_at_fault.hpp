// Transitions of many rows when one of the rows is at fault: it raises an error, or a trigger keeps
// it as it is. The others move nevertheless.
//
// The rows are picked and locked, and then changed in halves, each in a subtransaction, down to the
// row at fault. That one becomes FAILED with the error if another row has moved, or if it was alone
// and its own data are to blame; else the fault may be everybody's, such as a broken trigger, and
// would end the whole queue in FAILED. Where FAILED cannot be written either, the row is left out
// (left_out_jobs.hpp), with a WARNING. A pass ends at most_left_out rows at fault. The error is
// raised after all if no row has moved, and it says that a right or an object is missing, or there
// are as many of them.
//
// What costs nothing comes first: `plain` alone, in a subtransaction where nothing else would be
// left of the caller's transaction.
#pragma once

#include "pg/pg.hpp"
#include "queue/left_out_jobs.hpp"
#include "queue/run_statement.hpp"

namespace ecto_job {

// Which jobs a transition takes
struct Selection {
    Statement plain;  // picks and changes
    Statement pick;   // the ids, locked, but those of an array
    Statement picked; // changes those of an array; returns id, state and notify
    Walk walk;        // its key is `to` of the arguments, of claims `from`
    Arguments arguments;
    // Called with the changed rows of a sweep's statement in SPI_tuptable; null: nothing is
    void (*on_change)(Queue *queue, void *context) = nullptr;
    void *context = nullptr;
};

// Those that were taken
struct Taken {
    Datum *ids; // int8, in no order; of claims only
    int64 count;
    int64 failed; // besides: at fault, and FAILED
};

// Does whoever picks jobs of the queue have to leave some out?
bool leaves_out(const Queue *queue);

// Runs `plain` as it is. What a row raises is noted, so that the next claims are careful, and goes
// to the caller with a HINT that says so.
void run_plain(Queue *queue, const Selection &selection);

// Runs `plain` in a subtransaction. Null: done, and the rows are in SPI_tuptable; or what was
// raised.
ErrorData *run_guarded(Queue *queue, const Selection &selection);

// Takes what there is to take beyond `begun`, row by row where need be; `cause` is what run_guarded
// returned.
Taken take_with_care(Queue *queue, const Selection &selection, const Taken &begun,
                     ErrorData *cause);

// A sweep of a single job that is cancelled for the time that it takes: begin_trying() comes before
// the sweep, and leave_out_slow() after it leaves out the job, if one was being changed alone.
void begin_trying();
void leave_out_slow(Oid queue, const char *name);

// The ids of the last statement's rows, for `begun`
Taken taken_ids();

} // namespace ecto_job
