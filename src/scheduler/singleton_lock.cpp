// The scheduler's lock. See singleton_lock.hpp.
//
// It cannot be spared while the others are released, since LockReleaseSession() makes no exception;
// nor be an ordinary lock instead of an advisory one, since those end with a transaction that
// aborts.
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
