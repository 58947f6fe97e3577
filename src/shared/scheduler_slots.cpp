// The slots of the schedulers, and every change of their state. See scheduler_slots.hpp.
#include "shared/scheduler_slots.hpp"

#include <utility>

#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

bool is_attached(const SchedulerSlot &slot) {
    return slot.state >= SchedulerState::connecting && slot.state <= SchedulerState::leaving;
}

// The arrows of the drawing in state.hpp
[[maybe_unused]] bool may_become(const SchedulerSlot &slot, SchedulerState to) {
    using enum SchedulerState;
    const SchedulerState from = slot.state;
    switch (to) {
    case free:
        return from == requested || from == ended;
    case requested:
        return from == free;
    case connecting:
        return from == requested;
    case working:
    case outdated:
    case leaving:
        return from == connecting || from == working || from == outdated;
    case ended:
        return is_attached(slot);
    }
    return false;
}

void move(SchedulerSlot &slot, SchedulerState to) {
    assert_locked_exclusively();
    Assert(may_become(slot, to));
    slot.state = to;
    Assert(is_attached(slot) == (slot.latch != nullptr));
}

} // namespace

uint64 begin_generation(Latch *launcher) {
    const SharedLock lock(LW_EXCLUSIVE);
    LauncherState &state = shared_state()->launcher;
    state.latch = launcher;
    state.requests.start_all = true;
    for (SchedulerSlot &slot : shared_state()->schedulers)
        if (is_attached(slot))
            set_latch_of(slot);
        else if (slot.state != SchedulerState::free)
            move(slot, SchedulerState::free); // a process that still starts for it will not attach
    return ++state.generation;
}

int allocate_slot(Oid database, uint64 generation) {
    const SharedLock lock(LW_EXCLUSIVE);
    for (int i = 0; i < static_cast<int>(shared_state()->schedulers.size()); i++) {
        SchedulerSlot &slot = slot_at(i);
        if (slot.state != SchedulerState::free)
            continue;
        slot = SchedulerSlot{.database = database, .generation = generation};
        move(slot, SchedulerState::requested);
        return i;
    }
    return -1;
}

SchedulerEnd free_slot(int slot) {
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &ended = slot_at(slot);
    move(ended, SchedulerState::free);
    // A scheduler that was terminated because it did not leave counts as having left
    return ended.asked_to_leave ? SchedulerEnd::left : ended.end;
}

bool has_found_work(int slot) {
    const SharedLock lock(LW_SHARED);
    const SchedulerState state = slot_at(slot).state;
    return state == SchedulerState::working || state == SchedulerState::outdated;
}

bool is_occupied(Oid database) {
    const SharedLock lock(LW_SHARED);
    for (const SchedulerSlot &slot : shared_state()->schedulers)
        if (slot.state != SchedulerState::free && slot.database == database)
            return true;
    return false;
}

bool attach(int slot, Oid database, uint64 generation) {
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    if (mine.state != SchedulerState::requested || mine.database != database ||
        mine.generation != generation || generation != shared_state()->launcher.generation)
        return false;
    mine.latch = MyLatch;
    move(mine, SchedulerState::connecting);
    return true;
}

bool detach(int slot, bool in_sweep) {
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    const bool leaves_announcements =
        mine.state != SchedulerState::connecting && has_announcements();
    mine.end = mine.state == SchedulerState::leaving ? SchedulerEnd::left
               : in_sweep                            ? SchedulerEnd::died_in_sweep
                                                     : SchedulerEnd::failed;
    mine.latch = nullptr;
    move(mine, SchedulerState::ended);
    if (mine.generation != shared_state()->launcher.generation)
        move(mine, SchedulerState::free); // its launcher is gone
    return leaves_announcements;
}

bool take_rescan_request(int slot) {
    const SharedLock lock(LW_EXCLUSIVE);
    return std::exchange(slot_at(slot).rescan, false);
}

bool must_leave(int slot) {
    const SharedLock lock(LW_SHARED);
    const SchedulerSlot &mine = slot_at(slot);
    return mine.generation != shared_state()->launcher.generation || mine.asked_to_leave;
}

void set_state(int slot, SchedulerState state) {
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    if (mine.state == SchedulerState::connecting)
        signal_launcher(); // which starts one at a time
    move(mine, state);
}

bool try_to_leave(int slot) {
    const SharedLock lock(LW_EXCLUSIVE);
    SchedulerSlot &mine = slot_at(slot);
    if (mine.rescan || has_announcements())
        return false;
    move(mine, SchedulerState::leaving);
    return true;
}

void leave(int slot) {
    const SharedLock lock(LW_EXCLUSIVE);
    move(slot_at(slot), SchedulerState::leaving);
}

SchedulerSlot &slot_at(int slot) {
    assert_locked();
    Assert(slot >= 0 && static_cast<Size>(slot) < shared_state()->schedulers.size());
    return shared_state()->schedulers[static_cast<Size>(slot)];
}

SchedulerSlot *scheduler_of(Oid database) {
    assert_locked();
    for (SchedulerSlot &slot : shared_state()->schedulers)
        if (slot.state >= SchedulerState::requested && slot.state <= SchedulerState::outdated &&
            slot.database == database && slot.generation == shared_state()->launcher.generation)
            return &slot;
    return nullptr;
}

void set_latch_of(const SchedulerSlot &scheduler) {
    assert_locked();
    if (scheduler.latch != nullptr)
        SetLatch(scheduler.latch);
}

void signal_launcher() {
    assert_locked_exclusively();
    if (shared_state()->launcher.latch != nullptr)
        SetLatch(shared_state()->launcher.latch);
}

} // namespace ecto_job
