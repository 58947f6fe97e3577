// The process of a database's scheduler: a background worker, started by the launcher, or without
// preload by start_scheduler(). The process ends when the scheduler leaves. Only one scheduler
// works in a database: see singleton_lock.hpp.
#include "pg/boundary.hpp"
#include "queue/owner.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/singleton_lock.hpp"
#include "scheduler/sweep.hpp"
#include "scheduler/try_transaction.hpp"
#include "shared/owner_backoff.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_signals.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

void prepare_signals() {
    pqsignal(SIGINT, SIG_IGN);
    pqsignal(SIGTERM, die);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
}

// Makes the owner back off if the process ends in a sweep. Requests the next scheduler at once if
// this one leaves queues to announce.
void at_exit(int, Datum slot) {
    const Oid owner = owner_in_sweep();
    if (OidIsValid(owner))
        back_off_owner(owner);
    if (detach(DatumGetInt32(slot), OidIsValid(owner)))
        signal_scheduler(Start::yes);
}

void force(const char *name, const char *value) {
    SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

// Overrides ALTER DATABASE ... SET and postgresql.conf, which apply to this process too.
void force_settings() {
    force("application_name", "ecto_job scheduler");
    force("search_path", safe_search_path);
    force("statement_timeout", "0");
    force("lock_timeout", "0");
    force("idle_in_transaction_session_timeout", "0");
    force("default_transaction_isolation", "read committed");
    force("default_transaction_read_only", "off");
    force("zero_damaged_pages", "off");
    force("session_replication_role", "origin");
    // A sweep that a crash loses is repeated, so commits need not wait for a standby
    force("synchronous_commit", "local");
}

// Waits for the end of the transaction that has called start_scheduler(), since its changes are
// invisible before. Returns whether the transaction has committed.
bool wait_for_commit(TransactionId starter) {
    StartTransactionCommand();
    XactLockTableWait(starter, nullptr, nullptr, XLTW_None);
    const bool committed = TransactionIdDidCommit(starter);
    CommitTransactionCommand();
    return committed;
}

[[noreturn]] void run(const SchedulerArguments &arguments) {
    prepare_signals();
    int slot = arguments.slot;
    const bool on_demand = slot == on_demand_slot;
    if (on_demand) {
        make_private_state();
        slot = allocate_slot(arguments.database, arguments.generation);
    }
    if (!attach(slot, arguments.database, arguments.generation))
        proc_exit(0);
    before_shmem_exit(at_exit, Int32GetDatum(slot));
    BackgroundWorkerInitializeConnectionByOid(arguments.database, InvalidOid, 0);
    force_settings();
    protect_session();
    // If another scheduler has the lock, that scheduler reads the registry once more before
    // leaving, and so sees what was committed: Scheduler::leave_if_idle()
    if (on_demand && (!wait_for_commit(arguments.starter) || !try_singleton_lock()))
        proc_exit(0);
    if (!on_demand)
        take_singleton_lock();
    prepare_limits();
    elog(DEBUG1, "ecto_job scheduler started");
    Scheduler(slot, on_demand).run();
    elog(DEBUG1, "ecto_job scheduler leaves");
    proc_exit(0);
}

} // namespace

} // namespace ecto_job

extern "C" {
PGDLLEXPORT void ecto_job_scheduler_main(Datum);

void ecto_job_scheduler_main(Datum) {
    ecto_job::at_boundary([] {
        ecto_job::SchedulerArguments arguments;
        memcpy(&arguments, MyBgworkerEntry->bgw_extra, sizeof arguments);
        ecto_job::run(arguments);
    });
}
}
