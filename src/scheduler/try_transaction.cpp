// The recovery of a worker after an ERROR, in the order of PostgreSQL's own. See
// try_transaction.hpp.
#include "scheduler/try_transaction.hpp"

namespace ecto_job {

ErrorData *recover(MemoryContext context) {
    HOLD_INTERRUPTS();
    disable_all_timeouts(false);
    QueryCancelPending = false;
    MemoryContextSwitchTo(context);
    ErrorData *const error = CopyErrorData();
    AbortCurrentTransaction();
    // The abort does not release locks that were taken outside of a transaction
    LWLockReleaseAll();
    ConditionVariableCancelSleep();
    pgstat_report_wait_end();
    MemoryContextSwitchTo(context);
    FlushErrorState();
    RESUME_INTERRUPTS();
    return error;
}

} // namespace ecto_job
