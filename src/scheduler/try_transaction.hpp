// One transaction of a background worker, whose ERROR is returned as a value and does not end the
// worker.
#pragma once

#include "pg/boundary.hpp"
#include "pg/pg.hpp"
#include "scheduler/time_limits.hpp"

namespace ecto_job {

// Aborts the transaction and restores the state of the process. Returns a copy of the error in
// `context`.
ErrorData *recover(MemoryContext context);

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
        CommitTransactionCommand();
        lift_limits();
    }
    PG_CATCH();
    { error = recover(context); }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    pgstat_report_stat(true);
    return error;
}

} // namespace ecto_job
