// Which scheduler serves which database: the launcher allocates slots, a scheduler attaches itself
// to its own and leaves it. See SchedulerState in state.hpp for the states of a slot.
//
// A scheduler decides to leave and stops being scheduler_of() its database in one step, under the
// lock of the shared state. So a signal reaches either the scheduler, before it decides, or the
// launcher.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// For the launcher.

// Begins the time of a new launcher, whose number is returned: what a former one has started
// leaves.
uint64 begin_generation(Latch *launcher);
// Returns -1 if no slot is free.
int allocate_slot(Oid database, uint64 generation);
// Frees the slot of a scheduler whose process has ended, or could not be started.
SchedulerEnd free_slot(int slot);
// Returns whether the scheduler has found queues in its database, able to serve them or not.
bool has_found_work(int slot);
// Returns whether a scheduler of any launcher is in the database, or about to be.
bool is_occupied(Oid database);

// For the scheduler in the slot.

// Returns false if the slot was given to another meanwhile: this process is to end.
bool attach(int slot, Oid database, uint64 generation);
// Called at the process's exit, within a sweep of a queue or not. Returns whether the next
// scheduler should start without delay: there is something to announce, and it was no fault in our
// start that has ended us.
bool detach(int slot, bool in_sweep);
// Returns whether the scheduler was asked since the last call to look at everything again.
bool take_rescan_request(int slot);
// Returns whether there is another launcher, or a session needs the database for itself.
bool must_leave(int slot);
void set_working(int slot, bool outdated);
// Returns false if there is something to do after all.
bool try_to_leave(int slot);
void leave(int slot);

// For everybody, under the lock.

SchedulerSlot &slot_at(int slot);
// Returns the scheduler that is to be signalled of what happens in the database, which may not have
// started yet; null if there is none.
SchedulerSlot *scheduler_of(Oid database);
// Wakes the scheduler if it has started; it reads its flags.
void set_latch_of(const SchedulerSlot &scheduler);
void signal_launcher();
// Returns whether this process is the scheduler.
inline bool is_this_process(const SchedulerSlot &scheduler) {
    return scheduler.latch == MyLatch;
}

} // namespace ecto_job
