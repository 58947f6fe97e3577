// What the running transaction owes when it ends: to queues, to the scheduler, to the launcher, and
// to this session's memory. transaction.cpp says in which order that is settled.
#pragma once

#include "pg/pg.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

// Registers the callbacks. Called once in each process, when the library is loaded.
void install_transaction_callbacks();

// After COMMIT the scheduler of this database looks at everything again. A rollback to a savepoint
// does not take that back, which is harmless.
void signal_scheduler_at_commit(Start start);

// Instead of a commit, an abort has the scheduler started that this transaction has stopped.
void signal_scheduler_at_abort();

// After COMMIT the launcher looks for databases that it does not know.
void request_database_scan_at_commit();

// Called before PREPARE TRANSACTION: the callbacks are not told the identifier.
void begin_prepare(const char *gid);

} // namespace ecto_job
