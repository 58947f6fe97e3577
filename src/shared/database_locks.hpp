// Locks that keep schedulers out of a database, until the transaction that holds one ends.
//
// A command that needs a database for itself holds PostgreSQL's lock on the database object, which
// every new connection waits for before others can see it there. stop_scheduler() holds a lock of
// ours beside that one, which no connection waits for. The launcher starts no scheduler in a
// database while somebody has either.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Keeps schedulers, and nobody else, out of this database.
void lock_out_schedulers();

// Returns whether a scheduler would have to wait for such a lock. Called within a transaction.
bool keeps_schedulers_out(Oid database);

} // namespace ecto_job
