// Leases: what tells one holder of a job from every other, before and after it.
//
// Random and not a sequence, which steps back at a crash without synchronous commit or at a
// failover. Below 2^53, because JavaScript and JSON round what is larger. The lowest bit is kept
// for leases bound to a session; those drawn here are not, so it is 0.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Never 0. ERROR XX000 if the system has no randomness.
int64 draw_lease();

// Did the transaction that is running draw this lease? Then its job was started in it, too.
bool drawn_in_this_transaction(int64 lease);

} // namespace ecto_job
