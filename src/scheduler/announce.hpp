// Announcing: what commits have reported AVAILABLE, and the notices that sweeps have kept, become
// notifications, in a transaction of their own.
//
// Nothing else depends on it. NOTIFY takes a lock of the whole cluster, which a commit that waits
// for a synchronous standby holds for as long, and can fail when its queue is full. So announcing
// has a time limit; what could not be sent is tried again after a second, and meanwhile what is due
// is moved. The flags are cleared first, so that what is reported meanwhile is announced again, and
// set again if the transaction fails or its process ends. Called in a memory context that is soon
// reset.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers what puts the flags back at the process's end; once in a process.
void prepare_announcing();

// Announces what there is, unless the last try failed less than a second ago. Returns whether
// nothing waits.
bool announce_pending(int slot);

// Returns whether what the last announce_pending() found waits for the next try.
bool announcements_wait();

// Returns when the next try is to be made; DT_NOEND: nothing waits.
TimestampTz next_announcement(TimestampTz now);

// Pauses after announcements, so that more may gather while nobody has to wake this process: for 1
// ms, and up to 4 while some come in each pause.
void gather_announcements();

} // namespace ecto_job
