// The sessions that hold jobs under leases bound to them, so that the scheduler knows which
// sessions have ended, and is woken when one ends.
//
// This file only says which sessions are live. The jobs of the others are *given back* elsewhere:
// core/agenda says when (`reclaim`), queue/statements which jobs and to which states
// (`give_back_jobs`), and queue/transitions has the function.
//
// A session enters its number here before it draws its first bound lease. A callback removes the
// number when the session's process ends, normally, by FATAL or by a signal, after the transaction
// was aborted and its locks were released. A crash, which no process survives, empties the list
// with all of shared memory. So a number that is read first from a lease in a table, and is then
// not found here, belongs to a session that has ended. Numbers are given in sequence, from a random
// beginning, so no number is reused while the server runs.
//
// Guarded by the lock of the shared state.
#pragma once

#include "core/key.hpp"
#include "shared/state.hpp"

namespace ecto_job {

// Returns this session's number, which is entered first if needed; 0 without preload.
// ERROR XX000 without randomness.
uint32 session_number();

// Records that this session has claimed jobs of the queue, up to this key, under bound leases.
void remember_claim(Oid queue, const JobKey &key);

// Returns whether the session of this number has not ended.
bool is_live_session(int64 number);

// Returns the pid of the session of this number; 0 if the session has ended, the number is 0, or
// without preload.
int pid_of_session(uint32 number);

} // namespace ecto_job
