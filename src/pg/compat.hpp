// The differences between PostgreSQL 15, 16, 17 and 18 that concern us, under one name each.
//
// Minor releases differ, too: no function is called that a minor release has added, since the
// library would not load in an older one. `make check KINDS=assert` checks that.
#pragma once

#include "pg/pg.hpp"

// The oldest supported server, and whether a server is supported. Before 15.9, 16.5 and 17.1 a plan
// that was made for one role could be used for another one under row-level security
// (CVE-2024-10976), and the plans of claims are kept.
#define ECTO_JOB_LEAST_SERVER 150009
#define ECTO_JOB_SUPPORTS(number)                                                                  \
    ((number) >= ECTO_JOB_LEAST_SERVER && ((number) < 160000 || (number) >= 160005) &&             \
     (number) != 170000)
#if !ECTO_JOB_SUPPORTS(PG_VERSION_NUM)
#error "ecto_job needs PostgreSQL 15.9, 16.5, 17.1 or later: install the newest minor's headers"
#endif

#if PG_VERSION_NUM >= 160000
extern "C" {
#include "catalog/pg_namespace.h"
#include "varatt.h"
}
#endif

// No error since 17, which has no old_snapshot_threshold; its number stays
#ifndef ERRCODE_SNAPSHOT_TOO_OLD
#define ERRCODE_SNAPSHOT_TOO_OLD MAKE_SQLSTATE('7', '2', '0', '0', '0')
#endif

// Of libpq/libpq.h, which needs the headers of GSSAPI and OpenSSL: returns whether the session's
// client is connected.
extern "C" bool pq_check_connection(void);

namespace ecto_job {

// Raises an ERROR (SQLSTATE 0A000) in a server that is too old, whatever headers the library was
// compiled with. PostgreSQL itself compares only major versions.
inline void check_server_version() {
    if (!ECTO_JOB_SUPPORTS(pg_strtoint32(GetConfigOption("server_version_num", false, false))))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("ecto_job needs PostgreSQL 15.9, 16.5, 17.1 or later, and this "
                               "server is %s",
                               GetConfigOption("server_version", false, false)),
                        errhint("Update the server to the newest minor release. To start it as it "
                                "is, take ecto_job out of \"shared_preload_libraries\".")));
}

#if PG_VERSION_NUM < 160000
// Functions of PostgreSQL 16, for the catalogs that they are called with here
inline bool object_ownercheck(Oid catalog, Oid object, Oid role) {
    return catalog == RelationRelationId ? pg_class_ownercheck(object, role)
                                         : pg_database_ownercheck(object, role);
}
inline AclResult object_aclcheck(Oid, Oid schema, Oid role, AclMode right) {
    return pg_namespace_aclcheck(schema, role, right);
}
#endif

// Returns whether the role has the right that CREATE DATABASE and RENAME require. PostgreSQL's own
// function, have_createdb_privilege, cannot be called in 15.18 and before.
inline bool may_create_databases(Oid role) {
    if (superuser_arg(role))
        return true;
    HeapTuple const row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
    if (!HeapTupleIsValid(row))
        return false;
    const bool result = reinterpret_cast<Form_pg_authid>(GETSTRUCT(row))->rolcreatedb;
    ReleaseSysCache(row);
    return result;
}

// Returns the wait event of this name, and keeps its number in `event`, which is 0 at first. Before
// 17 the wait events of extensions have no names.
inline uint32 named_wait_event([[maybe_unused]] const char *name, [[maybe_unused]] uint32 *event) {
#if PG_VERSION_NUM >= 170000
    if (*event == 0)
        *event = WaitEventExtensionNew(name);
    return *event;
#else
    return PG_WAIT_EXTENSION;
#endif
}

// Returns the wait event that pg_stat_activity shows while the launcher or a scheduler sleeps.
inline uint32 wait_event() {
    static uint32 event = 0;
    return named_wait_event("EctoJobMain", &event);
}

// Begins a scan of an index, without order, under `key_count` conditions.
inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot,
                                      int key_count) {
#if PG_VERSION_NUM >= 180000
    return index_beginscan(table, index, snapshot, nullptr, key_count, 0);
#else
    return index_beginscan(table, index, snapshot, key_count, 0);
#endif
}

// Returns the wait event that pg_stat_activity shows while a session waits for a job.
inline uint32 job_wait_event() {
    static uint32 event = 0;
    return named_wait_event("EctoJobWait", &event);
}

// Returns the setting transaction_timeout in ms; 0: there is no limit.
inline int transaction_timeout_ms() {
#if PG_VERSION_NUM >= 170000
    return TransactionTimeout;
#else
    return 0;
#endif
}

inline bool is_background_worker(const PGPROC *process) {
#if PG_VERSION_NUM >= 180000
    return !process->isRegularBackend;
#else
    return process->isBackgroundWorker;
#endif
}

// Returns a column's statistics target; 0: ANALYZE skips the column, -1: the default.
inline int statistics_target(Oid table, AttrNumber column) {
    HeapTuple const row = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(column));
    if (!HeapTupleIsValid(row))
        return -1;
    bool is_null = false;
    const Datum target = SysCacheGetAttr(ATTNUM, row, Anum_pg_attribute_attstattarget, &is_null);
#if PG_VERSION_NUM >= 160000
    const int result = is_null ? -1 : DatumGetInt16(target);
#else
    const int result = DatumGetInt32(target);
#endif
    ReleaseSysCache(row);
    return result;
}

template <typename F> void for_each_setting(F visit) {
#if PG_VERSION_NUM >= 160000
    int count = 0;
    config_generic **const settings = get_guc_variables(&count);
#else
    const int count = GetNumConfigOptions();
    config_generic **const settings = get_guc_variables();
#endif
    for (int i = 0; i < count; i++)
        visit(settings[i]);
}

// Returns the size of compiled functions below CacheMemoryContext, in bytes. Before 18 functions
// lie below TopMemoryContext.
inline Size size_of_cached_functions() {
    Size size = 0;
#if PG_VERSION_NUM >= 180000
    for (MemoryContext child = CacheMemoryContext->firstchild; child != nullptr;
         child = child->nextchild)
        if (strcmp(child->name, "PL/pgSQL function") == 0 ||
            strcmp(child->name, "SQL function") == 0)
            size += MemoryContextMemAllocated(child, true);
#endif
    return size;
}

// Returns the pid of a lock's holder; 0 if the process has ended or the transaction was prepared.
inline int pid_of(const VirtualTransactionId &transaction) {
#if PG_VERSION_NUM >= 170000
    const PGPROC *const process = ProcNumberGetProc(transaction.procNumber);
#else
    const PGPROC *const process = BackendIdGetProc(transaction.backendId);
#endif
    return process != nullptr ? process->pid : 0;
}

} // namespace ecto_job
