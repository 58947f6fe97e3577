// Entering and leaving. See sessions.hpp.
#include "shared/sessions.hpp"

#include <algorithm>

#include "shared/queue_records.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

// How far into a queue this session has claimed. Nothing tells when it holds no more of it, since
// its jobs may be completed by other sessions, so this stays for as long as the session.
struct Claimed {
    Oid queue;
    JobKey highest;
    Claimed *next;
};

uint32 my_number = 0;
Claimed *claimed = nullptr; // in TopMemoryContext

uint32 &my_entry() {
    return segment()->sessions[MyProc - ProcGlobal->allProcs];
}

bool is_living(uint32 number) {
    for (int i = 0; i < segment()->session_count; i++)
        if (segment()->sessions[i] == number)
            return true;
    return false;
}

// With the lock held
void note_orphans(Oid queue, const JobKey &key) {
    assert_locked();
    QueueRecord *const record = find_record(queue);
    if (record == nullptr)
        return;
    SpinLockAcquire(&record->mutex);
    JobKey &up_to = record->mailbox.report.orphaned_up_to;
    up_to = std::max(up_to, key);
    SpinLockRelease(&record->mutex);
    const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    if (scheduler != nullptr && scheduler->latch != nullptr)
        SetLatch(scheduler->latch);
}

// Cannot fail. Without a scheduler nobody hears it: the next one begins with a look at all queues.
void at_exit(int, Datum) {
    lock_segment(LW_EXCLUSIVE);
    my_entry() = 0;
    for (const Claimed *queue = claimed; queue != nullptr; queue = queue->next)
        note_orphans(queue->queue, queue->highest);
    unlock_segment();
}

uint32 random_number() {
    uint32 number = 0;
    if (!pg_strong_random(&number, sizeof number))
        ereport(ERROR, (errmsg("could not draw a random lease")));
    return number;
}

// With the lock held. After four billion sessions the first may still be there
uint32 next_number(uint32 beginning) {
    assert_locked_exclusively();
    uint32 &last = segment()->last_session;
    if (last == 0)
        last = beginning;
    do
        last++;
    while (last == 0 || is_living(last));
    return last;
}

} // namespace

uint32 bind_session() {
    if (my_number != 0 || !is_segment_shared())
        return my_number;
    const uint32 beginning = random_number();
    // Not before_shmem_exit: by then the transaction may still hold its locks
    on_shmem_exit(at_exit, 0);
    lock_segment(LW_EXCLUSIVE);
    my_number = my_entry() = next_number(beginning);
    unlock_segment();
    return my_number;
}

void remember_claim(Oid queue, const JobKey &key) {
    for (Claimed *known = claimed; known != nullptr; known = known->next)
        if (known->queue == queue) {
            known->highest = std::max(known->highest, key);
            return;
        }
    auto *const first =
        static_cast<Claimed *>(MemoryContextAlloc(TopMemoryContext, sizeof(Claimed)));
    *first = Claimed{queue, key, claimed};
    claimed = first;
}

int living_sessions(int64 *numbers) {
    int count = 0;
    lock_segment(LW_SHARED);
    for (int i = 0; i < segment()->session_count; i++)
        if (const uint32 number = segment()->sessions[i]; number != 0)
            numbers[count++] = number;
    unlock_segment();
    return count;
}

int max_sessions() {
    return segment()->session_count;
}

void report_orphans(Oid queue, const JobKey &key) {
    if (segment() == nullptr)
        return;
    lock_segment(LW_SHARED);
    note_orphans(queue, key);
    unlock_segment();
}

} // namespace ecto_job
