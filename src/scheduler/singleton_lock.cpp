// The scheduler's lock. See singleton_lock.hpp.
//
// LockReleaseSession() releases the scheduler's lock with the others, so the lock is then taken
// again. An ordinary lock would not do, since an aborted transaction releases it.
#include "scheduler/singleton_lock.hpp"

#include "pg/pg.hpp"

namespace ecto_job {

namespace {

constexpr uint16 advisory_class = 3; // pg_advisory_lock() has 1 and 2

} // namespace

void release_advisory_locks() {
    LockReleaseSession(USER_LOCKMETHOD);
}

bool try_singleton_lock() {
    release_advisory_locks();
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, advisory_class);
    return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void take_singleton_lock() {
    if (!try_singleton_lock())
        proc_exit(1);
}

} // namespace ecto_job
