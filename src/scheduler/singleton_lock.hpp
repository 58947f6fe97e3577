// One scheduler in a database: the launcher asks for one, and a session-level advisory lock, of a
// class that SQL cannot take, makes sure of it whatever the launcher believes.
//
// That lock is the only advisory lock of the session. Code of a table's owner may have taken others
// during a sweep, which would stay for as long as the scheduler lives.
#pragma once

namespace ecto_job {

// Releases all session-level advisory locks and takes the scheduler's own (again); ends the process
// if another scheduler has it. Called between sweeps, when the lock guards nothing.
void take_singleton_lock();

// Does the same, but returns false if another scheduler has the lock.
bool try_singleton_lock();

// Releases the lock, with all others of its kind: another scheduler may take it.
void release_advisory_locks();

} // namespace ecto_job
