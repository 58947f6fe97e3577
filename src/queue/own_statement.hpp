// Telling our own transitions from the statements of EctoJob's library on the same table.
//
// Both leave a lease as it is when they start a reserved job: ours since its holder goes on under
// it, the library's since it knows of none. No row says which it was, so the session does.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Executes the plan of a transition on the table; returns what SPI_execute_plan returns.
int execute_own_statement(Oid table, SPIPlanPtr plan, Datum *values, const char *nulls);

// Returns whether a transition of ours is changing the table's rows.
bool is_own_statement(Oid table);

} // namespace ecto_job
