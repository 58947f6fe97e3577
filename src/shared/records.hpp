// The record of each queue's sweeps. See QueueRecord in segment.hpp.
//
// A record belongs to its database's scheduler, which keeps a pointer to it and changes it under
// the segment's lock; everybody else reads a copy.
#pragma once

#include "shared/segment.hpp"

namespace ecto_job {

// This database's record of the queue, made if there was none; null when all are taken. Only the
// scheduler makes them, of registered queues: else anybody could use them up.
QueueRecord *claim_record(Oid queue);

// Null if there is none. The lock is held, in either mode, for as long as the record is used.
QueueRecord *find_record(Oid queue);

// As it is before anything is known.
void clear_record(QueueRecord *record);

// Releases this database's records of all queues that are not listed.
void keep_records(bool (*is_listed)(Oid queue));

// Releases those of a database that is gone.
void release_records_of(Oid database);

// A copy of this database's record of the queue; false if there is none.
bool read_record(Oid queue, QueueRecord *copy);

} // namespace ecto_job
