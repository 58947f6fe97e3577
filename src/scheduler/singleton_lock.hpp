// One scheduler in a database: the launcher asks for one, and a session-level advisory lock, of a
// class that SQL cannot take, makes sure of it whatever the launcher believes.
//
// That lock is the only advisory lock of the session. Code of a table's owner may have taken others
// during a turn, which would stay for as long as the scheduler lives.
#pragma once

namespace ecto_job {

// Lets go of all session-level advisory locks and takes the scheduler's own (again); ends the
// process if another scheduler has it. Called between turns, when being the only one guards
// nothing.
void be_the_only_one();

// The same, but who comes second is told.
bool try_to_be_the_only_one();

// Another may take our place, until we try to have it again.
void give_way();

} // namespace ecto_job
