// Signals to the scheduler, and requests to the launcher. See scheduler_signals.hpp.
#include "shared/scheduler_signals.hpp"

#include <algorithm>
#include <utility>

#include "pg/compat.hpp"
#include "shared/scheduler_lockout.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

constexpr int leave_timeout_ms = 3000;

void request_start(Oid database) {
    assert_locked_exclusively();
    LauncherRequests &requests = shared_state()->launcher.requests;
    const std::span requested(requests.databases, static_cast<Size>(requests.count));
    const bool known =
        requests.start_all || std::ranges::find(requested, database) != requested.end();
    if (!known && requests.count == max_start_requests)
        requests.start_all = true;
    else if (!known)
        requests.databases[requests.count++] = database;
    signal_launcher();
}

// Returns whether there is a scheduler, which may not have started yet.
bool ask_to_leave(Oid database) {
    bool asked = false;
    const SharedLock lock(LW_EXCLUSIVE);
    for (SchedulerSlot &slot : shared_state()->schedulers) {
        if (slot.state == SchedulerState::free || slot.database != database)
            continue;
        slot.asked_to_leave = asked = true;
        set_latch_of(slot);
    }
    return asked;
}

void wait_briefly() {
    constexpr long interval_ms = 20;
    Assert(shared_state() == nullptr || !LWLockHeldByMe(shared_state()->lock));
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, interval_ms, wait_event());
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

// Terminates schedulers that do not leave, such as one that waits in a trigger.
void terminate_schedulers(Oid database) {
    const PGPROC *scheduler = nullptr;
    while ((scheduler = next_scheduler_process(scheduler, database)) != nullptr)
        if (const int pid = scheduler->pid)
            kill(pid, SIGTERM);
}

} // namespace

void signal_scheduler(Start start) {
    if (shared_state() == nullptr) {
        signal_scheduler_processes();
        return;
    }
    const SharedLock lock(LW_EXCLUSIVE);
    if (SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId)) {
        scheduler->rescan = true;
        set_latch_of(*scheduler);
    } else if (start == Start::yes) {
        request_start(MyDatabaseId);
    }
}

void request_database_scan() {
    if (shared_state() == nullptr)
        return;
    const SharedLock lock(LW_EXCLUSIVE);
    shared_state()->launcher.requests.database_scan = true;
    signal_launcher();
}

LauncherRequests take_launcher_requests() {
    const SharedLock lock(LW_EXCLUSIVE);
    return std::exchange(shared_state()->launcher.requests, LauncherRequests{});
}

void stop_scheduler_of(Oid database) {
    if (shared_state() == nullptr || !ask_to_leave(database))
        return;
    {
        const SharedLock lock(LW_EXCLUSIVE);
        request_start(database); // as soon as the lock on the database is free
    }
    const TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), leave_timeout_ms);
    while (next_scheduler_process(nullptr, database) != nullptr && GetCurrentTimestamp() < limit)
        wait_briefly();
    terminate_schedulers(database); // the command waits for its end
}

void stop_scheduler() {
    TimestampTz limit = GetCurrentTimestamp();
    if (shared_state() != nullptr) {
        lock_out_schedulers();
        if (ask_to_leave(MyDatabaseId))
            limit = TimestampTzPlusMilliseconds(limit, leave_timeout_ms);
    }
    while (next_scheduler_process() != nullptr) {
        if (GetCurrentTimestamp() >= limit) {
            terminate_schedulers(MyDatabaseId);
            limit = TimestampTzPlusMilliseconds(limit, leave_timeout_ms);
        }
        wait_briefly();
    }
}

} // namespace ecto_job
