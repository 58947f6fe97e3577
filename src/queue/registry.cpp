// The statements on the registry, but for those on a queue's settings. See registry.hpp.
#include "queue/registry.hpp"

#include "core/qualified.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "pg/row.hpp"

namespace ecto_job {

namespace {

Oid extension_owner() {
    Oid owner = InvalidOid;
    Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum("ecto_job"));
    SysScanDesc scan = systable_beginscan(extensions, ExtensionNameIndexId, true, nullptr, 1, &key);
    HeapTuple const row = systable_getnext(scan);
    if (HeapTupleIsValid(row))
        owner = reinterpret_cast<Form_pg_extension>(GETSTRUCT(row))->extowner;
    systable_endscan(scan);
    table_close(extensions, AccessShareLock);
    if (owner == InvalidOid)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension \"ecto_job\" does not exist"),
                 errhint("Run CREATE EXTENSION ecto_job in this database.")));
    return owner;
}

// Reads the registry as the current role; the rows are SPI's.
void select(const char *text, RegistryValues given = {}) {
    if (SPI_execute_with_args(text, given.count, given.types, given.values, given.nulls, true, 0) !=
        SPI_OK_SELECT)
        elog(ERROR, "reading the registry failed: %s", text);
}

bool has_column(const char *table, const char *column) {
    const Oid oid = get_relname_relid(table, get_namespace_oid("ecto_job", false));
    return get_attnum(oid, column) != InvalidAttrNumber;
}

// Returns whether the extension is of version 0.2.0 or later.
bool has_kinds() {
    return has_column("queue_settings", "kind");
}

// Returns whether the extension is older than version 0.2.1.
bool has_column_only_row() {
    return has_column("scheduler_state", "only_row");
}

// Records, when the first queue is created, that the database runs. A copied or restored database
// has a record that says otherwise. Registered queues do not count, since any role may restore its
// own table. Two sessions that create the first queue at once do not wait for each other: each
// writes a row, and the second row is harmless.
void record_that_database_runs() {
    write_registry(has_column_only_row() ? qualified<R"(
        INSERT INTO ecto_job.scheduler_state AS s (database, enabled)
        SELECT $1, true
         WHERE NOT EXISTS (SELECT FROM ecto_job.queue_settings)
           AND NOT EXISTS (SELECT FROM ecto_job.scheduler_state AS r WHERE r.database == $1)
        ON CONFLICT (only_row) DO UPDATE SET database = excluded.database, enabled = true)">
                                         : qualified<R"(
        INSERT INTO ecto_job.scheduler_state (database, enabled)
        SELECT $1, true WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state))">,
                   RegistryValues().add(OIDOID, ObjectIdGetDatum(MyDatabaseId)));
}

} // namespace

bool read_latest(SPIPlanPtr *plan, const char *text, Oid queue) {
    Oid types[] = {REGCLASSOID};
    Datum values[] = {ObjectIdGetDatum(queue)};
    if (*plan == nullptr) {
        SPIPlanPtr const fresh = SPI_prepare(text, 1, types);
        if (fresh == nullptr)
            elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
        SPI_keepplan(fresh);
        *plan = fresh;
    }
    // Callers cache the row for longer than the transaction, whose own snapshot may be too old
    if (SPI_execute_snapshot(*plan, values, nullptr, GetLatestSnapshot(), InvalidSnapshot, true,
                             false, 1) != SPI_OK_SELECT)
        elog(ERROR, "reading ecto_job.queue_settings failed");
    return SPI_processed == 1;
}

void write_registry(const char *text, RegistryValues given) {
    const Oid owner = extension_owner();
    Oid caller;
    int context;
    GetUserIdAndSecContext(&caller, &context);
    // After an ERROR the end of the (sub)transaction restores the role
    SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
    const int result =
        SPI_execute_with_args(text, given.count, given.types, given.values, given.nulls, false, 0);
    SetUserIdAndSecContext(caller, context);
    if (result < 0)
        elog(ERROR, "writing the registry failed: %s", SPI_result_code_string(result));
}

bool is_registered(Oid oid) {
    static SPIPlanPtr plan = nullptr;
    // All columns: an extension that is older than the library has fewer
    return read_latest(
        &plan, qualified<"SELECT q.* FROM ecto_job.queue_settings AS q WHERE q.queue == $1">, oid);
}

bool has_paused_and_options() {
    return has_column("queue_settings", "paused");
}

void require_queue_kinds() {
    if (!has_kinds())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("extension ecto_job is older than its library, and knows no queues "
                               "of EctoJob"),
                        errhint("Run ALTER EXTENSION ecto_job UPDATE in this database.")));
}

void require_owner(Oid table) {
    if (!object_ownercheck(RelationRelationId, table, GetUserId()))
        aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, shown_table_name(table));
}

void record_restore() {
    if (has_column_only_row() ||
        !(object_ownercheck(DatabaseRelationId, MyDatabaseId, GetUserId()) ||
          object_ownercheck(DatabaseRelationId, MyDatabaseId, GetAuthenticatedUserId())))
        return;
    write_registry("INSERT INTO ecto_job.scheduler_state (database, enabled)"
                   " SELECT 0::pg_catalog.oid, false"
                   " WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state)");
}

void record_enabled(bool enabled) {
    // create_queue() does not take this lock: any role could make the owner wait
    write_registry("LOCK TABLE ecto_job.scheduler_state IN SHARE UPDATE EXCLUSIVE MODE");
    write_registry("DELETE FROM ecto_job.scheduler_state");
    write_registry("INSERT INTO ecto_job.scheduler_state (database, enabled) VALUES ($1, $2)",
                   RegistryValues()
                       .add(OIDOID, ObjectIdGetDatum(MyDatabaseId))
                       .add(BOOLOID, BoolGetDatum(enabled)));
}

void register_queue(const Registration &registration) {
    record_that_database_runs();
    NameData inserted_at{};
    NameData updated_at{};
    if (registration.inserted_at != nullptr)
        namestrcpy(&inserted_at, registration.inserted_at);
    if (registration.updated_at != nullptr)
        namestrcpy(&updated_at, registration.updated_at);
    const bool kinds = has_kinds();
    write_registry(
        psprintf("INSERT INTO ecto_job.queue_settings"
                 " (queue%s, params_type, inserted_at, updated_at, max_attempts)"
                 " VALUES ($1%s, $3, $4, $5, $6) ON CONFLICT (queue) DO UPDATE"
                 " SET params_type = excluded.params_type,"
                 " inserted_at = excluded.inserted_at, updated_at = excluded.updated_at",
                 kinds ? ", kind" : "", kinds ? ", $2" : ""),
        RegistryValues()
            .add(REGCLASSOID, ObjectIdGetDatum(registration.table))
            .add(TEXTOID,
                 CStringGetTextDatum(queue_kind_names[static_cast<std::size_t>(registration.kind)]))
            .add(TEXTOID, CStringGetTextDatum(registration.binary ? "binary" : "map"))
            .add(NAMEOID, NameGetDatum(&inserted_at), registration.inserted_at == nullptr)
            .add(NAMEOID, NameGetDatum(&updated_at), registration.updated_at == nullptr)
            .add(INT4OID, Int32GetDatum(registration.max_attempts)));
}

void register_with_defaults(Oid table) {
    write_registry("INSERT INTO ecto_job.queue_settings (queue) VALUES ($1)",
                   RegistryValues().add(REGCLASSOID, ObjectIdGetDatum(table)));
}

void unregister_queue(Oid table) {
    write_registry(qualified<"DELETE FROM ecto_job.queue_settings AS q WHERE q.queue == $1">,
                   RegistryValues().add(REGCLASSOID, ObjectIdGetDatum(table)));
}

void unregister_dropped_queues() {
    write_registry(qualified<R"(
        DELETE FROM ecto_job.queue_settings AS q
         USING pg_catalog.pg_event_trigger_dropped_objects() AS d
         WHERE d.objid == q.queue::pg_catalog.oid AND d.classid == 1259::pg_catalog.oid
           AND d.objsubid == 0)">);
}

const char *extension_version(Oid extension) {
    select(qualified<"SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.oid == $1">,
           RegistryValues().add(OIDOID, ObjectIdGetDatum(extension)));
    return SPI_processed > 0 ? *Rows().only().get<Text>("extversion") : nullptr;
}

// There may be several rows; a row of disable() takes precedence.
DatabaseRecord read_database_record() {
    select(qualified<R"(
           SELECT s.enabled FROM ecto_job.scheduler_state AS s
            WHERE s.database == $1 ORDER BY s.enabled LIMIT 1)">,
           RegistryValues().add(OIDOID, ObjectIdGetDatum(MyDatabaseId)));
    if (SPI_processed == 0)
        return DatabaseRecord::none;
    return *Rows().only().get<Bool>("enabled") ? DatabaseRecord::enabled : DatabaseRecord::disabled;
}

RegisteredQueues read_registered_queues() {
    select(qualified<R"(
           SELECT s.queue, c.relowner FROM ecto_job.queue_settings AS s
             LEFT JOIN pg_catalog.pg_class AS c ON c.oid == s.queue)">);
    const Rows rows;
    const Column<AnyOid> queue(rows, "queue");
    const Column<AnyOid> owner(rows, "relowner");
    RegisteredQueues listed{
        0, static_cast<RegisteredQueue *>(palloc(rows.size() * sizeof(RegisteredQueue)))};
    for (uint64 row = 0; row < rows.size(); row++)
        if (const std::optional<Oid> role = owner[row])
            listed.queues[listed.count++] = {*queue[row], *role};
    if (listed.count < rows.size() && SPI_execute(qualified<R"(
            DELETE FROM ecto_job.queue_settings AS s
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid == s.queue))">,
                                                  false, 0) != SPI_OK_DELETE)
        elog(ERROR, "cleaning ecto_job.queue_settings failed");
    return listed;
}

} // namespace ecto_job
