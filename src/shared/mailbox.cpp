// The flags and times of a queue's record. See mailbox.hpp.
#include "shared/mailbox.hpp"

#include <algorithm>

#include "pg/text.hpp"
#include "shared/low_water.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_slots.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

namespace {

// What a commit says to a record. True: the scheduler must be awake for it.
bool note(QueueRecord *record, const Change &change, TimestampTz sleeps_until) {
    SpinLockAcquire(&record->mutex);
    const bool rings = change.available && !record->rung;
    record->rung = record->rung || change.available;
    record->due = std::min(record->due, change.due);
    record->expiry = std::min(record->expiry, change.expiry);
    record->leased_to = std::max(record->leased_to, change.leased_to);
    if (change.lowers)
        lower(&record->low_water, change.lowest);
    SpinLockRelease(&record->mutex);
    return rings || change.due < sleeps_until || change.expiry < sleeps_until;
}

// The database may have been closed to connections when the launcher last looked. Asked at each
// commit where no scheduler is, so it costs nothing where no database was closed.
bool may_be_forgotten() {
    constexpr int shortest_ms = 1000;
    return shared_state()->launcher.some_closed &&
           TimestampDifferenceExceeds(shared_state()->launcher.scanned, GetCurrentTimestamp(),
                                      shortest_ms);
}

} // namespace

bool is_answered(Oid queue) {
    if (shared_state() == nullptr)
        return false;
    lock_shared_state(LW_SHARED);
    const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    // The scheduler announces what its own sweeps do when they are committed
    const bool answered = scheduler != nullptr &&
                          (scheduler->answers || is_this_process(*scheduler)) &&
                          find_record(queue) != nullptr;
    unlock_shared_state();
    return answered;
}

void ring(const Change &change) {
    if (shared_state() == nullptr)
        return;
    lock_shared_state(LW_SHARED);
    const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    const TimestampTz sleeps_until = scheduler != nullptr ? scheduler->sleeps_until : DT_NOBEGIN;
    QueueRecord *const record = find_record(change.queue);
    const bool wake = record != nullptr && note(record, change, sleeps_until);
    // It has gone since we asked; who comes next finds the flag
    const bool orphaned = change.available && record != nullptr && scheduler == nullptr;
    const bool forgotten = scheduler == nullptr && may_be_forgotten();
    if (wake && scheduler != nullptr && !is_this_process(*scheduler))
        set_latch_of(*scheduler);
    unlock_shared_state();
    if (orphaned)
        signal_scheduler(Start::yes);
    else if (forgotten)
        request_database_scan();
}

void ring_all() {
    lock_shared_state(LW_EXCLUSIVE);
    for_each_record([](QueueRecord *record) {
        SpinLockAcquire(&record->mutex); // the scheduler takes the times with this alone
        record->rung = true;
        record->due = record->expiry = DT_NOBEGIN;
        record->leased_to = record->orphaned_to = highest_key;
        forget(&record->low_water);
        SpinLockRelease(&record->mutex);
    });
    unlock_shared_state();
    signal_scheduler(Start::yes);
}

void answer(int slot, bool answers) {
    lock_shared_state(LW_EXCLUSIVE);
    shared_state()->schedulers[static_cast<Size>(slot)].answers = answers;
    unlock_shared_state();
}

void show_unannounced(int slot, const char *why) {
    lock_shared_state(LW_EXCLUSIVE);
    copy_shown_text(shared_state()->schedulers[static_cast<Size>(slot)].unannounced,
                    why != nullptr ? why : "", sizeof SchedulerSlot::unannounced);
    unlock_shared_state();
}

int take_rings(Oid *queues, int size, RecordNumber *from) {
    int count = 0;
    // Nobody's commit waits for a walk over very many queues. Who rings meanwhile wakes us
    lock_shared_state(LW_SHARED);
    // Its queue may have gone since
    if (*from == 0 || record_at(*from)->database != MyDatabaseId)
        *from = first_record_of(MyDatabaseId);
    while (*from != 0 && count < size) {
        QueueRecord *const record = record_at(*from);
        *from = record->next_of_database;
        if (record->database != MyDatabaseId || !record->rung)
            continue;
        SpinLockAcquire(&record->mutex);
        record->rung = false;
        SpinLockRelease(&record->mutex);
        queues[count++] = record->queue;
    }
    unlock_shared_state();
    return count;
}

bool has_rings() {
    bool rung = false;
    for_each_record([&](const QueueRecord *record) { rung = rung || record->rung; });
    return rung;
}

void ring_again(const Oid *queues, int count) {
    lock_shared_state(LW_EXCLUSIVE);
    for (int i = 0; i < count; i++)
        if (QueueRecord *const record = find_record(queues[i]))
            record->rung = true;
    unlock_shared_state();
}

void take_times(QueueRecord *record) {
    SpinLockAcquire(&record->mutex);
    record->next_due = std::min(record->next_due, record->due);
    record->next_expiry = std::min(record->next_expiry, record->expiry);
    record->leases_to = std::max(record->leases_to, record->leased_to);
    record->due = record->expiry = DT_NOEND;
    record->leased_to = lowest_key;
    SpinLockRelease(&record->mutex);
}

TimestampTz fall_asleep(int slot, TimestampTz limit, Hears hears) {
    TimestampTz until = limit;
    lock_shared_state(LW_EXCLUSIVE);
    SchedulerSlot &mine = shared_state()->schedulers[static_cast<Size>(slot)];
    const bool hears_times = hears == Hears::all || hears == Hears::times;
    const bool hears_rings = hears == Hears::all || hears == Hears::rings;
    if (hears_times)
        for_each_record([&](const QueueRecord *record) {
            until = std::min({until, record->due, record->expiry});
            if (record->orphaned_to != lowest_key)
                until = DT_NOBEGIN;
        });
    if (mine.rescan || (hears_rings && has_rings()))
        until = DT_NOBEGIN;
    mine.sleeps_until = hears_times ? until : DT_NOBEGIN;
    unlock_shared_state();
    return until;
}

void wake_up(int slot) {
    lock_shared_state(LW_EXCLUSIVE);
    shared_state()->schedulers[static_cast<Size>(slot)].sleeps_until = DT_NOBEGIN;
    unlock_shared_state();
}

} // namespace ecto_job
