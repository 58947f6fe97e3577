// Where the records are found. See records.hpp.
#include "shared/records.hpp"

#include <algorithm>

namespace ecto_job {

namespace {

// Commits look up the same few queues again and again
constexpr Oid remembered_count = 32;
QueueRecord *remembered[remembered_count];

QueueRecord *search(Oid database, Oid queue) {
    assert_locked();
    for (int i = 0; i < segment()->records_used; i++) {
        QueueRecord &record = segment()->records[i];
        if (record.database == database && record.queue == queue)
            return &record;
    }
    return nullptr;
}

// One that was given back, or the next; null: all are taken
QueueRecord *free_record() {
    assert_locked_exclusively();
    QueueRecord *const record = search(InvalidOid, InvalidOid);
    if (record != nullptr || segment()->records_used == segment()->record_count)
        return record;
    return &segment()->records[segment()->records_used++];
}

} // namespace

QueueRecord *find_record(Oid queue) {
    assert_locked();
    QueueRecord *&last = remembered[queue % remembered_count];
    if (last == nullptr || last->database != MyDatabaseId || last->queue != queue)
        last = search(MyDatabaseId, queue);
    return last;
}

void clear_record(QueueRecord *record) {
    QueueRecord empty{};
    empty.due = empty.expiry = empty.next_due = empty.next_expiry = empty.next_orphans = DT_NOEND;
    empty.leased_to = empty.leases_to = empty.orphaned_to = empty.orphans_to = lowest_key;
    // An advance of the mark that is under way is not taken for a later one
    empty.low_water.advance = record->low_water.advance + 1;
    // Its lock stays what it is: nobody holds it without the segment's
    empty.mutex = record->mutex;
    *record = empty;
}

QueueRecord *claim_record(Oid queue) {
    lock_segment(LW_EXCLUSIVE);
    QueueRecord *record = find_record(queue);
    if (record == nullptr) {
        record = free_record();
        if (record != nullptr) {
            clear_record(record);
            record->database = MyDatabaseId;
            record->queue = queue;
        }
    }
    unlock_segment();
    return record;
}

void keep_records(bool (*is_listed)(Oid queue)) {
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->records_used; i++) {
        QueueRecord &record = segment()->records[i];
        if (record.database == MyDatabaseId && !is_listed(record.queue))
            clear_record(&record);
    }
    unlock_segment();
}

void release_records_of(Oid database) {
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->records_used; i++)
        if (segment()->records[i].database == database)
            clear_record(&segment()->records[i]);
    unlock_segment();
}

bool read_record(Oid queue, QueueRecord *copy) {
    lock_segment(LW_SHARED);
    QueueRecord *const record = find_record(queue);
    if (record != nullptr) {
        SpinLockAcquire(&record->mutex);
        *copy = *record;
        SpinLockRelease(&record->mutex);
        // What the scheduler has not taken yet, since it is not due
        copy->next_due = std::min(copy->next_due, copy->due);
    }
    unlock_segment();
    return record != nullptr;
}

} // namespace ecto_job
