// Signals and requests of a session to its database's scheduler and to the launcher.
//
// A change is committed before its signal is sent: a scheduler that reads too early would see the
// old state, and sleep. Sessions request a signal at their commit by queue/transaction_end.hpp.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

enum class Start : bool { no, yes };
// Requests that the scheduler of this database reads the registry and updates every queue. If there
// is no scheduler, `start` says whether the launcher starts one. Without preload this wakes the
// scheduler that was started on demand. Cannot fail.
void signal_scheduler(Start start);

// Requests that the launcher scans pg_database for databases that it does not know, because they
// were created or opened to connections since its last scan. Cannot fail.
void request_database_scan();

// Takes what was requested of the launcher since the last call.
LauncherRequests take_launcher_requests();

// Asks the scheduler in the database to leave, and terminates it after 3 s; does not wait for its
// end. The caller holds PostgreSQL's lock on the database, for which the next scheduler waits.
void stop_scheduler_of(Oid database);

// Stops the scheduler of this database and waits for its end. No other scheduler starts until the
// transaction ends. A scheduler that was started on demand is terminated.
void stop_scheduler();

} // namespace ecto_job
