// What the running transaction has done to queues, told to the scheduler when it commits.
//
// The triggers of the queues' tables note it row by row; kept are the queues, a note for each and
// each subtransaction, so that what ROLLBACK TO undoes is not told. Before the commit it is decided
// who notifies: the scheduler, if one answers, or this transaction. No lock.
#pragma once

#include "pg/pg.hpp"
#include "shared/state.hpp"

namespace ecto_job {

// A job is AVAILABLE under this key; `rings`: it was not before.
void note_available(Oid queue, const JobKey &key, bool rings);
// A SCHEDULED or RETRY job is due then.
void note_due(Oid queue, TimestampTz schedule);
// RESERVED or IN_PROGRESS jobs stand up to this key, and the first of their leases ends then.
void note_lease(Oid queue, const JobKey &key, TimestampTz expires);

// After COMMIT PREPARED has ended, in its session's transaction.
void tell_prepared(const char *gid);

} // namespace ecto_job
