// The transaction's callback, and the launcher's mailbox. See scheduler_signals.hpp.
#include "shared/scheduler_signals.hpp"

#include "pg/compat.hpp"
#include "shared/database_locks.hpp"
#include "shared/prepared_transactions.hpp"
#include "shared/scheduler_slots.hpp"
#include "shared/scheduler_processes.hpp"

namespace ecto_job {

namespace {

constexpr int patience_ms = 3000;

bool wake_wanted = false;
bool nudge_wanted = false;
bool look_wanted = false;
bool dismissed = false; // this database's scheduler, which comes back if we abort

void tell_launcher(Oid database) {
    assert_locked_exclusively();
    Segment &shared = *segment();
    bool known = shared.told_all;
    for (int i = 0; i < shared.told_count && !known; i++)
        known = shared.told[i] == database;
    if (!known && shared.told_count == max_told)
        shared.told_all = true;
    else if (!known)
        shared.told[shared.told_count++] = database;
    wake_launcher();
}

void ask_for_look() {
    segment()->look_for_new = true;
    wake_launcher();
}

// False: there is none
bool nudge_scheduler() {
    SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    if (scheduler == nullptr)
        return false;
    scheduler->woken = true;
    if (scheduler->latch != nullptr)
        SetLatch(scheduler->latch);
    return true;
}

void wake_scheduler() {
    if (!nudge_scheduler())
        tell_launcher(MyDatabaseId);
}

void at_transaction_end(XactEvent event, void *) {
    const bool committed = event == XACT_EVENT_COMMIT;
    const bool ended = committed || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE;
    if (!ended || (!wake_wanted && !nudge_wanted && !look_wanted && !dismissed))
        return;
    if (segment() == nullptr) {
        if (committed)
            wake_scheduler_processes();
        wake_wanted = nudge_wanted = false;
        return;
    }
    lock_segment(LW_EXCLUSIVE);
    if ((wake_wanted && committed) || (dismissed && !committed))
        wake_scheduler();
    else if (nudge_wanted && committed)
        nudge_scheduler();
    if (look_wanted && committed)
        ask_for_look();
    unlock_segment();
    if ((wake_wanted || nudge_wanted) && event == XACT_EVENT_PREPARE)
        add_wake_to_prepared();
    wake_wanted = nudge_wanted = look_wanted = dismissed = false;
}

void watch_transactions() {
    static bool watching = false;
    if (!watching)
        RegisterXactCallback(at_transaction_end, nullptr);
    watching = true;
}

// True if there is one, which may not have started yet
bool ask_to_leave(Oid database) {
    bool asked = false;
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->scheduler_count; i++) {
        SchedulerSlot &slot = segment()->schedulers[i];
        if (slot.database != database)
            continue;
        slot.dismissed = asked = true;
        if (slot.latch != nullptr)
            SetLatch(slot.latch);
    }
    unlock_segment();
    return asked;
}

void nap() {
    constexpr long nap_ms = 20;
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap_ms, wait_event());
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

// It hangs in somebody's trigger
void terminate_schedulers(Oid database) {
    const PGPROC *scheduler = nullptr;
    while ((scheduler = next_scheduler_process(scheduler, database)) != nullptr)
        if (const int pid = scheduler->pid)
            kill(pid, SIGTERM);
}

} // namespace

void wake_scheduler_at_commit() {
    watch_transactions();
    wake_wanted = true;
}

void nudge_scheduler_at_commit() {
    watch_transactions();
    nudge_wanted = true;
}

void look_for_databases_at_commit() {
    if (segment() == nullptr)
        return;
    watch_transactions();
    look_wanted = true;
}

void look_for_databases() {
    lock_segment(LW_EXCLUSIVE);
    ask_for_look();
    unlock_segment();
}

void call_scheduler() {
    lock_segment(LW_EXCLUSIVE);
    wake_scheduler();
    unlock_segment();
}

void clear_of_schedulers(Oid database) {
    if (segment() == nullptr || !ask_to_leave(database))
        return;
    lock_segment(LW_EXCLUSIVE);
    tell_launcher(database); // it starts another as soon as the lock is free
    unlock_segment();
    const TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), patience_ms);
    while (next_scheduler_process(nullptr, database) != nullptr && GetCurrentTimestamp() < limit)
        nap();
    terminate_schedulers(database); // the command waits for its end
}

void dismiss_scheduler() {
    TimestampTz limit = GetCurrentTimestamp();
    if (segment() != nullptr) {
        watch_transactions();
        dismissed = true;
        lock_out_schedulers();
        if (ask_to_leave(MyDatabaseId))
            limit = TimestampTzPlusMilliseconds(limit, patience_ms);
    }
    while (next_scheduler_process() != nullptr) {
        if (GetCurrentTimestamp() >= limit) {
            terminate_schedulers(MyDatabaseId);
            limit = TimestampTzPlusMilliseconds(limit, patience_ms);
        }
        nap();
    }
}

Told take_told() {
    Segment &shared = *segment();
    lock_segment(LW_EXCLUSIVE);
    Told told{shared.told_all, shared.look_for_new, shared.told_count, {}};
    memcpy(told.databases, shared.told, sizeof told.databases);
    shared.told_all = shared.look_for_new = false;
    shared.told_count = 0;
    unlock_segment();
    return told;
}

} // namespace ecto_job
