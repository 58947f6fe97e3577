// The transaction's callback, and the launcher's mailbox. See wakeup.hpp.
#include "shared/wakeup.hpp"

#include "pg/compat.hpp"
#include "shared/prepared.hpp"
#include "shared/roster.hpp"
#include "shared/scheduler_process.hpp"

namespace ecto_job {

namespace {

constexpr int patience_ms = 3000;

bool wake_wanted = false;
bool nudge_wanted = false;
bool rescan_wanted = false;
bool keeping_away = false;
bool dismissing = false;

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

// `dismissed`: the one of this database has nothing to come back for
void let_schedulers_back(bool dismissed) {
    for (AsideEntry &entry : segment()->asides)
        if (OidIsValid(entry.database) && entry.pid == MyProcPid) {
            const Oid database = entry.database;
            entry.database = InvalidOid;
            if (!must_step_aside(database) && !(dismissed && database == MyDatabaseId))
                tell_launcher(database);
        }
}

void at_transaction_end(XactEvent event, void *) {
    const bool committed = event == XACT_EVENT_COMMIT;
    const bool ended = committed || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE;
    if (!ended || (!wake_wanted && !nudge_wanted && !rescan_wanted && !keeping_away))
        return;
    if (segment() == nullptr) {
        if (committed)
            wake_scheduler_processes();
        wake_wanted = nudge_wanted = false;
        return;
    }
    lock_segment(LW_EXCLUSIVE);
    if (wake_wanted && committed)
        wake_scheduler();
    else if (nudge_wanted && committed)
        nudge_scheduler();
    if (rescan_wanted) {
        segment()->told_all = true;
        wake_launcher();
    }
    if (keeping_away)
        let_schedulers_back(committed && dismissing);
    unlock_segment();
    if ((wake_wanted || nudge_wanted) && event == XACT_EVENT_PREPARE)
        add_wake_to_prepared();
    wake_wanted = nudge_wanted = rescan_wanted = keeping_away = dismissing = false;
}

void watch_transactions() {
    static bool watching = false;
    if (!watching)
        RegisterXactCallback(at_transaction_end, nullptr);
    watching = true;
}

// Those of the database that have a process, of whatever launcher
template <typename F> void for_each_scheduler(Oid database, F visit) {
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->scheduler_count; i++) {
        const SchedulerSlot &slot = segment()->schedulers[i];
        if (slot.database == database && slot.pid != 0)
            visit(slot);
    }
    unlock_segment();
}

bool is_connected(Oid database) {
    bool connected = false;
    for_each_scheduler(database, [&](const SchedulerSlot &) { connected = true; });
    return connected;
}

void nap() {
    constexpr long nap_ms = 20;
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap_ms, wait_event());
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

// False if too many sessions do the same
bool enter_aside(Oid database) {
    bool entered = false;
    lock_segment(LW_EXCLUSIVE);
    for (AsideEntry &entry : segment()->asides)
        if (!entered && !OidIsValid(entry.database)) {
            entry = AsideEntry{database, MyProcPid};
            entered = true;
        }
    unlock_segment();
    for_each_scheduler(database, [](const SchedulerSlot &slot) { SetLatch(slot.latch); });
    return entered;
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

void rescan_databases_at_end() {
    if (segment() == nullptr)
        return;
    watch_transactions();
    rescan_wanted = true;
}

void call_scheduler() {
    lock_segment(LW_EXCLUSIVE);
    wake_scheduler();
    unlock_segment();
}

bool keep_schedulers_away(Oid database) {
    if (segment() == nullptr)
        return false;
    watch_transactions();
    keeping_away = true;
    if (!enter_aside(database))
        return false;
    const TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), patience_ms);
    while (is_connected(database) && GetCurrentTimestamp() < limit)
        nap();
    // It hangs in somebody's trigger; who called waits for its end
    for_each_scheduler(database, [](const SchedulerSlot &slot) { kill(slot.pid, SIGTERM); });
    return true;
}

void dismiss_scheduler() {
    const bool asked = keep_schedulers_away(MyDatabaseId);
    dismissing = asked;
    int terminated = 0;
    while (const PGPROC *const scheduler = next_scheduler_process()) {
        const int pid = scheduler->pid;
        if (!asked && pid != 0 && pid != terminated)
            kill(terminated = pid, SIGTERM);
        nap();
    }
}

Told take_told() {
    Segment &shared = *segment();
    lock_segment(LW_EXCLUSIVE);
    Told told{shared.told_all, shared.told_count, {}};
    memcpy(told.databases, shared.told, sizeof told.databases);
    shared.told_all = false;
    shared.told_count = 0;
    unlock_segment();
    return told;
}

} // namespace ecto_job
