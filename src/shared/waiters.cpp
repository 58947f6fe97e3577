// The lists of sessions that wait, and this session's wake-up. See waiters.hpp.
#include "shared/waiters.hpp"

#include <algorithm>
#include <utility>

namespace ecto_job {

namespace {

Oid waits_for = InvalidOid;    // this session is in the list; InvalidOid: it is not
WakeUp wake_up = WakeUp::none; // taken from the list, and not dropped, settled or passed on
Oid to_claim = InvalidOid;     // the queue of a wake-up with which a wait has returned
bool wait_has_ended = false;   // to_claim: and so has the transaction in which it returned

class WaitersLock {
public:
    explicit WaitersLock(LWLockMode mode) { LWLockAcquire(shared_state()->waiters.lock, mode); }
    ~WaitersLock() { LWLockRelease(shared_state()->waiters.lock); }
    WaitersLock(const WaitersLock &) = delete;
    WaitersLock &operator=(const WaitersLock &) = delete;
};

Waiter &waiter_at(WaiterNumber number) {
    Assert(number != 0);
    return shared_state()->waiters.by_process[number - 1];
}

WaiterNumber my_number() {
    const auto index = static_cast<Size>(MyProc - ProcGlobal->allProcs);
    Assert(index < shared_state()->waiters.by_process.size());
    return static_cast<WaiterNumber>(index + 1);
}

WaiterList &list_of(Oid database, Oid queue) {
    const uint32 hash = hash_combine(murmurhash32(database), murmurhash32(queue));
    return shared_state()->waiters.lists[hash % waiter_lists];
}

// Returns whether any session waits. The barrier is between the end of the commit and the reading
// of the number; the lock under which a session enters itself is between the writing of the number
// and the session's snapshot. So the commit sees the session, or the session sees the jobs.
bool anybody_waits() {
    if (shared_state() == nullptr)
        return false;
    pg_memory_barrier();
    return pg_atomic_read_u32(&shared_state()->waiters.count) > 0;
}

void append(Oid queue) {
    const WaitersLock lock(LW_EXCLUSIVE);
    const WaiterNumber number = my_number();
    WaiterList &list = list_of(MyDatabaseId, queue);
    waiter_at(number) = {.database = MyDatabaseId,
                         .queue = queue,
                         .ticket = ++shared_state()->waiters.last_ticket,
                         .previous = list.last};
    (list.last != 0 ? waiter_at(list.last).next : list.first) = number;
    list.last = number;
    pg_atomic_fetch_add_u32(&shared_state()->waiters.count, 1);
}

// Removes this session from its list, and returns the wake-up that it has not taken.
WakeUp remove() {
    const WaitersLock lock(LW_EXCLUSIVE);
    const Waiter mine = std::exchange(waiter_at(my_number()), Waiter{});
    WaiterList &list = list_of(mine.database, mine.queue);
    (mine.previous != 0 ? waiter_at(mine.previous).next : list.first) = mine.next;
    (mine.next != 0 ? waiter_at(mine.next).previous : list.last) = mine.previous;
    pg_atomic_fetch_sub_u32(&shared_state()->waiters.count, 1);
    return mine.woken;
}

// Sessions that have come after `behind`, up to `last`
struct Tickets {
    uint64 behind, last;
};

// Gives wake-ups to the first `size` sessions of the tickets for which is_concerned() is true,
// writes their numbers into `woken`, and moves the tickets behind them. Returns how many there
// were.
template <typename F>
int give_wake_ups(const WaiterList &list, F is_concerned, WakeUp kind, Tickets *tickets,
                  WaiterNumber *woken, int size) {
    int count = 0;
    for (WaiterNumber at = list.first; at != 0 && count < size; at = waiter_at(at).next) {
        Waiter &waiter = waiter_at(at);
        if (waiter.woken != WakeUp::none || waiter.database != MyDatabaseId ||
            waiter.ticket <= tickets->behind || waiter.ticket > tickets->last ||
            !is_concerned(waiter))
            continue;
        waiter.woken = kind;
        tickets->behind = waiter.ticket;
        woken[count++] = at;
    }
    return count;
}

// Wakes at most `most` of the list's sessions for which is_concerned() is true. The latches are set
// without the lock, some dozens at a time, since each costs a signal. Each session is woken once,
// and those that come meanwhile are not, so that the end of a transaction, which cannot be
// cancelled, comes to its end. A latch of a process that has ended meanwhile may be set, too.
template <typename F>
void wake_in(const WaiterList &list, F is_concerned, uint32 most, WakeUp kind) {
    WaiterNumber woken[64];
    Tickets tickets{0, 0};
    int count = 0;
    do {
        const int size = static_cast<int>(std::min<uint32>(most, lengthof(woken)));
        {
            const WaitersLock lock(LW_EXCLUSIVE);
            if (tickets.last == 0)
                tickets.last = shared_state()->waiters.last_ticket;
            count = give_wake_ups(list, is_concerned, kind, &tickets, woken, size);
        }
        for (int i = 0; i < count; i++)
            SetLatch(&ProcGlobal->allProcs[woken[i] - 1].procLatch);
        most -= static_cast<uint32>(count);
    } while (count == static_cast<int>(lengthof(woken)) && most > 0);
}

// Passes on the wake-up with which a wait has returned, unless a claim has settled it.
void pass_on() {
    if (OidIsValid(to_claim))
        wake(std::exchange(to_claim, InvalidOid), 1, WakeUp::passed_on);
}

// Not before_shmem_exit: by then the transaction may still hold its locks.
void at_exit(int, Datum) {
    stop_waiting(false);
    pass_on();
}

} // namespace

void wake(Oid queue, uint32 count, WakeUp kind) {
    if (count > 0 && anybody_waits())
        wake_in(
            list_of(MyDatabaseId, queue),
            [queue](const Waiter &waiter) { return waiter.queue == queue; }, count, kind);
}

void wake_all() {
    if (!anybody_waits())
        return;
    for (const WaiterList &list : shared_state()->waiters.lists)
        wake_in(
            list, [](const Waiter &) { return true; }, all_waiters, WakeUp::by_commit);
}

void start_waiting(Oid queue) {
    static bool has_callback = false;
    if (!is_state_shared())
        return;
    if (!has_callback)
        on_shmem_exit(at_exit, 0);
    has_callback = true;
    pass_on(); // of a wait that has returned in this transaction
    Assert(!OidIsValid(waits_for) && wake_up == WakeUp::none);
    waits_for = queue;
    append(queue);
}

bool is_woken() {
    if (!OidIsValid(waits_for))
        return false;
    const WaitersLock lock(LW_SHARED);
    return waiter_at(my_number()).woken != WakeUp::none;
}

WakeUp take_wake_up() {
    if (!OidIsValid(waits_for))
        return WakeUp::none;
    const WaitersLock lock(LW_EXCLUSIVE);
    wake_up = std::max(std::exchange(waiter_at(my_number()).woken, WakeUp::none), wake_up);
    return wake_up;
}

void drop_wake_up() {
    wake_up = WakeUp::none;
}

void stop_waiting(bool found) {
    if (!OidIsValid(waits_for))
        return;
    const Oid queue = std::exchange(waits_for, InvalidOid);
    const bool had_one = std::exchange(wake_up, WakeUp::none) != WakeUp::none;
    const WakeUp another = remove();
    if (had_one && found) {
        to_claim = queue;
        wait_has_ended = false;
    }
    wake(queue, had_one && !found ? 1 : 0, WakeUp::passed_on);
    wake(queue, another != WakeUp::none ? 1 : 0, another);
}

void settle_wake_up(Oid queue) {
    if (to_claim == queue)
        to_claim = InvalidOid;
}

void end_transaction_of_waiter(bool committed) {
    if (!committed)
        stop_waiting(false);
    if (committed && !std::exchange(wait_has_ended, true))
        return;
    pass_on();
}

} // namespace ecto_job
