// Which scheduler serves which database: the launcher allocates slots, and a scheduler attaches
// itself to its slot and detaches itself at its exit. SchedulerState in state.hpp has the states.
//
// A scheduler decides to leave and stops being scheduler_of() its database in one step, under the
// lock of the shared state. So a signal reaches either the scheduler, before that decision, or the
// launcher.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// For the launcher.

// Begins the generation of a new launcher and returns its number. Schedulers of former launchers
// leave.
uint64 begin_generation(Latch *launcher);
// Allocates a slot for a scheduler of the database. Returns -1 if no slot is free.
int allocate_slot(Oid database, uint64 generation);
// Frees the slot of a scheduler whose process has ended, or could not be started. Returns how the
// scheduler ended.
SchedulerEnd free_slot(int slot);
// Returns whether the scheduler stays: it is `working` or `outdated`.
bool has_found_work(int slot);
// Returns whether the database has a slot, of any launcher.
bool is_occupied(Oid database);

// For the scheduler in the slot.

// Attaches this process to its slot. Returns false if the slot was given to another scheduler
// meanwhile; this process then ends.
bool attach(int slot, Oid database, uint64 generation);
// Detaches this process at its exit; `in_sweep`: during the sweep of a queue. Returns whether the
// next scheduler must start at once, because there are queues to announce and this process did not
// fail while it started.
bool detach(int slot, bool in_sweep);
// Returns whether a session has requested, since the last call, that the registry is read again.
bool take_rescan_request(int slot);
// Returns whether the scheduler must leave: there is a newer launcher, or a session needs the
// database for itself.
bool must_leave(int slot);
// Records that the scheduler has found queues (`working`), or that the extension is newer than the
// library (`outdated`).
void set_state(int slot, SchedulerState state);
// Leaves, unless there is a request or an announcement. Returns whether it leaves.
bool try_to_leave(int slot);
void leave(int slot);

// For everybody, under the lock.

SchedulerSlot &slot_at(int slot);
// Returns the scheduler to be signalled for the database, which may not have started yet; null if
// there is none.
SchedulerSlot *scheduler_of(Oid database);
// Wakes the scheduler if it has started.
void set_latch_of(const SchedulerSlot &scheduler);
void signal_launcher();
// Returns whether this process is the scheduler.
inline bool is_this_process(const SchedulerSlot &scheduler) {
    return scheduler.latch == MyLatch;
}

} // namespace ecto_job
