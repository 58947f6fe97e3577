// Reading and writing the registry. See registry.hpp.
#include "queue/registry.hpp"

#include <algorithm>

#include "core/times.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"

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

// The Datum of a column of the first row; the column is NOT NULL or the caller asks `is_null`.
Datum first_row(const char *column, bool *is_null = nullptr) {
    bool null;
    const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
                                      SPI_fnumber(SPI_tuptable->tupdesc, column), &null);
    if (is_null != nullptr)
        *is_null = null;
    return value;
}

int64 milliseconds(const char *queue, const char *column) {
    return std::min(interval_in_ms(DatumGetIntervalP(first_row(column)), queue, column, 0),
                    longest_setting_ms);
}

void copy_name(NameData *to, const char *column) {
    bool is_null;
    const Datum name = first_row(column, &is_null);
    namestrcpy(to, is_null ? "" : NameStr(*DatumGetName(name)));
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

SPIPlanPtr saved_plan(SPIPlanPtr *plan, const char *text, int count, Oid *types) {
    if (*plan == nullptr) {
        SPIPlanPtr const fresh = SPI_prepare(text, count, types);
        if (fresh == nullptr)
            elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
        SPI_keepplan(fresh);
        *plan = fresh;
    }
    return *plan;
}

bool select_settings(Oid oid) {
    static SPIPlanPtr plan = nullptr;
    Oid types[] = {REGCLASSOID};
    Datum values[] = {ObjectIdGetDatum(oid)};
    // All columns: an extension that is older than the library has fewer
    saved_plan(&plan, "SELECT * FROM ecto_job.queue_settings WHERE queue OPERATOR(pg_catalog.=) $1",
               1, types);
    // What is read here is kept beyond the transaction, so its snapshot may be too old for it
    if (SPI_execute_snapshot(plan, values, nullptr, GetLatestSnapshot(), InvalidSnapshot, true,
                             false, 1) != SPI_OK_SELECT)
        elog(ERROR, "reading ecto_job.queue_settings failed");
    return SPI_processed == 1;
}

IntervalMs to_ms(const Interval *interval) {
    return interval_to_ms({interval->time, interval->day, interval->month});
}

const char *shown(const Interval *interval) {
    return DatumGetCString(
        DirectFunctionCall1(interval_out, IntervalPGetDatum(const_cast<Interval *>(interval))));
}

bool has_column(const char *table, const char *column) {
    const Oid oid = get_relname_relid(table, get_namespace_oid("ecto_job", false));
    return get_attnum(oid, column) != InvalidAttrNumber;
}

// False: the extension is of version 0.1.0
bool has_kinds() {
    return has_column("queue_settings", "kind");
}

bool keeps_only_row() { // before version 0.2.1
    return has_column("scheduler_state", "only_row");
}

// The first queue of a database makes it one that runs; one that is a copy, or was restored, has a
// record that says so. Which queues are registered says nothing: anybody may restore a table of his
// own. It waits for nobody who does the same: each writes a row, which is one too many and
// harmless.
void record_that_database_runs() {
    Oid types[] = {OIDOID};
    Datum values[] = {ObjectIdGetDatum(MyDatabaseId)};
    write_registry(keeps_only_row()
                       ? "INSERT INTO ecto_job.scheduler_state AS s (database, enabled)"
                         " SELECT $1, true WHERE NOT EXISTS (SELECT FROM ecto_job.queue_settings)"
                         " AND NOT EXISTS (SELECT FROM ecto_job.scheduler_state AS r"
                         " WHERE r.database OPERATOR(pg_catalog.=) $1)"
                         " ON CONFLICT (only_row) DO UPDATE"
                         " SET database = excluded.database, enabled = true"
                       : "INSERT INTO ecto_job.scheduler_state (database, enabled)"
                         " SELECT $1, true WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state)",
                   1, types, values, nullptr);
}

} // namespace

void read_registry(Oid oid, Queue *queue) {
    const bool registered = select_settings(oid);
    // After reading, which may have noticed that the table has gone
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
    copy_name(&queue->inserted_at, "inserted_at");
    copy_name(&queue->updated_at, "updated_at");
    queue->kind = SPI_fnumber(SPI_tuptable->tupdesc, "kind") > 0
                      ? kind_from(TextDatumGetCString(first_row("kind")))
                      : QueueKind::native;
    queue->binary = strcmp(TextDatumGetCString(first_row("params_type")), "binary") == 0;
    queue->layout = read_layout(oid, queue->inserted_at, queue->updated_at);
    queue->poll_interval_ms = milliseconds(table, "poll_interval");
    queue->reservation_timeout_ms = milliseconds(table, "reservation_timeout");
    queue->execution_timeout_ms = milliseconds(table, "execution_timeout");
    queue->retry_timeout_ms = milliseconds(table, "retry_timeout");
    queue->max_attempts = DatumGetInt32(first_row("max_attempts"));
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
                   " WHERE NOT EXISTS (SELECT FROM ecto_job.scheduler_state)",
                   0, nullptr, nullptr, nullptr);
}

int write_registry(const char *text, int count, Oid *types, Datum *values, const char *nulls) {
    const Oid owner = extension_owner();
    Oid caller;
    int context;
    GetUserIdAndSecContext(&caller, &context);
    // On ERROR the end of the (sub)transaction puts the caller back
    SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
    const int result = SPI_execute_with_args(text, count, types, values, nulls, false, 0);
    SetUserIdAndSecContext(caller, context);
    if (result < 0)
        elog(ERROR, "writing the registry failed: %s", SPI_result_code_string(result));
    return result;
}

void register_queue(const Registration &registration) {
    record_that_database_runs();
    const char *const inserted_at = registration.inserted_at;
    const char *const updated_at = registration.updated_at;
    NameData inserted_name{};
    NameData updated_name{};
    namestrcpy(&inserted_name, inserted_at != nullptr ? inserted_at : "");
    namestrcpy(&updated_name, updated_at != nullptr ? updated_at : "");
    Oid types[] = {REGCLASSOID, TEXTOID, TEXTOID, NAMEOID, NAMEOID, INT4OID};
    Datum values[] = {ObjectIdGetDatum(registration.table),
                      CStringGetTextDatum(kind_names[static_cast<std::size_t>(registration.kind)]),
                      CStringGetTextDatum(registration.binary ? "binary" : "map"),
                      NameGetDatum(&inserted_name),
                      NameGetDatum(&updated_name),
                      Int32GetDatum(registration.max_attempts)};
    const char nulls[] = {
        ' ', ' ', ' ', inserted_at != nullptr ? ' ' : 'n', updated_at != nullptr ? ' ' : 'n',
        ' ', '\0'};
    const bool kinds = has_kinds();
    write_registry(psprintf("INSERT INTO ecto_job.queue_settings"
                            " (queue%s, params_type, inserted_at, updated_at, max_attempts)"
                            " VALUES ($1%s, $3, $4, $5, $6) ON CONFLICT (queue) DO UPDATE"
                            " SET params_type = excluded.params_type,"
                            " inserted_at = excluded.inserted_at,"
                            " updated_at = excluded.updated_at",
                            kinds ? ", kind" : "", kinds ? ", $2" : ""),
                   6, types, values, nulls);
}

void unregister_queue(Oid table) {
    Oid types[] = {REGCLASSOID};
    Datum values[] = {ObjectIdGetDatum(table)};
    write_registry("DELETE FROM ecto_job.queue_settings AS q"
                   " WHERE q.queue OPERATOR(pg_catalog.=) $1",
                   1, types, values, nullptr);
}

void require_within_limits(const Interval *interval, const char *queue,
                           const IntervalSetting &setting) {
    const IntervalMs value = to_ms(interval);
    if (value.fault == IntervalFault::months)
        interval_in_ms(interval, queue, setting.name, setting.minimum_ms); // which says so
    if (value.fault == IntervalFault::out_of_range || value.ms < setting.minimum_ms ||
        value.ms > longest_setting_ms)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s is out of range for queue \"%s\": \"%s\"", setting.name, queue,
                               shown(interval)),
                        errhint("Give %s to 3650 days.",
                                setting.minimum_ms > 0 ? "1 millisecond" : "zero")));
}

int64 interval_in_ms(const Interval *interval, const char *queue, const char *setting,
                     int64 minimum) {
    const IntervalMs result = to_ms(interval);
    if (result.fault == IntervalFault::months)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s must not contain months for queue \"%s\": \"%s\"", setting,
                               queue, shown(interval)),
                        errdetail("A month has no fixed length."),
                        errhint("Give days, hours, minutes or seconds.")));
    if (result.fault == IntervalFault::out_of_range || result.ms < minimum)
        ereport(
            ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("%s is out of range for queue \"%s\": \"%s\"", setting, queue, shown(interval)),
             errhint(minimum > 0 ? "Give 1 millisecond or more, within the range of times."
                                 : "Give zero or more, within the range of times.")));
    return result.ms;
}

} // namespace ecto_job
