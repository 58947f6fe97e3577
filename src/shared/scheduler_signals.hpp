// How a session signals the scheduler of its database and the launcher that something has changed,
// and how it stops a scheduler.
//
// What has changed must be committed: a scheduler that looks before would see the old state, and
// sleep. A session asks for a signal at its commit in queue/transaction.hpp.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Has the scheduler of this database read the registry and look at every queue again. If there is
// none, the launcher tries to start one, or not. Where the library is not preloaded, the scheduler
// that was started by hand is woken. Cannot fail.
enum class Start : bool { no, yes };
void signal_scheduler(Start start);

// Has the launcher look for databases that it does not know: one that was created, or was closed to
// connections. Cannot fail.
void request_database_scan();

// Returns what was requested of the launcher since it last asked.
LauncherRequests take_launcher_requests();

// Has the scheduler that is connected to the database leave, and terminates it if it has not after
// 3 seconds. Called with a lock of database_locks.hpp, for which the next scheduler waits.
void stop_scheduler_of(Oid database);

// Returns when the scheduler of this database has left; no other starts until the transaction ends.
// One that was started by hand is terminated.
void stop_scheduler();

} // namespace ecto_job
