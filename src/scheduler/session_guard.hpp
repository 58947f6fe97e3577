// The guard of the scheduler's session, in which code of the queues' owners runs: what such code
// must not change, and what it may leave behind.
//
// The security-restricted operation of a sweep (queue/owner) forbids most of it, its end reverts
// settings, and its transaction's end closes what belongs to a transaction.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Switches off the settings by which a session ends itself, and forbids code in a sweep to switch
// them on; once in a process.
void protect_session();

// Removes what a sweep may have left: advisory locks, values of sequences, and after sweeps of many
// queues PostgreSQL's caches. Outside of a transaction. Ends the process if another scheduler has
// the database: see singleton_lock.hpp.
void clean_session();

// Bytes that the process does not get back while it lives.
struct Leftovers {
    Size settings; // that no library has defined: PostgreSQL forgets none of them
    Size memory; // of procedural languages and the like; not PostgreSQL's caches, which are bounded
};

// Measures what is left behind now.
Leftovers leftovers();

enum class Excess { none, settings, memory };

// Adds what a sweep has left to what other sweeps of this owner's queues have left in this process.
// Returns what exceeds its limit. `before`: leftovers() before the sweep.
Excess record_leftovers(Oid owner, const Leftovers &before);

} // namespace ecto_job
