// One round of a scheduler: notify for the queues that were rung, look at the registry if there is
// a reason, then give each due queue its turn.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Once in a process, connected to its database.
void prepare_rounds();

struct RoundEnd {
    bool nothing_to_do; // no extension, no queue, or this database does not run: leave
    bool deaf;          // notifying failed: not even a ring before that
    TimestampTz next;   // when to do the next one, unless woken
};

// `look`: something changed, read the registry again.
RoundEnd run_round(int slot, bool look);

} // namespace ecto_job
