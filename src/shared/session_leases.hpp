// The sessions that hold jobs under leases bound to them, so that the scheduler knows whose
// session has ended, and is signalled when one ends.
//
// A session enters its number here before it draws its first bound lease. It is taken out when the
// session's process ends, by whatever ERROR, FATAL or signal, after its transaction was aborted and
// its locks are gone. What no process survives, a crash, empties this with all of shared memory. So
// whoever reads leases from a table first, and then what is living, knows: a number that is not
// here is of a session that has ended. Numbers are given in sequence, from a random beginning, so
// that within the server's life none comes again.
//
// Guarded by the lock of the shared state.
#pragma once

#include "core/key.hpp"
#include "shared/state.hpp"

namespace ecto_job {

// Returns this session's number, entered if it had none; 0 where the library is not preloaded.
// ERROR XX000 without randomness.
uint32 session_number();

// Notes that this session has claimed jobs of the queue, up to this key, under such a lease.
void remember_claim(Oid queue, const JobKey &key);

// Returns whether the session of this number has not ended.
bool is_live_session(int64 number);

} // namespace ecto_job
