// Request and set-up of the shared memory. See state.hpp.
#include "shared/state.hpp"

#include <sys/mman.h>

#include "settings.hpp"

namespace ecto_job {

namespace {

constexpr const char *segment_name = "ecto_job";

Segment *the_segment = nullptr;
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

Size segment_size() {
    Size size = MAXALIGN(sizeof(Segment));
    for (const Size part : {schedulers_size(), records_size(), prepared_size(), sessions_size()})
        size = add_size(size, part);
    return size;
}

void request_segment() {
    if (next_request != nullptr)
        next_request();
    RequestAddinShmemSpace(segment_size());
    RequestNamedLWLockTranche(segment_name, 1);
}

void lay_out(char *memory, LWLock *lock) {
    memset(memory, 0, segment_size());
    char *const schedulers = memory + MAXALIGN(sizeof(Segment));
    char *const records = schedulers + schedulers_size();
    char *const prepared = records + records_size();
    char *const sessions = prepared + prepared_size();
    the_segment = reinterpret_cast<Segment *>(memory);
    the_segment->lock = lock;
    the_segment->told_all = true;
    the_segment->scheduler_count = max_worker_processes;
    the_segment->schedulers = reinterpret_cast<SchedulerSlot *>(schedulers);
    the_segment->record_count = settings::max_queues;
    the_segment->records = reinterpret_cast<QueueRecord *>(records);
    the_segment->prepared_count = max_prepared_xacts;
    the_segment->prepared = reinterpret_cast<PreparedNote *>(prepared);
    the_segment->session_count = MaxBackends;
    the_segment->sessions = reinterpret_cast<uint32 *>(sessions);
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
    the_segment->further_records = static_cast<QueueRecord *>(memory);
    the_segment->further_count = settings::further_queues;
}

// Runs at the start and again after a crash, when all of it is new
void set_up_segment() {
    if (next_startup != nullptr)
        next_startup();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    char *const memory = static_cast<char *>(ShmemInitStruct(segment_name, segment_size(), &found));
    if (!found) {
        lay_out(memory, &GetNamedLWLockTranche(segment_name)->lock);
        map_further_records();
    }
    the_segment = reinterpret_cast<Segment *>(memory);
    shared = true;
    LWLockRelease(AddinShmemInitLock);
}

} // namespace

void install_segment() {
    next_request = shmem_request_hook;
    shmem_request_hook = request_segment;
    next_startup = shmem_startup_hook;
    shmem_startup_hook = set_up_segment;
}

void make_private_segment() {
    auto *const memory =
        static_cast<char *>(MemoryContextAllocHuge(TopMemoryContext, segment_size()));
    auto *const lock =
        static_cast<LWLock *>(MemoryContextAlloc(TopMemoryContext, sizeof(LWLockPadded)));
    LWLockInitialize(lock, LWTRANCHE_FIRST_USER_DEFINED);
    lay_out(memory, lock);
}

bool is_segment_shared() {
    return shared;
}

Segment *segment() {
    return the_segment;
}

} // namespace ecto_job
