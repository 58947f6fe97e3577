// The scheduler of one database: a background worker that the launcher starts, or without preload
// start_scheduler(), and that leaves by itself when there is nothing to do. Its loop: reset the
// latch, read the flags, a round, sleep. Only one runs in a database: see singleton_lock.hpp.
#include <algorithm>

#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "scheduler/singleton_lock.hpp"
#include "scheduler/announce.hpp"
#include "scheduler/round.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/sweep.hpp"
#include "scheduler/workers.hpp"
#include "settings.hpp"
#include "shared/mailbox.hpp"
#include "shared/owner_deaths.hpp"
#include "shared/scheduler_slots.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

namespace {

void prepare_signals() {
    pqsignal(SIGINT, SIG_IGN);
    pqsignal(SIGTERM, die);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
}

void at_exit(int, Datum slot) {
    const Oid owner = owner_in_turn();
    if (OidIsValid(owner))
        note_owners_death(owner);
    if (detach(DatumGetInt32(slot), OidIsValid(owner)))
        signal_scheduler(Start::yes);
}

void force(const char *name, const char *value) {
    SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

// ALTER DATABASE ... SET and postgresql.conf reach this process too, and are not meant for it
void force_settings() {
    force("application_name", "ecto_job scheduler");
    force("search_path", "pg_catalog, pg_temp");
    force("statement_timeout", "0");
    force("lock_timeout", "0");
    force("idle_in_transaction_session_timeout", "0");
    force("default_transaction_isolation", "read committed");
    force("default_transaction_read_only", "off");
    force("zero_damaged_pages", "off");
    force("session_replication_role", "origin");
    // A sweep that a crash loses is done again; no reason to wait for a standby
    force("synchronous_commit", "local");
}

bool is_listed() {
    StartTransactionCommand();
    const bool listed = settings::lists_database(database_name());
    CommitTransactionCommand();
    return listed;
}

// Until the next round, or until somebody calls or rings; true if woken. Not longer than a minute,
// so that a step of the clock is noticed.
bool sleep_after(int slot, const RoundEnd &end) {
    constexpr int64 longest_ms = 60'000;
    const TimestampTz now = GetCurrentTimestamp();
    const TimestampTz until = fall_asleep(
        slot, std::min(end.next, TimestampTzPlusMilliseconds(now, longest_ms)), end.hears);
    int events = 0;
    if (until > now) {
        pgstat_report_activity(STATE_IDLE, nullptr);
        events = WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT,
                           TimestampDifferenceMilliseconds(now, until), wait_event());
    }
    wake_up(slot);
    return (events & WL_LATCH_SET) != 0;
}

// True if they changed
bool reload_settings() {
    if (!ConfigReloadPending)
        return false;
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    return true;
}

// By hand: what it was started for may not be seen yet, or be taken back
bool wait_for_commit(TransactionId starter) {
    StartTransactionCommand();
    XactLockTableWait(starter, nullptr, nullptr, XLTW_None);
    const bool committed = TransactionIdDidCommit(starter);
    CommitTransactionCommand();
    return committed;
}

// By hand: whoever was started and found us here has left. So look once more when others may take
// our place: what they were started for is seen now.
bool may_leave(int slot) {
    give_way();
    return !finds_work(slot) || !try_to_be_the_only_one();
}

[[noreturn]] void run(const SchedulerArguments &arguments) {
    prepare_signals();
    int slot = arguments.slot;
    const bool was_by_hand = slot == by_hand;
    if (was_by_hand) {
        make_private_state();
        slot = allocate_slot(arguments.database, arguments.generation);
    }
    if (!attach(slot, arguments.database, arguments.generation))
        proc_exit(0);
    before_shmem_exit(at_exit, Int32GetDatum(slot));
    BackgroundWorkerInitializeConnectionByOid(arguments.database, InvalidOid, 0);
    force_settings();
    protect_session();
    if (was_by_hand && !wait_for_commit(arguments.starter))
        proc_exit(0);
    if (was_by_hand && !try_to_be_the_only_one())
        proc_exit(0); // who is there stays, or looks again before it leaves: see may_leave()
    if (!was_by_hand)
        be_the_only_one();
    prepare_rounds();
    elog(DEBUG1, "ecto_job scheduler started");
    bool look = true;
    bool listed = true;
    for (;;) {
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        look = reload_settings() || look;
        look = take_rescan_request(slot) || look;
        if (must_leave(slot)) {
            leave(slot);
            break;
        }
        // ecto_job.databases says where the launcher looks
        listed = look ? was_by_hand || is_listed() : listed;
        const RoundEnd end = listed ? run_round(slot, look) : last_round(slot);
        look = end.nothing_to_do;
        if (end.nothing_to_do) {
            if (was_by_hand ? may_leave(slot) : try_to_leave(slot))
                break;
        } else if (!must_leave(slot)) {
            // A commit that wakes us pays for a signal. Consumers that have work look by
            // themselves, so no queue need be rung more often than a thousand times a second
            gather_rings();
            // Without shared memory the latch is all that others can set
            const bool woken = sleep_after(slot, end);
            if (woken && !is_state_shared())
                request_rescan(slot);
        }
    }
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
