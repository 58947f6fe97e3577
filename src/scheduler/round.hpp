// One round of a scheduler: notify for the queues that were rung, look at the registry if there is
// a reason, then give each due queue its turn.
#pragma once

#include "pg/pg.hpp"
#include "shared/mailbox.hpp"

namespace ecto_job {

// Once in a process, connected to its database.
void prepare_rounds();

struct RoundEnd {
    bool nothing_to_do; // no extension, no queue, or this database does not run: leave
    Hears hears;        // what may end the sleep
    TimestampTz next;   // when to do the next one, unless woken
};

// `look`: something changed, read the registry again.
RoundEnd run_round(int slot, bool look);

// Looks at the registry alone.
bool finds_work(int slot);

// The database is not to be scheduled any more; but what was rung is announced.
RoundEnd last_round(int slot);

} // namespace ecto_job
