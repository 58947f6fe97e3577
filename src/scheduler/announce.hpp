// Announcing: a transaction of its own turns flags of queues, set by commits that made jobs
// AVAILABLE, and the notices that sweeps have kept, into notifications.
//
// NOTIFY takes a lock of the whole cluster, which a commit that waits for a synchronous standby
// holds for as long, and NOTIFY fails while its queue is full. So announcing has a time limit; what
// could not be sent is tried again after a second, and meanwhile sweeps go on. The flags are
// cleared before the transaction, so that what is reported during it is announced again, and are
// set again if the transaction fails or the process ends. Call these functions in a memory context
// that is soon reset.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers the callback that sets the flags again at the process's end; once in a process.
void prepare_announcing();

// Announces everything, unless the last try failed less than a second ago. Returns false if
// announcements wait for the next try.
bool announce_pending(int slot);

// Returns whether announcements wait for the next try.
bool announcements_wait();

// Returns when the next try is to be made; DT_NOEND: nothing waits.
TimestampTz next_announcement(TimestampTz now);

// Pauses after announcements, so that more may gather without a signal to this process: for 1 ms,
// and up to 4 ms while some come in each pause.
void gather_announcements();

} // namespace ecto_job
