// How often code of a queues' owner has ended the scheduler, and until when that owner's queues
// wait for it. In shared memory, since the process that knows it ends.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Counts that a scheduler has ended in a sweep of a queue of this owner. Cannot fail.
void back_off_owner(Oid owner);

struct BackedOffOwner {
    Oid owner;
    TimestampTz until;
};
// Copies the owners of this database that wait, at most max_owner_backoffs; returns how many.
int read_backed_off_owners(BackedOffOwner *waiting, TimestampTz now);

} // namespace ecto_job
