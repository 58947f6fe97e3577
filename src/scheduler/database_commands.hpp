// Commands that need a database for themselves. See database_commands.cpp.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Keeps schedulers out of the database that the command needs for itself, until the transaction
// ends. Called before any command. `at_top_level`: a client has sent the command; no function runs
// it.
void free_database_for(const Node *command, bool at_top_level);

} // namespace ecto_job
