// The record of each queue in shared memory. See QueueRecord in state.hpp.
//
// The scheduler of the queue's database keeps a pointer to the record, and changes the record's
// health under the lock of the shared state; take_report() alone changes `next_due` under the
// record's spinlock. Other processes use the record only under that lock, or read a copy. To users
// a record is a *place* in shared memory.
#pragma once

#include <functional>

#include "shared/state.hpp"

namespace ecto_job {

// Returns the number of records.
inline Size max_records() {
    return shared_state()->records.first.size() + shared_state()->records.further.size();
}

// Returns the record with this number.
inline QueueRecord *record_at(RecordNumber number) {
    const RecordTable &table = shared_state()->records;
    const Size at = number - 1;
    Assert(number != 0 && at < table.used);
    return at < table.first.size() ? &table.first[at] : &table.further[at - table.first.size()];
}

// Returns the head of the list that has the database's records, and those of some other databases.
inline RecordNumber &first_record_of(Oid database) {
    return shared_state()->records.by_database[database % database_lists];
}

// Visits all records of this database.
template <typename F> void for_each_record(F visit) {
    assert_locked();
    for (RecordNumber at = first_record_of(MyDatabaseId); at != 0;) {
        QueueRecord *const record = record_at(at);
        at = record->next_of_database;
        if (record->database == MyDatabaseId)
            visit(record);
    }
}

// Returns the record of a queue of this database, made if there was none; null if all records are
// in use. Only the scheduler calls this, for registered queues: otherwise any role could use up the
// records. Cannot fail.
QueueRecord *make_record(Oid queue);

// Returns the record of a queue of this database; null if there is none. The caller holds the lock
// of the shared state, in either mode, for as long as it uses the record.
QueueRecord *find_record(Oid queue);

// Resets the record to its state before anything is known of a queue.
void clear_record(QueueRecord *record);

// Releases the records of this database's queues that are not listed. `is_listed` may not raise.
void release_unlisted_records(const std::function<bool(Oid queue)> &is_listed);

// Releases the records of a database that is gone.
void release_records_of(Oid database);
// Releases the records of every database that is not kept.
void release_records_unless(bool (*is_kept)(Oid database));

// What this process skips of a queue.
struct Skipping {
    bool by_claims; // else by sweeps
    int count = 0;
    const char *reason = nullptr; // why a job was at fault just now; null: no job was
    bool others_move = true;      // other jobs could be changed
};
// Records it for the view ecto_job.queues. After a fault in a claim the claims of all sessions
// isolate rows for a while.
void record_skipped_jobs(Oid queue, const Skipping &skipping);

// Copies this database's record of the queue. Returns false if there is none.
bool copy_record(Oid queue, QueueRecord *copy);

} // namespace ecto_job
