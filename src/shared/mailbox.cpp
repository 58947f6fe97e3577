// Reports, and when they wake the scheduler. See mailbox.hpp.
#include "shared/mailbox.hpp"

#include <algorithm>

#include "pg/text.hpp"
#include "shared/low_water.hpp"
#include "shared/prepared_notes.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_signals.hpp"
#include "shared/scheduler_slots.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {

namespace {

// Adds a report to the mailbox. Returns whether the report must wake the scheduler.
bool add(QueueRecord *record, const Change &change, TimestampTz sleeps_until) {
    const RecordLock lock(record);
    Mailbox &mailbox = record->mailbox;
    const bool announces = change.available && !mailbox.available;
    mailbox.available = mailbox.available || change.available;
    merge(&mailbox.report, change.report);
    lower(&record->low_water, change.lowest);
    return announces || change.report.due < sleeps_until || change.report.expiry < sleeps_until ||
           change.report.orphaned_up_to != lowest_key;
}

// Returns whether the launcher may have forgotten this database, because it was closed to
// connections at the last scan. Each commit in a database without a scheduler calls this, so it
// costs nothing where no database was closed.
bool may_be_forgotten() {
    constexpr int shortest_ms = 1000;
    return shared_state()->launcher.some_closed &&
           TimestampDifferenceExceeds(shared_state()->launcher.scanned, GetCurrentTimestamp(),
                                      shortest_ms);
}

} // namespace

void merge(Report *into, const Report &more) {
    into->due = std::min(into->due, more.due);
    into->expiry = std::min(into->expiry, more.expiry);
    into->leased_up_to = std::max(into->leased_up_to, more.leased_up_to);
    into->orphaned_up_to = std::max(into->orphaned_up_to, more.orphaned_up_to);
}

bool is_served(Oid queue) {
    if (shared_state() == nullptr)
        return false;
    const SharedLock lock(LW_SHARED);
    const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    // The scheduler announces what its own sweeps do when they are committed
    return scheduler != nullptr && (scheduler->serves || is_this_process(*scheduler)) &&
           find_record(queue) != nullptr;
}

void report(const Change &change) {
    if (shared_state() == nullptr)
        return;
    bool unserved = false;
    bool forgotten = false;
    {
        const SharedLock lock(LW_SHARED);
        const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
        const TimestampTz sleeps_until =
            scheduler != nullptr ? scheduler->sleeps_until : DT_NOBEGIN;
        QueueRecord *const record = find_record(change.queue);
        const bool wake = record != nullptr && add(record, change, sleeps_until);
        if (wake && scheduler != nullptr && !is_this_process(*scheduler))
            set_latch_of(*scheduler);
        // The scheduler has ended since is_served(); the next one finds the flag
        unserved = change.available && record != nullptr && scheduler == nullptr;
        forgotten = scheduler == nullptr && may_be_forgotten();
    }
    wake(change.queue, change.wake_ups); // after the mark, from which a waiter searches, is lowered
    if (unserved)
        signal_scheduler(Start::yes);
    else if (forgotten)
        request_database_scan();
}

void report_unknown_changes(const PreparedNote *note) {
    {
        const SharedLock lock(LW_EXCLUSIVE);
        for_each_record([note](QueueRecord *record) {
            if (note != nullptr && !may_have_changed(*note, record->queue))
                return;
            const RecordLock record_lock(record); // take_report() holds only this lock
            record->mailbox = {.available = true,
                               .report = {.due = DT_NOBEGIN,
                                          .expiry = DT_NOBEGIN,
                                          .leased_up_to = highest_key,
                                          .orphaned_up_to = highest_key}};
            forget(&record->low_water);
        });
    }
    wake_all();
    signal_scheduler(Start::yes);
}

void serve(int slot, bool serves) {
    const SharedLock lock(LW_EXCLUSIVE);
    slot_at(slot).serves = serves;
}

void show_unannounced(int slot, const char *why) {
    const SharedLock lock(LW_EXCLUSIVE);
    copy_shown_text(slot_at(slot).why_unannounced, why != nullptr ? why : "",
                    sizeof SchedulerSlot::why_unannounced);
}

int take_announcements(Oid *queues, int size, RecordNumber *from) {
    int count = 0;
    // Shared, so that no commit waits while very many records are read. Later reports wake us
    const SharedLock lock(LW_SHARED);
    // The record's queue may have been dropped since the last call
    if (*from == 0 || record_at(*from)->database != MyDatabaseId)
        *from = first_record_of(MyDatabaseId);
    while (*from != 0 && count < size) {
        QueueRecord *const record = record_at(*from);
        *from = record->next_of_database;
        if (record->database != MyDatabaseId || !record->mailbox.available)
            continue;
        const RecordLock record_lock(record);
        record->mailbox.available = false;
        queues[count++] = record->queue;
    }
    return count;
}

void put_back_announcements(const Oid *queues, int count) {
    const SharedLock lock(LW_EXCLUSIVE);
    for (int i = 0; i < count; i++)
        if (QueueRecord *const record = find_record(queues[i]))
            record->mailbox.available = true;
}

bool has_announcements() {
    bool found = false;
    for_each_record([&](const QueueRecord *record) { found = found || record->mailbox.available; });
    return found;
}

Report take_report(QueueRecord *record) {
    const RecordLock lock(record);
    const Report report = record->mailbox.report;
    record->mailbox.report = {};
    record->health.next_due = std::min(record->health.next_due, report.due);
    return report;
}

TimestampTz begin_sleep(int slot, TimestampTz limit, WakeOn wake_on) {
    const bool on_times = wake_on == WakeOn::everything || wake_on == WakeOn::times;
    const bool on_announcements = wake_on == WakeOn::everything || wake_on == WakeOn::announcements;
    TimestampTz until = limit;
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    if (on_times)
        for_each_record([&](const QueueRecord *record) {
            const Report &report = record->mailbox.report;
            until = std::min({until, report.due, report.expiry});
            if (report.orphaned_up_to != lowest_key)
                until = DT_NOBEGIN;
        });
    if (mine.rescan || (on_announcements && has_announcements()))
        until = DT_NOBEGIN;
    mine.sleeps_until = on_times ? until : DT_NOBEGIN;
    return until;
}

void end_sleep(int slot) {
    const SharedLock lock(LW_EXCLUSIVE);
    slot_at(slot).sleeps_until = DT_NOBEGIN;
}

} // namespace ecto_job
