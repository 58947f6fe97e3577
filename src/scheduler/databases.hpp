// Commands that need a database for themselves. See databases.cpp.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Before the command: no scheduler is in the database that it needs, until its transaction ends.
void make_room_for(const Node *command);

} // namespace ecto_job
