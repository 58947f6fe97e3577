// The slots of the schedulers. See scheduler_slots.hpp.
#include "shared/scheduler_slots.hpp"

#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

SchedulerSlot &slot_at(int slot) {
    return segment()->schedulers[slot];
}

} // namespace

uint64 new_generation(Latch *launcher) {
    Segment &shared = *segment();
    lock_segment(LW_EXCLUSIVE);
    shared.launcher = launcher;
    shared.told_all = true;
    const uint64 generation = ++shared.generation;
    for (int i = 0; i < shared.scheduler_count; i++) {
        SchedulerSlot &slot = shared.schedulers[i];
        if (slot.latch != nullptr)
            SetLatch(slot.latch);
        else
            slot.database = InvalidOid; // the one that may start for it finds it gone, and leaves
    }
    unlock_segment();
    return generation;
}

int hand_out_slot(Oid database, uint64 generation) {
    Segment &shared = *segment();
    int found = -1;
    lock_segment(LW_EXCLUSIVE);
    for (int i = 0; i < shared.scheduler_count && found < 0; i++)
        if (!OidIsValid(shared.schedulers[i].database)) {
            shared.schedulers[i] = SchedulerSlot{};
            shared.schedulers[i].database = database;
            shared.schedulers[i].generation = generation;
            found = i;
        }
    unlock_segment();
    return found;
}

Ended take_back_slot(int slot) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &ended_one = slot_at(slot);
    // One that was asked to leave, and was terminated because it did not, is not missed
    const Ended ended = ended_one.left || ended_one.dismissed ? Ended::left
                        : ended_one.died                      ? Ended::died_in_turn
                                                              : Ended::failed;
    ended_one.database = InvalidOid;
    unlock_segment();
    return ended;
}

bool is_settled(int slot) {
    lock_segment(LW_SHARED);
    const bool settled = slot_at(slot).settled;
    unlock_segment();
    return settled;
}

bool is_occupied(Oid database) {
    const Segment &shared = *segment();
    bool occupied = false;
    lock_segment(LW_SHARED);
    for (int i = 0; i < shared.scheduler_count; i++)
        occupied = occupied || shared.schedulers[i].database == database;
    unlock_segment();
    return occupied;
}

bool attach(int slot, Oid database, uint64 generation) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    const bool valid = mine.database == database && mine.generation == generation &&
                       generation == segment()->generation && mine.pid == 0;
    if (valid) {
        mine.pid = MyProcPid;
        mine.latch = MyLatch;
    }
    unlock_segment();
    return valid;
}

bool detach(int slot, bool in_turn) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    mine.pid = 0;
    mine.latch = nullptr;
    mine.ended = true;
    mine.died = in_turn;
    const bool leaves_rings = mine.settled && has_announcements();
    if (mine.generation != segment()->generation)
        mine.database = InvalidOid; // its launcher is gone: nobody takes it back
    unlock_segment();
    return leaves_rings;
}

bool take_call(int slot) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    const bool woken = mine.woken;
    mine.woken = false;
    unlock_segment();
    return woken;
}

bool is_dismissed(int slot) {
    lock_segment(LW_SHARED);
    const SchedulerSlot &mine = slot_at(slot);
    const bool dismissed = mine.generation != segment()->generation || mine.dismissed;
    unlock_segment();
    return dismissed;
}

void settle(int slot, bool outdated) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    mine.outdated = outdated;
    if (!mine.settled)
        wake_launcher();
    mine.settled = true;
    unlock_segment();
}

bool try_to_leave(int slot) {
    lock_segment(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    const bool leaving = !mine.woken && !has_announcements();
    if (leaving)
        mine.left = true;
    unlock_segment();
    return leaving;
}

void leave(int slot) {
    lock_segment(LW_EXCLUSIVE);
    slot_at(slot).left = true;
    unlock_segment();
}

SchedulerSlot *scheduler_of(Oid database) {
    assert_locked();
    Segment &shared = *segment();
    for (int i = 0; i < shared.scheduler_count; i++) {
        SchedulerSlot &slot = shared.schedulers[i];
        if (slot.database == database && slot.generation == shared.generation && !slot.left &&
            !slot.ended)
            return &slot;
    }
    return nullptr;
}

void wake_launcher() {
    assert_locked_exclusively();
    if (segment()->launcher != nullptr)
        SetLatch(segment()->launcher);
}

} // namespace ecto_job
