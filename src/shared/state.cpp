// Request and set-up of the shared memory. See state.hpp.
#include "shared/state.hpp"

#include <memory>
#include <new>
#include <sys/mman.h>

#include "settings.hpp"

namespace ecto_job {

namespace {

constexpr const char *memory_name = "ecto_job";

SharedState *the_state = nullptr;
bool shared = false;
shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;

Size schedulers_size() {
    return MAXALIGN(mul_size(static_cast<Size>(max_worker_processes), sizeof(SchedulerSlot)));
}

Size records_size() {
    return MAXALIGN(mul_size(static_cast<Size>(settings::max_queues), sizeof(QueueRecord)));
}

Size prepared_size() {
    return MAXALIGN(mul_size(static_cast<Size>(max_prepared_xacts), sizeof(PreparedNote)));
}

Size sessions_size() {
    return mul_size(static_cast<Size>(MaxBackends), sizeof(uint32));
}

Size memory_size() {
    Size size = MAXALIGN(sizeof(SharedState));
    for (const Size part : {schedulers_size(), records_size(), prepared_size(), sessions_size()})
        size = add_size(size, part);
    return size;
}

void request_memory() {
    if (next_request != nullptr)
        next_request();
    RequestAddinShmemSpace(memory_size());
    RequestNamedLWLockTranche(memory_name, 1);
}

// Takes the next part of the memory, for `count` elements that hold their default values.
template <typename T> std::span<T> part_of(char **memory, Size size, int count) {
    auto *const first = reinterpret_cast<T *>(*memory);
    *memory += size;
    std::uninitialized_value_construct_n(first, count);
    return {first, static_cast<Size>(count)};
}

void lay_out(char *memory, LWLock *lock) {
    the_state = new (memory) SharedState{.lock = lock};
    char *part = memory + MAXALIGN(sizeof(SharedState));
    the_state->schedulers = part_of<SchedulerSlot>(&part, schedulers_size(), max_worker_processes);
    the_state->records.first = part_of<QueueRecord>(&part, records_size(), settings::max_queues);
    the_state->prepared = part_of<PreparedNote>(&part, prepared_size(), max_prepared_xacts);
    the_state->sessions.numbers = part_of<uint32>(&part, sessions_size(), MaxBackends);
    Assert(part == memory + memory_size());
}

// By the postmaster, whose children inherit the mapping. Takes no memory yet.
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

// Runs at the start and again after a crash, when all of it is new
void set_up_memory() {
    if (next_startup != nullptr)
        next_startup();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    char *const memory = static_cast<char *>(ShmemInitStruct(memory_name, memory_size(), &found));
    if (!found) {
        lay_out(memory, &GetNamedLWLockTranche(memory_name)->lock);
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
    lay_out(memory, lock);
}

bool is_state_shared() {
    return shared;
}

SharedState *shared_state() {
    return the_state;
}

} // namespace ecto_job
