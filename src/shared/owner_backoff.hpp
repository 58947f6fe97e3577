// Which owners of queues back off because their code has ended the scheduler, and until when. Kept
// in shared memory, since the process that finds out ends.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Counts the end of a scheduler in a sweep of this owner's queue. Cannot fail.
void back_off_owner(Oid owner);

struct BackedOffOwner {
    Oid owner;
    TimestampTz until;
};
// Writes the owners that back off in this database, at most max_owner_backoffs; returns their
// number.
int read_backed_off_owners(BackedOffOwner *waiting, TimestampTz now);

} // namespace ecto_job
