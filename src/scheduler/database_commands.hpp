// Commands that need a database for themselves. See database_commands.cpp.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Called before any command: keeps schedulers out of the database that the command needs for
// itself, until its transaction ends. `at_top_level`: a client has sent the command, and no
// function runs it.
void make_room_for(const Node *command, bool at_top_level);

} // namespace ecto_job
