// Reading and writing the registry. See registry.hpp.
#include "queue/registry.hpp"

#include <algorithm>

#include "core/qualified.hpp"
#include "core/times.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "pg/row.hpp"

namespace ecto_job {

namespace {

// In the order of QueueKind
constexpr const char *kind_names[] = {"native", "ectojob", "adopted"};

QueueKind kind_from(const char *name) {
    for (std::size_t kind = 0; kind < lengthof(kind_names); kind++)
        if (strcmp(kind_names[kind], name) == 0)
            return static_cast<QueueKind>(kind);
    elog(ERROR, "unknown kind of queue: \"%s\"", name);
}

int64 milliseconds(const Row &settings, const char *queue, const char *column) {
    return std::min(interval_in_ms(*settings.get<IntervalType>(column), queue, column, 0),
                    longest_setting_ms);
}

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

// Reads a row of the registry, $1 being its queue. Returns whether there is one.
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
    // The row is kept beyond the transaction, whose own snapshot may be too old
    if (SPI_execute_snapshot(*plan, values, nullptr, GetLatestSnapshot(), InvalidSnapshot, true,
                             false, 1) != SPI_OK_SELECT)
        elog(ERROR, "reading ecto_job.queue_settings failed");
    return SPI_processed == 1;
}

bool select_settings(Oid oid) {
    static SPIPlanPtr plan = nullptr;
    // All columns: an extension that is older than the library has fewer
    return read_latest(
        &plan, qualified<"SELECT q.* FROM ecto_job.queue_settings AS q WHERE q.queue == $1">, oid);
}

// The parameters of a statement that writes the registry
struct Values {
    int count = 0;
    Oid types[6] = {};
    Datum values[6] = {};
    char nulls[6] = {};

    Values &add(Oid type, Datum value, bool is_null = false) {
        Assert(count < static_cast<int>(lengthof(types)));
        types[count] = type;
        values[count] = value;
        nulls[count++] = is_null ? 'n' : ' ';
        return *this;
    }
};

// Writes the registry as the extension's owner. The caller has checked that the current role owns
// the table or the database.
void write_registry(const char *text, Values given = {}) {
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

// Reads the registry as the current role; the rows are SPI's.
void select(const char *text, Values given = {}) {
    if (SPI_execute_with_args(text, given.count, given.types, given.values, given.nulls, true, 0) !=
        SPI_OK_SELECT)
        elog(ERROR, "reading the registry failed: %s", text);
}

const char *shown(const Interval *interval) {
    return DatumGetCString(
        DirectFunctionCall1(interval_out, IntervalPGetDatum(const_cast<Interval *>(interval))));
}

bool has_column(const char *table, const char *column) {
    const Oid oid = get_relname_relid(table, get_namespace_oid("ecto_job", false));
    return get_attnum(oid, column) != InvalidAttrNumber;
}

// Returns whether the extension is of version 0.2.0 or later.
bool has_kinds() {
    return has_column("queue_settings", "kind");
}

bool keeps_only_row() { // before version 0.2.1
    return has_column("scheduler_state", "only_row");
}

// Records with the first queue that the database runs. A copied or restored database has a record
// that says otherwise. Registered queues do not count, since any role may restore its own table.
// Two sessions that create the first queue at once do not wait for each other: each writes a row,
// and the second row is harmless.
void record_that_database_runs() {
    write_registry(keeps_only_row() ? qualified<R"(
        INSERT INTO ecto_job.scheduler_state AS s (database, enabled)
        SELECT $1, true
         WHERE NOT EXISTS (SELECT FROM ecto_job.queue_settings)
           AND NOT EXISTS (SELECT FROM ecto_job.scheduler_state AS r WHERE r.database == $1)
        ON CONFLICT (only_row) DO UPDATE SET database = excluded.database, enabled = true)">
                                    : qualified<R"(
        INSERT INTO ecto_job.scheduler_state (database, enabled)
        SELECT $1, true WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state))">,
                   Values().add(OIDOID, ObjectIdGetDatum(MyDatabaseId)));
}

} // namespace

void read_registry(Oid oid, Queue *queue) {
    const bool registered = select_settings(oid);
    // Read after the registry, since the table may have been dropped meanwhile
    const char *const table = table_name_or_null(oid);
    const char *const schema = schema_name_or_null(get_rel_namespace(oid));
    if (table == nullptr || schema == nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("queue with OID %u does not exist", oid),
                 errhint("It was dropped; the view ecto_job.queues lists the queues.")));
    if (!registered)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a queue", table),
                        errhint("Create a queue with ecto_job.create_queue(); "
                                "the view ecto_job.queues lists those that exist.")));
    queue->oid = oid;
    namestrcpy(&queue->table, table);
    namestrcpy(&queue->schema, schema);
    const Row settings = Rows().only();
    namestrcpy(&queue->inserted_at, settings.get<SqlName>("inserted_at").value_or(""));
    namestrcpy(&queue->updated_at, settings.get<SqlName>("updated_at").value_or(""));
    const std::optional<const char *> kind = settings.find<Text>("kind");
    queue->kind = kind ? kind_from(*kind) : QueueKind::native;
    queue->binary = strcmp(*settings.get<Text>("params_type"), "binary") == 0;
    queue->layout = read_layout(oid, queue->inserted_at, queue->updated_at);
    queue->poll_interval_ms = milliseconds(settings, table, "poll_interval");
    queue->reservation_timeout_ms = milliseconds(settings, table, "reservation_timeout");
    queue->execution_timeout_ms = milliseconds(settings, table, "execution_timeout");
    queue->retry_timeout_ms = milliseconds(settings, table, "retry_timeout");
    queue->max_attempts = *settings.get<Int4>("max_attempts");
}

bool is_registered(Oid oid) {
    return select_settings(oid);
}

void require_kinds() {
    if (!has_kinds())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("extension ecto_job is older than its library, and knows no queues "
                               "of EctoJob"),
                        errhint("Run ALTER EXTENSION ecto_job UPDATE in this database.")));
}

void require_owner(Oid table) {
    if (!owns_table(table, GetUserId()))
        aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, shown_table_name(table));
}

void record_restore() {
    if (keeps_only_row() || !(owns_database(MyDatabaseId, GetUserId()) ||
                              owns_database(MyDatabaseId, GetAuthenticatedUserId())))
        return;
    write_registry("INSERT INTO ecto_job.scheduler_state (database, enabled)"
                   " SELECT 0::pg_catalog.oid, false"
                   " WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state)");
}

void record_enabled(bool enabled) {
    // create_queue() does not take this lock: any role could make the owner wait
    write_registry("LOCK TABLE ecto_job.scheduler_state IN SHARE UPDATE EXCLUSIVE MODE");
    write_registry("DELETE FROM ecto_job.scheduler_state");
    write_registry(
        "INSERT INTO ecto_job.scheduler_state (database, enabled) VALUES ($1, $2)",
        Values().add(OIDOID, ObjectIdGetDatum(MyDatabaseId)).add(BOOLOID, BoolGetDatum(enabled)));
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
        Values()
            .add(REGCLASSOID, ObjectIdGetDatum(registration.table))
            .add(TEXTOID,
                 CStringGetTextDatum(kind_names[static_cast<std::size_t>(registration.kind)]))
            .add(TEXTOID, CStringGetTextDatum(registration.binary ? "binary" : "map"))
            .add(NAMEOID, NameGetDatum(&inserted_at), registration.inserted_at == nullptr)
            .add(NAMEOID, NameGetDatum(&updated_at), registration.updated_at == nullptr)
            .add(INT4OID, Int32GetDatum(registration.max_attempts)));
}

void register_with_defaults(Oid table) {
    write_registry("INSERT INTO ecto_job.queue_settings (queue) VALUES ($1)",
                   Values().add(REGCLASSOID, ObjectIdGetDatum(table)));
}

void unregister_queue(Oid table) {
    write_registry(qualified<"DELETE FROM ecto_job.queue_settings AS q WHERE q.queue == $1">,
                   Values().add(REGCLASSOID, ObjectIdGetDatum(table)));
}

void unregister_dropped_queues() {
    write_registry(qualified<R"(
        DELETE FROM ecto_job.queue_settings AS q
         USING pg_catalog.pg_event_trigger_dropped_objects() AS d
         WHERE d.objid == q.queue::pg_catalog.oid AND d.classid == 1259::pg_catalog.oid
           AND d.objsubid == 0)">);
}

Row change_settings(const Queue *queue, const NewSettings &settings) {
    Values values = Values().add(REGCLASSOID, ObjectIdGetDatum(queue->oid));
    for (const Interval *const interval : settings.intervals)
        values.add(INTERVALOID, PointerGetDatum(interval), interval == nullptr);
    values.add(INT4OID, Int32GetDatum(settings.max_attempts.value_or(0)), !settings.max_attempts);
    write_registry(qualified<R"(
        UPDATE ecto_job.queue_settings AS q
           SET poll_interval = COALESCE($2, q.poll_interval),
               reservation_timeout = COALESCE($3, q.reservation_timeout),
               execution_timeout = COALESCE($4, q.execution_timeout),
               retry_timeout = COALESCE($5, q.retry_timeout),
               max_attempts = COALESCE($6, q.max_attempts)
         WHERE q.queue == $1 RETURNING q.*)">,
                   values);
    if (SPI_processed != 1)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("queue \"%s\" was dropped just now", NameStr(queue->table)),
                        errhint("The view ecto_job.queues lists the queues.")));
    return Rows().only();
}

const char *settings_as_json(Oid table) {
    static SPIPlanPtr plan = nullptr;
    // ISO 8601 is read alike under every IntervalStyle
    const int nest = NewGUCNestLevel();
    set_config_option("IntervalStyle", "iso_8601", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                      true, 0, false);
    const bool registered = read_latest(&plan, qualified<R"(
        SELECT (pg_catalog.to_jsonb(q) - 'queue'::pg_catalog.text) AS settings
          FROM ecto_job.queue_settings AS q WHERE q.queue == $1)">,
                                        table);
    const char *const text =
        registered ? Rows().only().get<Shown>("settings").value_or(nullptr) : nullptr;
    AtEOXact_GUC(false, nest);
    return text;
}

void set_settings(Oid table, const char *json) {
    write_registry(
        qualified<R"(
        UPDATE ecto_job.queue_settings AS q
           SET (params_type, inserted_at, updated_at, poll_interval, reservation_timeout,
                execution_timeout, retry_timeout, max_attempts, kind) = (
               SELECT p.params_type,
                      (SELECT a.attname FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid == $1 AND a.attname == p.inserted_at
                          AND a.atttypid == ANY ('{1114,1184}'::pg_catalog.oid[])),
                      (SELECT a.attname FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid == $1 AND a.attname == p.updated_at
                          AND a.atttypid == ANY ('{1114,1184}'::pg_catalog.oid[])),
                      p.poll_interval, p.reservation_timeout, p.execution_timeout,
                      p.retry_timeout, p.max_attempts, p.kind
                 FROM pg_catalog.jsonb_populate_record(q, pg_catalog.jsonb_strip_nulls(
                      $2::pg_catalog.jsonb - '{queue,options}'::pg_catalog.text[])) AS p)
         WHERE q.queue == $1)">,
        Values().add(REGCLASSOID, ObjectIdGetDatum(table)).add(TEXTOID, CStringGetTextDatum(json)));
}

int64 interval_in_ms(const Interval *interval, const char *queue, const char *setting,
                     int64 minimum, int64 maximum) {
    const IntervalMs result = interval_to_ms({interval->time, interval->day, interval->month});
    if (result.fault == IntervalFault::months)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s must not contain months for queue \"%s\": \"%s\"", setting,
                               queue, shown(interval)),
                        errdetail("A month has no fixed length."),
                        errhint("Give days, hours, minutes or seconds.")));
    if (result.fault == IntervalFault::out_of_range || result.ms < minimum || result.ms > maximum)
        ereport(
            ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("%s is out of range for queue \"%s\": \"%s\"", setting, queue, shown(interval)),
             errhint("Give %s %s.", minimum > 0 ? "1 millisecond" : "zero",
                     maximum == longest_setting_ms ? "to 3650 days"
                                                   : "or more, within the range of times")));
    return result.ms;
}

const char *extension_version(Oid extension) {
    select(qualified<"SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.oid == $1">,
           Values().add(OIDOID, ObjectIdGetDatum(extension)));
    return SPI_processed > 0 ? *Rows().only().get<Text>("extversion") : nullptr;
}

// There may be several rows; a row of disable() takes precedence.
DatabaseRecord read_database_record() {
    select(qualified<R"(
           SELECT s.enabled FROM ecto_job.scheduler_state AS s
            WHERE s.database == $1 ORDER BY s.enabled LIMIT 1)">,
           Values().add(OIDOID, ObjectIdGetDatum(MyDatabaseId)));
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
