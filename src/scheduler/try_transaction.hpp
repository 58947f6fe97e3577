// One transaction of the scheduler: an ERROR is returned as a value and does not end the process,
// and the time is limited.
//
// PostgreSQL's statement_timeout and lock_timeout cannot serve as limits, since they signal by
// SIGINT, which the scheduler ignores.
#pragma once

#include "pg/boundary.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// The commit and the abort of try_transaction().
void commit_and_lift_limits();
ErrorData *abort_and_copy_error(MemoryContext context);

// Runs `body` in a transaction with a snapshot and SPI connected. Returns null, or the error, which
// lives in the caller's memory context.
template <typename F> ErrorData *try_transaction(F body) {
    MemoryContext const context = CurrentMemoryContext;
    ErrorData *volatile error = nullptr;
    PG_TRY();
    {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
        if (SPI_connect() != SPI_OK_CONNECT)
            elog(ERROR, "SPI_connect failed");
        PushActiveSnapshot(GetTransactionSnapshot());
        at_boundary(body);
        SPI_finish();
        PopActiveSnapshot();
        commit_and_lift_limits();
    }
    PG_CATCH();
    { error = abort_and_copy_error(context); }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    pgstat_report_stat(true);
    return error;
}

// Prepares the limits; once in a process.
void prepare_limits();

// Cancels the running transaction after this time, unless it ends or another limit is set.
void limit_time(int ms);

// Terminates the process after this time, unless the transaction ends: a trigger may catch a
// cancellation, but not this.
void limit_process(int ms);

// Returns whether limit_time() has cancelled the last transaction that it limited.
bool was_over_limit();

} // namespace ecto_job
