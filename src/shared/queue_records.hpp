// The record of each queue's sweeps. See QueueRecord in state.hpp.
//
// A record's health belongs to its database's scheduler, which keeps a pointer to the record and
// changes it under the segment's lock; everybody else reads a copy.
#pragma once

#include <functional>

#include "shared/state.hpp"

namespace ecto_job {

// Returns the record with this number.
inline QueueRecord *record_at(RecordNumber number) {
    const Segment &shared = *segment();
    const auto at = static_cast<int>(number) - 1;
    return at < shared.record_count ? &shared.records[at]
                                    : &shared.further_records[at - shared.record_count];
}

// Returns the head of the list of the database's records, and of some other databases' too.
inline RecordNumber &first_record_of(Oid database) {
    return segment()->by_database[database % database_lists];
}

// Visits all records of this database, while the segment's lock is held.
template <typename F> void for_each_record(F visit) {
    assert_locked();
    for (RecordNumber at = first_record_of(MyDatabaseId); at != 0;) {
        QueueRecord *const record = record_at(at);
        at = record->next_of_database;
        if (record->database == MyDatabaseId)
            visit(record);
    }
}

// This database's record of the queue, made if there was none; null when all are taken. Only the
// scheduler makes them, of registered queues: else anybody could use them up. Cannot fail.
QueueRecord *claim_record(Oid queue);

// Null if there is none. The lock is held, in either mode, for as long as the record is used.
QueueRecord *find_record(Oid queue);

// As it is before anything is known.
void clear_record(QueueRecord *record);

// Releases this database's records of all queues that are not listed. The function may not raise.
void keep_records(const std::function<bool(Oid queue)> &is_listed);

// Releases those of a database that is gone.
void release_records_of(Oid database);
// Gives back the records of every database that is not kept.
void release_records_unless(bool (*is_kept)(Oid database));

// Says for the view ecto_job.queues how many jobs this process leaves out of claims or sweeps, and,
// if one was at fault just now, why; that also makes the claims of all sessions careful for a
// while.
void note_left_out(Oid queue, bool claims, int count, const char *reason, bool others_move);

// A copy of this database's record of the queue; false if there is none.
bool read_record(Oid queue, QueueRecord *copy);

} // namespace ecto_job
