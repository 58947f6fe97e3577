// The distinction between our transitions and the statements of EctoJob's library on one table.
//
// Both leave the lease unchanged when they start a reserved job: our transition, since its holder
// keeps the lease, and the library's statement, since the library knows no leases. The row does not
// show whose statement it was, so the session remembers the table of our transition.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Executes the plan of a transition on the table; returns what SPI_execute_plan returns.
int execute_own_statement(Oid table, SPIPlanPtr plan, Datum *values, const char *nulls);

// Returns whether a transition of ours is changing the table's rows.
bool is_own_statement(Oid table);

} // namespace ecto_job
