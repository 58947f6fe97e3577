// A scheduler as a background worker: its registration, and how its process is found.
//
// The launcher registers schedulers where the library is preloaded, a session where it is not.
// Without preload a scheduler has no slot in shared memory that others see, so it is found among
// PostgreSQL's background workers.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// What the process finds in its bgw_extra.
struct SchedulerArguments {
    Oid database;
    int slot; // on_demand_slot: none, since there is no launcher
    uint64 generation;
    // On demand: the transaction that called start_scheduler(), whose commit the process awaits
    TransactionId starter;
};
static_assert(sizeof(SchedulerArguments) <= BGW_EXTRALEN);
constexpr int on_demand_slot = -1;

// Returns a background worker that runs the library's C function `main`, to be registered.
BackgroundWorker worker_of(const char *type, const char *main);

// Registers a scheduler. Returns false if no background worker is free. The handle is allocated in
// the current memory context.
bool register_scheduler(const SchedulerArguments &arguments, BackgroundWorkerHandle **handle);

// Returns the first scheduler that is connected to the database, or the next one `after` another;
// null if there is no more. This process is skipped. At most one works; others may wait for their
// starter. A scheduler may end at any time, and another process may get its PGPROC: callers only
// set its latch or signal its pid.
PGPROC *next_scheduler_process(const PGPROC *after = nullptr, Oid database = MyDatabaseId);

// Sets the latches of this database's schedulers, which then read the registry again. Cannot fail.
void signal_scheduler_processes();

} // namespace ecto_job
