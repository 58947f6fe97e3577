// How a session tells the launcher and its database's scheduler that something changed, and how it
// gets a database to itself.
//
// Both end with the transaction: a scheduler that looked before the commit would see the old state
// and sleep again. One callback per process does it, at commit and abort, where nothing may fail:
// it sets flags and latches under the segment's lock. Without preload there is a latch at most.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// After COMMIT the scheduler of this database looks at everything again; if there is none, the
// launcher tries to start one. A rollback to a savepoint does not take it back, which is harmless.
void wake_scheduler_at_commit();

// The same, but no scheduler is started for it.
void nudge_scheduler_at_commit();

// After COMMIT, or at once, the launcher looks for databases that it does not know: one that was
// created, or was closed to connections. Where the library is not preloaded there is none.
void look_for_databases_at_commit();
void look_for_databases();

// The scheduler that is connected to the database is asked to leave, and terminated if it has not
// after 3 seconds. Called with a lock of database_locks.hpp, which another one waits for.
void clear_of_schedulers(Oid database);

// The scheduler of this database has left when this returns, and comes back if the transaction
// aborts; but one that was started by hand is terminated, and does not.
void dismiss_scheduler();

// By the launcher: what it was told since it last asked. The oids go into `databases`.
struct Told {
    bool all;
    bool look_for_new;
    int count;
    Oid databases[max_told];
};
Told take_told();

// The scheduler of this database looks at everything again; if there is none, the launcher tries to
// start one. At once; only where the library is preloaded.
void call_scheduler();

} // namespace ecto_job
