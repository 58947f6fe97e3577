// The record of each queue's sweeps. See QueueRecord in state.hpp.
//
// A record's health belongs to its database's scheduler, which keeps a pointer to the record and
// changes it under the lock of the shared state; everybody else reads a copy.
#pragma once

#include <functional>

#include "shared/state.hpp"

namespace ecto_job {

// Returns for how many queues there is a place.
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

// Returns the head of the list of the database's records, and of some other databases' too.
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

// Returns this database's record of the queue, made if there was none; null when all are taken.
// Only the scheduler makes them, of registered queues: else anybody could use them up. Cannot fail.
QueueRecord *claim_record(Oid queue);

// Returns null if there is none. The lock of the shared state is held, in either mode, for as long
// as the record is used.
QueueRecord *find_record(Oid queue);

// Makes the record what it is before anything is known.
void clear_record(QueueRecord *record);

// Releases this database's records of all queues that are not listed. The function may not raise.
void keep_records(const std::function<bool(Oid queue)> &is_listed);

// Releases the records of a database that is gone.
void release_records_of(Oid database);
// Releases the records of every database that is not kept.
void release_records_unless(bool (*is_kept)(Oid database));

// Notes for the view ecto_job.queues how many jobs this process leaves out of claims or sweeps,
// and, if one was at fault just now, why; that also makes the claims of all sessions careful for a
// while.
void note_left_out(Oid queue, bool claims, int count, const char *reason, bool others_move);

// Copies this database's record of the queue. Returns false if there is none.
bool read_record(Oid queue, QueueRecord *copy);

} // namespace ecto_job
