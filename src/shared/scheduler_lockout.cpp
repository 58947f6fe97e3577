// Locks on a database. See scheduler_lockout.hpp.
#include "shared/scheduler_lockout.hpp"

namespace ecto_job {

namespace {

// PostgreSQL's own lock on a database has 0 here
constexpr uint16 against_schedulers = 1;

// The mode in which a new connection takes the lock on its database
constexpr LOCKMODE connecting = RowExclusiveLock;

bool is_free(Oid database, uint16 part) {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, part);
    if (LockAcquire(&tag, connecting, false, true) == LOCKACQUIRE_NOT_AVAIL)
        return false;
    LockRelease(&tag, connecting, false);
    return true;
}

} // namespace

void lock_out_schedulers() {
    Assert(IsTransactionState());
    LockSharedObject(DatabaseRelationId, MyDatabaseId, against_schedulers, AccessExclusiveLock);
}

bool keeps_schedulers_out(Oid database) {
    Assert(IsTransactionState());
    return !is_free(database, 0) || !is_free(database, against_schedulers);
}

} // namespace ecto_job
