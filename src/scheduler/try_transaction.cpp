// The end of a transaction, and the timeouts that limit its time. See try_transaction.hpp.
#include "scheduler/try_transaction.hpp"

namespace ecto_job {

namespace {

TimeoutId soft_limit;
TimeoutId hard_limit;
bool over_limit = false;

void at_soft_limit() {
    over_limit = true;
    QueryCancelPending = true;
    InterruptPending = true;
    SetLatch(MyLatch);
}

void at_hard_limit() {
    kill(MyProcPid, SIGTERM);
}

void lift_limits() {
    disable_all_timeouts(false);
    QueryCancelPending = false;
}

} // namespace

void prepare_limits() {
    soft_limit = RegisterTimeout(USER_TIMEOUT, at_soft_limit);
    hard_limit = RegisterTimeout(USER_TIMEOUT, at_hard_limit);
}

void limit_time(int ms) {
    over_limit = false;
    enable_timeout_after(soft_limit, ms);
}

void limit_process(int ms) {
    enable_timeout_after(hard_limit, ms);
}

bool was_over_limit() {
    return over_limit;
}

void commit_and_lift_limits() {
    CommitTransactionCommand();
    lift_limits();
}

// Aborts in the order in which PostgreSQL's own processes recover from an ERROR.
ErrorData *abort_and_copy_error(MemoryContext context) {
    HOLD_INTERRUPTS();
    lift_limits();
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
