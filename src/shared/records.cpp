// Where the records are found. See records.hpp.
#include "shared/records.hpp"

namespace ecto_job {

namespace {

QueueRecord *find_record(Oid database, Oid queue) {
    for (int i = 0; i < segment()->record_count; i++) {
        QueueRecord &record = segment()->records[i];
        if (record.database == database && record.queue == queue)
            return &record;
    }
    return nullptr;
}

} // namespace

QueueRecord *claim_record(Oid queue) {
    lock_segment(LW_EXCLUSIVE);
    QueueRecord *record = find_record(MyDatabaseId, queue);
    if (record == nullptr) {
        record = find_record(InvalidOid, InvalidOid);
        if (record != nullptr) {
            record->database = MyDatabaseId;
            record->queue = queue;
        }
    }
    unlock_segment();
    return record;
}

void keep_records(bool (*is_listed)(Oid queue)) {
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->record_count; i++) {
        QueueRecord &record = segment()->records[i];
        if (record.database == MyDatabaseId && !is_listed(record.queue))
            record = QueueRecord{};
    }
    unlock_segment();
}

void release_records_of(Oid database) {
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < segment()->record_count; i++)
        if (segment()->records[i].database == database)
            segment()->records[i] = QueueRecord{};
    unlock_segment();
}

bool read_record(Oid queue, QueueRecord *copy) {
    lock_segment(LW_SHARED);
    const QueueRecord *const record = find_record(MyDatabaseId, queue);
    if (record != nullptr)
        *copy = *record;
    unlock_segment();
    return record != nullptr;
}

} // namespace ecto_job
