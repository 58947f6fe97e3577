// Every difference between PostgreSQL 15, 16, 17 and 18 that concerns us, under one name each.
#pragma once

#include "pg/pg.hpp"

#if PG_VERSION_NUM >= 160000
extern "C" {
#include "varatt.h"
}
#endif

namespace ecto_job {

inline bool owns_table(Oid table, Oid role) {
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(RelationRelationId, table, role);
#else
    return pg_class_ownercheck(table, role);
#endif
}

inline bool owns_database(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(DatabaseRelationId, database, role);
#else
    return pg_database_ownercheck(database, role);
#endif
}

// What pg_stat_activity shows while one of ours sleeps
inline uint32 wait_event() {
#if PG_VERSION_NUM >= 170000
    static uint32 event = 0;
    if (event == 0)
        event = WaitEventExtensionNew("EctoJobMain");
    return event;
#else
    return PG_WAIT_EXTENSION;
#endif
}

inline bool is_background_worker(const PGPROC *process) {
#if PG_VERSION_NUM >= 180000
    return !process->isRegularBackend;
#else
    return process->isBackgroundWorker;
#endif
}

inline LocalTransactionId my_local_transaction() {
#if PG_VERSION_NUM >= 170000
    return MyProc->vxid.lxid;
#else
    return MyProc->lxid;
#endif
}

} // namespace ecto_job
