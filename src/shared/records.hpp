// The record of each queue's sweeps. See QueueRecord in segment.hpp.
//
// A record belongs to its database's scheduler, which keeps a pointer to it and changes it under
// the segment's lock; everybody else reads a copy.
#pragma once

#include "shared/segment.hpp"

namespace ecto_job {

// This database's record of the queue, made if there was none; null when all are taken.
QueueRecord *claim_record(Oid queue);

// Releases this database's records of all queues that are not listed.
void keep_records(bool (*is_listed)(Oid queue));

// Releases those of a database that is gone.
void release_records_of(Oid database);

// A copy of this database's record of the queue; false if there is none.
bool read_record(Oid queue, QueueRecord *copy);

} // namespace ecto_job
