// A scheduler as a background worker: how one is asked for, and which process is one.
//
// The launcher asks for them where the library is preloaded, a session where it is not. There they
// have no slot in shared memory, and are known by what the server knows of its background workers.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// What the process finds in its bgw_extra.
struct SchedulerArguments {
    Oid database;
    int slot; // on_demand_slot: none, since there is no launcher
    uint64 generation;
    TransactionId starter; // by hand: the transaction that it waits for, and must have committed
};
static_assert(sizeof(SchedulerArguments) <= BGW_EXTRALEN);
constexpr int on_demand_slot = -1;

// Returns false if no background worker is free. The handle is allocated in the current memory
// context.
bool register_scheduler(const SchedulerArguments &arguments, BackgroundWorkerHandle **handle);

// The schedulers that are connected to a database, but not ourselves: the first, and the next after
// one; null: no more. There is one at most that works, besides those that wait for their starter.
// It may end at any time, and its PGPROC then becomes another's: so do no more than set its latch
// or signal its pid.
PGPROC *next_scheduler_process(const PGPROC *after = nullptr, Oid database = MyDatabaseId);

// Has the schedulers of this database look at everything again: one that was started by hand has
// nothing but its latch. Cannot fail.
void signal_scheduler_processes();

} // namespace ecto_job
