// The end of a transaction: its reports to queues, its requests to the scheduler and the launcher,
// and the freeing of memory. transaction_end.cpp has their order.
#pragma once

#include "pg/pg.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

// Registers the callbacks. Called once in each process, when the library is loaded.
void install_transaction_callbacks();

// Makes COMMIT signal the scheduler of this database to read the registry again. A rollback to a
// savepoint does not revoke this request, which is harmless.
void signal_scheduler_at_commit(Start start);

// Starts the scheduler, which this transaction has stopped, again if the transaction aborts.
void signal_scheduler_at_abort();

// Makes COMMIT request the launcher to search for databases that it does not know.
void request_database_scan_at_commit();

} // namespace ecto_job
