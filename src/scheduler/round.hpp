// One round of a scheduler: look at the registry, then give each due queue its turn.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Once in a process, connected to its database.
void prepare_rounds();

struct RoundEnd {
    bool nothing_to_do; // no extension, no queue, or this database does not run: leave
    TimestampTz next;   // when to do the next one, unless woken
};

// `woken`: every queue is due, but those that failed and wait.
RoundEnd run_round(int slot, bool woken);

} // namespace ecto_job
