// Entering and removal of session numbers. See session_leases.hpp.
#include "shared/session_leases.hpp"

#include <algorithm>

#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

// How far into a queue this session has claimed. An entry stays until the session ends, since other
// sessions may complete its jobs, and so nobody knows when it holds none.
struct Claimed {
    Oid queue;
    JobKey highest;
    Claimed *next;
};

uint32 my_number = 0;
Claimed *claimed = nullptr; // in TopMemoryContext

uint32 &my_entry() {
    assert_locked_exclusively();
    const std::span<uint32> numbers = shared_state()->sessions.numbers;
    const auto index = static_cast<Size>(MyProc - ProcGlobal->allProcs);
    Assert(index < numbers.size()); // prepared transactions come after the processes
    return numbers[index];
}

bool is_listed(int64 number) {
    const std::span<uint32> numbers = shared_state()->sessions.numbers;
    return std::ranges::find(numbers, number) != numbers.end();
}

// Cannot fail. Without a scheduler nobody is signalled: the next scheduler searches all queues.
void at_exit(int, Datum) {
    Assert(!IsTransactionState());
    {
        const SharedLock lock(LW_EXCLUSIVE);
        Assert(my_entry() == my_number);
        my_entry() = 0;
    }
    for (const Claimed *queue = claimed; queue != nullptr; queue = queue->next)
        report({.queue = queue->queue, .report = {.orphaned_up_to = queue->highest}});
}

// Returns a number that no live session has: after four billion sessions the first may still live.
uint32 next_number(uint32 beginning) {
    assert_locked_exclusively();
    uint32 &last = shared_state()->sessions.last;
    if (last == 0)
        last = beginning;
    do
        last++;
    while (last == 0 || is_listed(last));
    return last;
}

} // namespace

uint32 session_number() {
    if (my_number != 0 || !is_state_shared())
        return my_number;
    uint32 beginning = 0;
    if (!pg_strong_random(&beginning, sizeof beginning))
        ereport(ERROR, (errmsg("could not draw a random session number")));
    // Not before_shmem_exit: by then the transaction may still hold its locks
    on_shmem_exit(at_exit, 0);
    const SharedLock lock(LW_EXCLUSIVE);
    Assert(my_entry() == 0);
    return my_number = my_entry() = next_number(beginning);
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

bool is_live_session(int64 number) {
    const SharedLock lock(LW_SHARED);
    return is_listed(number);
}

int pid_of_session(uint32 number) {
    if (number == 0 || !is_state_shared()) // 0 stands at every process without a number
        return 0;
    const SharedLock lock(LW_SHARED);
    const std::span<uint32> numbers = shared_state()->sessions.numbers;
    const auto found = std::ranges::find(numbers, number);
    return found != numbers.end() ? ProcGlobal->allProcs[found - numbers.begin()].pid : 0;
}

} // namespace ecto_job
