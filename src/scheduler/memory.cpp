// Emptying the caches. See memory.hpp.
//
// PostgreSQL's caches of catalogs and relations never shrink by themselves, and a table with its
// indexes and types leaves some 100 kB there. While no more queues are at work than the session
// keeps, nothing is freed, and every sweep finds its plans.
#include "scheduler/memory.hpp"

#include <malloc.h>

#include "queue/queue.hpp"

namespace ecto_job {

void trim_memory() {
    constexpr uint64 freed_between = 50;
    static uint64 freed_before = 0;
    if (freed_queues() - freed_before < freed_between)
        return;
    freed_before = freed_queues();
    InvalidateSystemCaches();
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

} // namespace ecto_job
