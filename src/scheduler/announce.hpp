// Announcing: a transaction of its own sends NOTIFY for the queues whose flags are set, because
// commits have made jobs AVAILABLE there, and for the notifications that sweeps have kept.
//
// NOTIFY takes a lock of the whole cluster. A commit that waits for a synchronous standby may hold
// the lock without end, and NOTIFY fails while the server's queue of notifications is full. So
// announcing has a time limit. What could not be sent is tried again after a pause of a second at
// most, and meanwhile sweeps go on. The flags are cleared before the transaction, so that a report
// during the transaction sets its flag anew; they are set again if the transaction fails or the
// process ends. Call these functions in a memory context that is soon reset.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers the callback that sets the flags again at the process's end; once in a process.
void prepare_announcing();

// Announces everything. Does nothing during the pause after a failed try. Returns false if
// announcements wait for the next try.
bool announce_pending(int slot);

// Returns whether announcements wait for the next try.
bool announcements_wait();

// Returns when the next try is to be made; DT_NOEND: nothing waits.
TimestampTz next_announcement(TimestampTz now);

// Pauses if announcements were sent since the last pause, so that the next announcement covers more
// commits: for 1 ms, and for up to 4 ms if every pause has seen new flags. During the pause a
// commit sets this process's latch, which costs no kernel signal; a set latch shows that flags were
// set.
void pause_after_announcing();

} // namespace ecto_job
