// Locks that keep schedulers out of a database until the transaction that holds the lock ends.
//
// A command that needs a database for itself holds PostgreSQL's lock on the database object. Each
// new connection waits for that lock before other processes see the connection. stop_scheduler()
// holds a separate lock, for which no connection waits. The launcher starts no scheduler in a
// database while some session holds either lock.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Keeps schedulers, and no other connections, out of this database.
void lock_out_schedulers();

// Returns whether some session holds such a lock. Called within a transaction.
bool keeps_schedulers_out(Oid database);

} // namespace ecto_job
