// The changes that the running transaction has made to queues. COMMIT reports them to the queues'
// records, which wakes the scheduler, and to sessions that wait.
//
// The triggers of the queues' tables record the changes row by row. One record is kept for each
// queue and subtransaction, so that ROLLBACK TO forgets exactly what it undoes.
#pragma once

#include "pg/pg.hpp"
#include "shared/state.hpp"

namespace ecto_job {

// Records that a job is AVAILABLE under this key. `announce`: it has just become AVAILABLE, and the
// commit wakes `jobs` waiters.
void record_available(Oid queue, const JobKey &key, bool announce, uint32 jobs = 1);
// Records that a SCHEDULED or RETRY job is due at `schedule`.
void record_due(Oid queue, TimestampTz schedule);
// Records that there are RESERVED or IN_PROGRESS jobs with keys up to this one, and that the first
// of their leases ends at `expires`.
void record_lease(Oid queue, const JobKey &key, TimestampTz expires);
// Records that claims have taken this number of jobs. If they are rolled back, as many waiters are
// woken.
void record_claim(Oid queue, uint64 jobs);
// Records that a queue is a queue no longer, so that the commit wakes the sessions that wait for
// its jobs.
void record_gone(Oid queue);

// For the end of the transaction: see transaction_end.cpp.

// Sends NOTIFY for the queues that no scheduler is serving, before the commit. May fail. A
// scheduler that ends afterwards leaves what it has not announced to the next one.
void notify_unserved();

// The other functions cannot fail.

// Reports the changes of a transaction that has committed.
void report_changes();
// Wakes as many waiters as jobs that this transaction has claimed. Called at an abort.
void wake_for_undone_claims();
// Adds the changes to the note of a transaction that is being prepared.
void add_changes_to(PreparedNote *note);
// Forgets all changes. Their memory ends with the transaction.
void forget_changes();
// Makes a subtransaction's changes changes of its parent.
void give_changes_to_parent(SubTransactionId subtransaction, SubTransactionId parent);
// Forgets the changes of a subtransaction that was rolled back, and wakes as many waiters as jobs
// that the subtransaction has claimed.
void forget_changes_of(SubTransactionId subtransaction);

} // namespace ecto_job
