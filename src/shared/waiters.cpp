// The lists of sessions that wait, and this session's wake-up. See waiters.hpp.
#include "shared/waiters.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ecto_job {

namespace {

// The queues of this session, and the wake-ups for them that were taken and not dropped.
// stop_waiting() passes on what is left, or makes it `to_claim`
std::array<Oid, max_waited_queues> waits_for;
std::array<WakeUp, max_waited_queues> taken;
Size queue_count = 0; // 0: this session is in no list

Oid to_claim = InvalidOid; // the queue of a wake-up with which a wait has returned
// Set at the commit of the wait; the commit after it passes the wake-up on
bool wait_committed = false;

Waiter &waiter_at(WaiterNumber number) {
    Assert(number != 0);
    return shared_state()->waiters.by_process[(number - 1) / max_waited_queues];
}

WaiterPlace &place_at(WaiterNumber number) {
    return waiter_at(number).places[(number - 1) % max_waited_queues];
}

PGPROC *process_of(WaiterNumber number) {
    return &ProcGlobal->allProcs[(number - 1) / max_waited_queues];
}

// Returns the number of this session's place for its queue of this index.
WaiterNumber my_number(Size at) {
    const auto process = static_cast<Size>(MyProc - ProcGlobal->allProcs);
    Assert(process < shared_state()->waiters.by_process.size());
    return static_cast<WaiterNumber>(process * max_waited_queues + at + 1);
}

Waiter &myself() {
    return waiter_at(my_number(0));
}

WaiterList &list_of(Oid database, Oid queue) {
    return shared_state()->waiters.lists[hash_of(database, queue) % waiter_lists];
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

void append(WaiterNumber number, Oid queue) {
    WaiterList &list = list_of(MyDatabaseId, queue);
    place_at(number) = {.queue = queue, .previous = list.last};
    (list.last != 0 ? place_at(list.last).next : list.first) = number;
    list.last = number;
}

void remove(WaiterNumber number) {
    const WaiterPlace mine = std::exchange(place_at(number), WaiterPlace{});
    WaiterList &list = list_of(MyDatabaseId, mine.queue);
    (mine.previous != 0 ? place_at(mine.previous).next : list.first) = mine.next;
    (mine.next != 0 ? place_at(mine.next).previous : list.last) = mine.previous;
}

// Enters this session in the lists of its queues, all under one lock: tickets grow along each list.
void enter_lists() {
    const SharedLock lock(LW_EXCLUSIVE, shared_state()->waiters.lock);
    myself() = {.database = MyDatabaseId, .ticket = ++shared_state()->waiters.last_ticket};
    for (Size i = 0; i < queue_count; i++)
        append(my_number(i), waits_for[i]);
    pg_atomic_fetch_add_u32(&shared_state()->waiters.count, 1);
}

// A wake-up that was given and not taken, and the index of its queue
struct Given {
    WakeUp kind;
    Size at;
};

Given leave_lists(Size count) {
    const SharedLock lock(LW_EXCLUSIVE, shared_state()->waiters.lock);
    for (Size i = 0; i < count; i++)
        remove(my_number(i));
    const Waiter mine = std::exchange(myself(), Waiter{});
    pg_atomic_fetch_sub_u32(&shared_state()->waiters.count, 1);
    return {mine.woken, mine.woken_at};
}

// Returns the wake-up for this queue that was taken; null: this session does not wait for the
// queue.
WakeUp *taken_for(Oid queue) {
    for (Size i = 0; i < queue_count; i++)
        if (waits_for[i] == queue)
            return &taken[i];
    return nullptr;
}

// Sessions that have come after `behind`, up to `last`
struct Tickets {
    uint64 behind, last;
};

// Gives wake-ups to the first `size` sessions of the tickets for which is_concerned() is true,
// writes their numbers into `woken`, and moves the tickets behind them. Returns how many were
// woken.
template <typename F>
int give_wake_ups(const WaiterList &list, F is_concerned, WakeUp kind, Tickets *tickets,
                  WaiterNumber *woken, int size) {
    int count = 0;
    for (WaiterNumber at = list.first; at != 0 && count < size; at = place_at(at).next) {
        Waiter &waiter = waiter_at(at);
        if (waiter.woken != WakeUp::none || waiter.database != MyDatabaseId ||
            waiter.ticket <= tickets->behind || waiter.ticket > tickets->last ||
            !is_concerned(place_at(at)))
            continue;
        waiter.woken = kind;
        waiter.woken_at = static_cast<uint8>((at - 1) % max_waited_queues);
        tickets->behind = waiter.ticket;
        woken[count++] = at;
    }
    return count;
}

// Wakes at most `most` of the list's sessions for which is_concerned() is true. The latches are set
// without the lock, some dozens at a time, since each costs a signal. Each session is woken once
// in each list, and those that come meanwhile are not, so that the end of a transaction, which
// cannot be cancelled, comes to its end. A latch of a process that has ended meanwhile may be set,
// too.
template <typename F>
void wake_in(const WaiterList &list, F is_concerned, uint32 most, WakeUp kind) {
    WaiterNumber woken[64];
    Tickets tickets{0, 0};
    int count = 0;
    do {
        const int size = static_cast<int>(std::min<uint32>(most, lengthof(woken)));
        {
            const SharedLock lock(LW_EXCLUSIVE, shared_state()->waiters.lock);
            if (tickets.last == 0)
                tickets.last = shared_state()->waiters.last_ticket;
            count = give_wake_ups(list, is_concerned, kind, &tickets, woken, size);
        }
        for (int i = 0; i < count; i++)
            SetLatch(&process_of(woken[i])->procLatch);
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
    stop_waiting(InvalidOid);
    pass_on();
}

} // namespace

void wake(Oid queue, uint32 count, WakeUp kind) {
    if (count > 0 && anybody_waits())
        wake_in(
            list_of(MyDatabaseId, queue),
            [queue](const WaiterPlace &place) { return place.queue == queue; }, count, kind);
}

void wake_all() {
    if (!anybody_waits())
        return;
    for (const WaiterList &list : shared_state()->waiters.lists)
        wake_in(
            list, [](const WaiterPlace &) { return true; }, all_waiters, WakeUp::by_commit);
}

void start_waiting(std::span<const Oid> queues) {
    static bool has_callback = false;
    if (!is_state_shared())
        return;
    if (!has_callback)
        on_shmem_exit(at_exit, 0);
    has_callback = true;
    pass_on(); // the wake-up of an earlier wait in this transaction
    Assert(queue_count == 0 && !queues.empty() && queues.size() <= waits_for.size());
    std::copy(queues.begin(), queues.end(), waits_for.begin());
    taken.fill(WakeUp::none);
    queue_count = queues.size();
    enter_lists();
}

bool is_woken() {
    if (queue_count == 0)
        return false;
    const SharedLock lock(LW_SHARED, shared_state()->waiters.lock);
    return myself().woken != WakeUp::none;
}

void take_wake_up() {
    if (queue_count == 0)
        return;
    const SharedLock lock(LW_EXCLUSIVE, shared_state()->waiters.lock);
    WakeUp &mine = taken[myself().woken_at];
    mine = std::max(std::exchange(myself().woken, WakeUp::none), mine);
}

WakeUp taken_wake_up(Oid queue) {
    const WakeUp *const mine = taken_for(queue);
    return mine != nullptr ? *mine : WakeUp::none;
}

void drop_wake_up(Oid queue) {
    if (WakeUp *const mine = taken_for(queue))
        *mine = WakeUp::none;
}

void stop_waiting(Oid found) {
    if (queue_count == 0)
        return;
    const Size count = std::exchange(queue_count, 0);
    const Given another = leave_lists(count);
    for (Size i = 0; i < count; i++)
        if (taken[i] != WakeUp::none && waits_for[i] == found) {
            to_claim = found;
            wait_committed = false;
        } else if (taken[i] != WakeUp::none)
            wake(waits_for[i], 1, WakeUp::passed_on);
    if (another.kind != WakeUp::none)
        wake(waits_for[another.at], 1, another.kind);
}

void settle_wake_up(Oid queue) {
    if (to_claim == queue)
        to_claim = InvalidOid;
}

void end_transaction_of_waiter(bool committed) {
    if (!committed)
        stop_waiting(InvalidOid);
    if (committed && !std::exchange(wait_committed, true))
        return;
    pass_on();
}

} // namespace ecto_job
