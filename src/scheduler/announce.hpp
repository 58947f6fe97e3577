// Announcing: what commits have rung, and the notices that sweeps have kept, become notifications,
// in a transaction of their own.
//
// Nothing else depends on it. NOTIFY takes a lock of the whole cluster, which a commit that waits
// for a synchronous standby holds for as long, and can fail when its queue is full. So announcing
// has a time limit; what it could not send it tries to send again after a second, and meanwhile
// what is due is moved. The flags are cleared first, so that what is rung meanwhile is announced
// again, and set again if the transaction fails or its process ends. Called in a memory context
// that is soon reset.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Once in a process.
void prepare_rings();

// Announces what there is, unless the last try failed less than a second ago. True: nothing waits.
bool send_rings(int slot);

// True while what the last send_rings() found waits for the next try.
bool announcements_wait();

// When the next try is to be made; DT_NOEND: nothing waits.
TimestampTz next_announcement(TimestampTz now);

// After rings were sent: a pause in which more may gather, while nobody has to wake this process.
// 1 ms, and up to 4 while some come in each.
void gather_rings();

} // namespace ecto_job
