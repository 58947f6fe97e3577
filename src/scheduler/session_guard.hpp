// The protection of the scheduler's session against code of the queues' owners, which runs in
// sweeps: such code must not change the session, and must not leave much behind in it.
//
// The security-restricted operation of a batch (queue/owner) forbids most of what changes a
// session, and the end of that operation reverts settings. The end of the batch's transaction frees
// what belongs to the transaction. These functions handle the rest.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Switches off the settings by which a session ends itself, and forbids code in a sweep to switch
// them on; once in a process.
void protect_session();

// Removes what a sweep may have left: advisory locks, values of sequences, and, when 50 queues were
// freed since the last time, PostgreSQL's caches. Outside of a transaction. Ends the process if
// another scheduler has taken the singleton lock (singleton_lock.hpp).
void clean_session();

// Bytes that stay allocated until the process ends.
struct Leftovers {
    Size settings; // of custom settings, which PostgreSQL never forgets
    // Of procedural languages and the like; not of PostgreSQL's caches, which clean_session()
    // empties now and then
    Size memory;
};

// Returns what is left behind in this process now.
Leftovers leftovers();

enum class Excess { none, settings, memory };

// Adds what a sweep has left to what other sweeps of this owner's queues have left in this process.
// Returns what exceeds its limit. `before`: leftovers() before the sweep.
Excess record_leftovers(Oid owner, const Leftovers &before);

} // namespace ecto_job
