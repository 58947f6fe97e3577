// The doorbell: how commits tell the scheduler what they did to a queue, so that it, and not they,
// sends the notification, and sweeps when the next job is due.
//
// NOTIFY takes one lock for the whole cluster at commit, for as long as the commit's flush lasts.
// Ringing sets a flag instead. It works only while a scheduler answers: a session asks before its
// commit, and sends its notifications itself if not. A scheduler that goes in between leaves the
// flag, and the next one finds it.
//
// Commits hold the lock of the shared state shared and the record's spinlock; the scheduler, before
// it sleeps, holds the first exclusively: so it either sees a ring or is woken by it.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// By a session, before its commit: will a scheduler send this queue's notifications at once?
bool is_answered(Oid queue);

// After its commit. Cannot fail.
void ring(const Change &change);

// As if everything had happened in every queue of this database: a prepared transaction was
// committed of which nothing is known.
void ring_all();

// By the scheduler.
void answer(int slot, bool answers);
// Returns the oids of rung queues, at most `size`, and clears their flags. `from` is where the walk
// over the database's records goes on: 0, at the beginning and after the end.
int take_rings(Oid *queues, int size, RecordNumber *from);
bool has_rings();                              // with the lock held
void ring_again(const Oid *queues, int count); // it failed to notify
// The earliest times that commits brought since the last call, merged into the record's own.
void take_times(QueueRecord *record);
// Why notifications cannot be sent, for the queues' status; null: they can.
void show_unannounced(int slot, const char *why);
// What ends its sleep besides a call: all; times alone, while notifying fails; rings alone, while
// it does not sweep; or, while neither can be done, nothing.
enum class Hears { all, times, rings, nothing };
// Until when to sleep, at most until `limit`; DT_NOBEGIN: not at all.
TimestampTz fall_asleep(int slot, TimestampTz limit, Hears hears);
void wake_up(int slot);

} // namespace ecto_job
