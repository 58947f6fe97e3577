// Leases: numbers that distinguish the holder of a job from all earlier and later holders.
//
// A lease is random and not from a sequence, which steps back at a crash without synchronous commit
// or at a failover. Under ecto_job.session_leases, and where the library is preloaded, leases are
// bound to the session: see core/lease.hpp and shared/session_leases.hpp.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns a new lease, never 0. ERROR XX000 if the system has no randomness.
int64 draw_lease();

// Returns whether the running transaction drew this lease, and so started the lease's jobs.
bool drawn_in_this_transaction(int64 lease);

// For the end of the transaction: see transaction_end.cpp. Cannot fail.
void forget_leases();

} // namespace ecto_job
