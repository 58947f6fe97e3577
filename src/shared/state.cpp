// Request and set-up of the shared memory. See state.hpp.
#include "shared/state.hpp"

#include <memory>
#include <sys/mman.h>

#include "server_settings.hpp"

namespace ecto_job {

namespace {

constexpr const char *memory_name = "ecto_job";

SharedState *the_state = nullptr;
bool shared = false;
shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;

template <typename T> Size size_of(int count) {
    return MAXALIGN(mul_size(static_cast<Size>(count), sizeof(T)));
}

Size memory_size() {
    Size size = size_of<SharedState>(1);
    for (const Size part :
         {size_of<SchedulerSlot>(max_worker_processes), size_of<QueueRecord>(settings::max_queues),
          size_of<PreparedNote>(max_prepared_xacts), size_of<uint32>(MaxBackends),
          size_of<Waiter>(MaxBackends)})
        size = add_size(size, part);
    return size;
}

void request_memory() {
    if (next_request != nullptr)
        next_request();
    RequestAddinShmemSpace(memory_size());
    RequestNamedLWLockTranche(memory_name, 2);
}

// Takes the next part of the memory, for `count` elements that hold their default values.
template <typename T> std::span<T> part_of(char **memory, int count) {
    auto *const first = reinterpret_cast<T *>(*memory);
    *memory += size_of<T>(count);
    std::uninitialized_value_construct_n(first, count);
    return {first, static_cast<Size>(count)};
}

void lay_out(char *memory, LWLock *lock, LWLock *lock_of_waiters) {
    char *part = memory;
    the_state = part_of<SharedState>(&part, 1).data();
    the_state->lock = lock;
    the_state->schedulers = part_of<SchedulerSlot>(&part, max_worker_processes);
    the_state->records.first = part_of<QueueRecord>(&part, settings::max_queues);
    the_state->prepared = part_of<PreparedNote>(&part, max_prepared_xacts);
    the_state->sessions.numbers = part_of<uint32>(&part, MaxBackends);
    the_state->waiters.lock = lock_of_waiters;
    pg_atomic_init_u32(&the_state->waiters.count, 0);
    the_state->waiters.by_process = part_of<Waiter>(&part, MaxBackends);
    Assert(part == memory + memory_size());
}

// Maps the further records. Called by the postmaster, whose children inherit the mapping; no memory
// is used yet.
void map_further_records() {
    static void *mapped = nullptr;
    const Size size = mul_size(static_cast<Size>(settings::further_queues), sizeof(QueueRecord));
    if (mapped != nullptr) // a crash empties these, too
        munmap(mapped, size);
    mapped = nullptr;
    if (size == 0)
        return;
    void *const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        ereport(WARNING,
                (errmsg("could not map %zu bytes for the records of queues: %m", size),
                 errdetail("No queue past ecto_job.max_queues has a place in shared memory."),
                 errhint("Raise ecto_job.max_queues, now %d, if there are more.",
                         settings::max_queues)));
        return;
    }
    mapped = memory;
    the_state->records.further = {static_cast<QueueRecord *>(memory),
                                  static_cast<Size>(settings::further_queues)};
}

// Runs at the server's start, and again after a crash, which removes shared memory.
void set_up_memory() {
    if (next_startup != nullptr)
        next_startup();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    char *const memory = static_cast<char *>(ShmemInitStruct(memory_name, memory_size(), &found));
    if (!found) {
        LWLockPadded *const locks = GetNamedLWLockTranche(memory_name);
        lay_out(memory, &locks[0].lock, &locks[1].lock);
        map_further_records();
    }
    the_state = reinterpret_cast<SharedState *>(memory);
    shared = true;
    LWLockRelease(AddinShmemInitLock);
}

} // namespace

void install_shared_state() {
    next_request = shmem_request_hook;
    shmem_request_hook = request_memory;
    next_startup = shmem_startup_hook;
    shmem_startup_hook = set_up_memory;
}

void make_private_state() {
    auto *const memory =
        static_cast<char *>(MemoryContextAllocHuge(TopMemoryContext, memory_size()));
    auto *const lock =
        static_cast<LWLock *>(MemoryContextAlloc(TopMemoryContext, sizeof(LWLockPadded)));
    LWLockInitialize(lock, LWTRANCHE_FIRST_USER_DEFINED);
    lay_out(memory, lock, nullptr); // nobody waits there
}

bool is_state_shared() {
    return shared;
}

SharedState *shared_state() {
    return the_state;
}

} // namespace ecto_job
