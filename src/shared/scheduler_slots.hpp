// Who schedules which database: the launcher hands out slots, a scheduler attaches to its own and
// leaves it. Guarded by the segment's lock.
//
// "Attached" is decided under that lock in one step with leaving, so that a wake-up reaches either
// the scheduler, before it has decided to leave, or the launcher.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

enum class Ended { left, died_in_turn, failed };

// By the launcher.
uint64 new_generation(Latch *launcher);
int hand_out_slot(Oid database, uint64 generation); // -1: none is free
Ended take_back_slot(int slot);
bool is_settled(int slot);
// Returns whether a scheduler of any launcher is in the database, or about to be
bool is_occupied(Oid database);

// By the scheduler.
bool attach(int slot, Oid database, uint64 generation);
// At its exit, in a queue's turn or not. True: there are rings for the next one, and it is no fault
// in our start that ends us, so that one may begin at once.
bool detach(int slot, bool in_turn);
bool take_call(int slot);    // something changed: look at everything again
bool is_dismissed(int slot); // another launcher, or a session that needs the database
void settle(int slot, bool outdated);
bool try_to_leave(int slot); // false: it was woken in the meantime
void leave(int slot);        // dismissed

// By anybody, with the lock held.
SchedulerSlot *scheduler_of(Oid database);
void wake_launcher();

} // namespace ecto_job
