// Allocation of records, and the lists by which they are found. See queue_records.hpp.
#include "shared/queue_records.hpp"

#include <algorithm>

#include "pg/text.hpp"
#include "server_settings.hpp"

namespace ecto_job {

namespace {

// Returns the head of the list that has the queue's record.
RecordNumber &first_of_key(Oid database, Oid queue) {
    return shared_state()->records.by_key[hash_of(database, queue) % record_lists];
}

// Removes a record from the list of released ones, or else uses the next record for the first time.
// Returns 0 if all are in use.
RecordNumber allocate_record() {
    assert_locked_exclusively();
    RecordTable &table = shared_state()->records;
    if (const RecordNumber number = table.free) {
        table.free = record_at(number)->next_of_key;
        return number;
    }
    if (table.used == max_records())
        return 0;
    const auto number = static_cast<RecordNumber>(++table.used);
    SpinLockInit(&record_at(number)->mutex);
    return number;
}

void assign(RecordNumber number, Oid queue) {
    assert_locked_exclusively();
    QueueRecord *const record = record_at(number);
    Assert(!OidIsValid(record->database));
    clear_record(record);
    record->database = MyDatabaseId;
    record->queue = queue;
    RecordNumber &of_key = first_of_key(MyDatabaseId, queue);
    record->next_of_key = of_key;
    of_key = number;
    RecordNumber &of_database = first_record_of(MyDatabaseId);
    record->next_of_database = of_database;
    of_database = number;
}

void release_record(RecordNumber number) {
    assert_locked_exclusively();
    QueueRecord *const record = record_at(number);
    RecordNumber *link = &first_of_key(record->database, record->queue);
    while (*link != number)
        link = &record_at(*link)->next_of_key;
    *link = record->next_of_key;
    clear_record(record);
    record->next_of_key = shared_state()->records.free;
    shared_state()->records.free = number;
}

template <typename F> void release_those_of(Oid database, F is_kept) {
    const SharedLock lock(LW_EXCLUSIVE);
    for (RecordNumber *link = &first_record_of(database); *link != 0;) {
        const RecordNumber number = *link;
        QueueRecord *const record = record_at(number);
        if (record->database != database || is_kept(record->queue)) {
            link = &record->next_of_database;
            continue;
        }
        *link = record->next_of_database;
        release_record(number);
    }
}

} // namespace

QueueRecord *find_record(Oid queue) {
    assert_locked();
    for (RecordNumber at = first_of_key(MyDatabaseId, queue); at != 0;) {
        QueueRecord *const record = record_at(at);
        if (record->database == MyDatabaseId && record->queue == queue)
            return record;
        at = record->next_of_key;
    }
    return nullptr;
}

void clear_record(QueueRecord *record) {
    QueueRecord empty;
    // An advance of the mark that is under way is not taken for a later one
    empty.low_water.advance = record->low_water.advance + 1;
    // The spinlock is free. Only take_report(), in the database's scheduler, takes it without the
    // lock of the shared state, and that scheduler is this process, or has ended
    empty.mutex = record->mutex;
    *record = empty;
}

QueueRecord *make_record(Oid queue) {
    Assert(OidIsValid(queue) && OidIsValid(MyDatabaseId));
    const SharedLock lock(LW_EXCLUSIVE);
    if (QueueRecord *const known = find_record(queue))
        return known;
    const RecordNumber number = allocate_record();
    if (number == 0)
        return nullptr;
    assign(number, queue);
    return record_at(number);
}

void release_unlisted_records(const std::function<bool(Oid queue)> &is_listed) {
    release_those_of(MyDatabaseId, is_listed);
}

void release_records_of(Oid database) {
    release_those_of(database, [](Oid) { return false; });
}

void release_records_unless(bool (*is_kept)(Oid database)) {
    for (RecordNumber number = 1;; number++) {
        Oid database = InvalidOid;
        {
            const SharedLock lock(LW_SHARED);
            if (number > shared_state()->records.used)
                return;
            database = record_at(number)->database;
        }
        if (OidIsValid(database) && !is_kept(database))
            release_records_of(database);
    }
}

void record_skipped_jobs(Oid queue, const Skipping &skipping) {
    const auto [by_claims, count, reason, others_move] = skipping;
    QueueRecord known;
    if (shared_state() == nullptr || !copy_record(queue, &known))
        return;
    const SkippedJobs &before = by_claims ? known.skipped_by_claims : known.skipped_by_sweeps;
    if (reason == nullptr && before.count <= count && !(before.all && others_move))
        return; // nothing changes
    const SharedLock lock(LW_EXCLUSIVE);
    if (QueueRecord *const record = find_record(queue)) {
        SkippedJobs &jobs = by_claims ? record->skipped_by_claims : record->skipped_by_sweeps;
        if (reason != nullptr) {
            jobs.until =
                TimestampTzPlusMilliseconds(GetCurrentTimestamp(), settings::safety_interval_ms);
            copy_shown_text(jobs.reason, reason, sizeof jobs.reason);
        }
        jobs.all = (jobs.all || reason != nullptr) && !others_move;
        // Without a new fault the number only falls: another session may skip more jobs
        jobs.count = reason != nullptr ? count : std::min(jobs.count, count);
    }
}

bool copy_record(Oid queue, QueueRecord *copy) {
    const SharedLock lock(LW_SHARED);
    QueueRecord *const record = find_record(queue);
    if (record == nullptr)
        return false;
    const RecordLock record_lock(record);
    *copy = *record;
    // A reported time may still be in the mailbox
    copy->health.next_due = std::min(copy->health.next_due, copy->mailbox.report.due);
    return true;
}

} // namespace ecto_job
