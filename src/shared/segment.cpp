// Request and set-up of the shared memory. See segment.hpp.
#include "shared/segment.hpp"

#include "settings.hpp"

namespace ecto_job {

namespace {

constexpr const char *segment_name = "ecto_job";

Segment *the_segment = nullptr;
shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;

Size schedulers_size() {
    return MAXALIGN(mul_size(static_cast<Size>(max_worker_processes), sizeof(SchedulerSlot)));
}

Size records_size() {
    return mul_size(static_cast<Size>(settings::max_queues), sizeof(QueueRecord));
}

Size segment_size() {
    return add_size(MAXALIGN(sizeof(Segment)), add_size(schedulers_size(), records_size()));
}

void request_segment() {
    if (next_request != nullptr)
        next_request();
    RequestAddinShmemSpace(segment_size());
    RequestNamedLWLockTranche(segment_name, 1);
}

// Runs at the start and again after a crash, when all of it is new
void set_up_segment() {
    if (next_startup != nullptr)
        next_startup();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    char *const memory = static_cast<char *>(ShmemInitStruct(segment_name, segment_size(), &found));
    the_segment = reinterpret_cast<Segment *>(memory);
    if (!found) {
        memset(memory, 0, segment_size());
        char *const schedulers = memory + MAXALIGN(sizeof(Segment));
        the_segment->lock = &GetNamedLWLockTranche(segment_name)->lock;
        the_segment->told_all = true;
        the_segment->scheduler_count = max_worker_processes;
        the_segment->schedulers = reinterpret_cast<SchedulerSlot *>(schedulers);
        the_segment->record_count = settings::max_queues;
        the_segment->records = reinterpret_cast<QueueRecord *>(schedulers + schedulers_size());
    }
    LWLockRelease(AddinShmemInitLock);
}

} // namespace

void install_segment() {
    next_request = shmem_request_hook;
    shmem_request_hook = request_segment;
    next_startup = shmem_startup_hook;
    shmem_startup_hook = set_up_segment;
}

Segment *segment() {
    return the_segment;
}

} // namespace ecto_job
