// The lock that keeps a second scheduler out of a database: a session-level advisory lock of a
// class that SQL cannot take.
//
// Code of a table's owner may take other session-level advisory locks in a sweep, which would last
// as long as the process. So each function here first releases all session-level advisory locks.
#pragma once

namespace ecto_job {

// Releases all session-level advisory locks and takes the scheduler's own (again); ends the process
// if another scheduler has it. Called between sweeps, when losing the lock for a moment does no
// harm.
void take_singleton_lock();

// Releases all session-level advisory locks and takes the scheduler's own. Returns false if another
// scheduler has the lock.
bool try_singleton_lock();

// Releases all session-level advisory locks: another scheduler may take this one.
void release_advisory_locks();

} // namespace ecto_job
