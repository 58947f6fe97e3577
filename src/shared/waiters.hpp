// The sessions that wait for a job of a queue, in the order in which they came, and the wake-ups
// that commits give them. A session may wait for several queues; it has one wake-up at a time.
//
// A commit that makes n jobs of a queue AVAILABLE gives a wake-up to the n sessions that have
// waited longest and have none. Why no wake-up is lost: a session enters itself here before it
// takes the snapshot in which it searches for a job, and a commit reads the list after its jobs
// have become visible. So a job is in the snapshot, or its commit finds the session. Whoever has a
// wake-up either finds no job, and the wake-up is done; or calls a function that claims jobs of the
// queue, and succeeds; or the wake-up is passed on to the next session: at the session's end, at
// the end of its next transaction if that has claimed nothing, or at once if the wait ends by an
// error, by its timeout or for another queue. A claim that is rolled back gives a wake-up for each
// of its jobs.
//
// A commit passes over sessions that have a wake-up already, even if for another queue. No job is
// lost by that: each of these sessions searches all its queues after it has taken its wake-up, and
// before it sleeps again. A wake-up is passed on in the queue for which it was given.
//
// Only a session that can claim every job of the queue enters itself. Others, such as one with the
// right SELECT alone or under a policy of row-level security, would take wake-ups that they cannot
// use; they search once a second.
//
// A lock of their own guards the lists. A commit that finds nobody waiting, in any database, takes
// no lock: it reads one number. Without preload there is no list, and sessions search once a
// second.
#pragma once

#include <span>

#include "shared/state.hpp"

namespace ecto_job {

// Called by commits and rollbacks. Cannot fail:

// A number of wake-ups that is enough for everybody who waits.
constexpr uint32 all_waiters = PG_UINT32_MAX;

// Gives wake-ups to as many sessions as wait for jobs of this database's queue, `count` at most.
// queue/pending_changes counts the jobs.
void wake(Oid queue, uint32 count, WakeUp kind = WakeUp::by_commit);

// Gives a wake-up to each session that waits in this database.
void wake_all();

// Called by a session that waits:

// Enters this session as the last one of each of the queues, 1 to max_waited_queues, none of them
// twice. An abort of its transaction, and the end of its process, take it out again. FATAL only at
// the first call, if the process has no place for another callback.
void start_waiting(std::span<const Oid> queues);

// Returns whether this session was given a wake-up and has not taken it yet.
bool is_woken();

// Takes this session's wake-up, if it was given one. Called before the snapshots of a search. The
// caller must search all queues before it sleeps again, since commits pass over a session that has
// a wake-up.
void take_wake_up();

// Returns the wake-up for this queue that was taken, now or by an earlier call.
WakeUp taken_wake_up(Oid queue);

// Drops the wake-up for this queue that was taken: a search that began later found no job.
void drop_wake_up(Oid queue);

// Takes this session out of the lists. `found`: the session returns to its client, who is expected
// to claim a job of this queue in the next transaction. The session's wake-ups for other queues are
// passed on; without `found` (InvalidOid), all of them. Cannot fail.
void stop_waiting(Oid found);

// Records that this session has claimed jobs of the queue, or found none, so that its wake-up has
// served its purpose.
void settle_wake_up(Oid queue);

// Passes on, at the end of a transaction, the wake-up of a session that did not claim. See
// transaction_end.cpp. Cannot fail.
void end_transaction_of_waiter(bool committed);

} // namespace ecto_job
