// enable() and disable() record whether this database runs its queues, which the scheduler reads
// with the registry; a copy of the database does not inherit the record (queue/registry).
// start_scheduler() also starts a scheduler where there is no launcher, stop_scheduler() also stops
// it. Only the database's owner and superusers may call them.
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/registry.hpp"
#include "queue/transaction_end.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {
namespace {

void require_database_owner() {
    if (!object_ownercheck(DatabaseRelationId, MyDatabaseId, GetUserId()))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("must be owner of database \"%s\"", database_name()),
                        errhint("Ask its owner or a superuser.")));
}

void set_enabled(bool enabled, const char *function) {
    require_database_owner();
    PreventCommandDuringRecovery(function);
    SPI_connect();
    record_enabled(enabled);
    SPI_finish();
    signal_scheduler_at_commit(enabled ? Start::yes : Start::no);
}

[[noreturn]] void refuse_start(const char *hint) {
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
             errmsg("the scheduler of database \"%s\" could not be started", database_name()),
             errhint(hint, max_worker_processes)));
}

// Starts a scheduler, which waits until we have committed, and leaves if we have not, or if another
// is there and stays.
void start_on_demand() {
    Assert(shared_state() == nullptr);
    // Each scheduler that is started waits for this transaction, in one of the cluster's few
    // workers
    static TransactionId asked_in = InvalidTransactionId;
    const TransactionId here = GetCurrentTransactionId();
    if (TransactionIdEquals(asked_in, here))
        return;
    BackgroundWorkerHandle *handle = nullptr;
    if (!register_scheduler({MyDatabaseId, on_demand_slot, 0, here}, &handle)) {
        if (next_scheduler_process() == nullptr)
            refuse_start("No background worker is free: raise max_worker_processes, now %d, and "
                         "restart the server.");
        return;
    }
    pid_t pid = 0;
    if (WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
        refuse_start("The server's log may say more.");
    asked_in = here;
}

// Raises an ERROR in a transaction block. stop_scheduler() waits for a scheduler that cannot see
// the uncommitted disable(), and no rollback could bring that scheduler back.
void require_no_transaction_block() {
    if (IsTransactionBlock() || IsSubTransaction())
        ereport(ERROR,
                (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                 errmsg("ecto_job.stop_scheduler() cannot run inside a transaction block"),
                 errdetail("It waits for the scheduler's end, which no rollback undoes."),
                 errhint("Call it by itself; or in the transaction ecto_job.disable(), which does "
                         "not wait.")));
    PreventInTransactionBlock(true, "ecto_job.stop_scheduler()");
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_enable) {
    set_enabled(true, "ecto_job.enable()");
    PG_RETURN_VOID();
}

ECTO_JOB_FUNCTION(ecto_job_disable) {
    set_enabled(false, "ecto_job.disable()");
    PG_RETURN_VOID();
}

ECTO_JOB_FUNCTION(ecto_job_start_scheduler) {
    set_enabled(true, "ecto_job.start_scheduler()");
    if (shared_state() != nullptr)
        PG_RETURN_VOID(); // the launcher does it
    start_on_demand();
    ereport(WARNING,
            (errmsg("the scheduler of database \"%s\" runs until the server's next restart",
                    database_name()),
             errdetail("Nothing starts it again after a restart or a crash."),
             errhint("Add to postgresql.conf: shared_preload_libraries = 'ecto_job'   and restart "
                     "the server.")));
    PG_RETURN_VOID();
}

ECTO_JOB_FUNCTION(ecto_job_stop_scheduler) {
    require_database_owner();
    require_no_transaction_block();
    set_enabled(false, "ecto_job.stop_scheduler()");
    signal_scheduler_at_abort();
    stop_scheduler();
    PG_RETURN_VOID();
}
