// The statements on a queue's settings. See queue_settings.hpp.
#include "queue/queue_settings.hpp"

#include <algorithm>

#include "core/qualified.hpp"
#include "core/times.hpp"
#include "pg/names.hpp"
#include "queue/queue_options.hpp"
#include "queue/registry.hpp"

namespace ecto_job {

namespace {

QueueKind kind_from(const char *name) {
    for (std::size_t kind = 0; kind < lengthof(queue_kind_names); kind++)
        if (strcmp(queue_kind_names[kind], name) == 0)
            return static_cast<QueueKind>(kind);
    elog(ERROR, "unknown kind of queue: \"%s\"", name);
}

int64 milliseconds(const Row &settings, const char *queue, const char *column) {
    return std::min(interval_in_ms(*settings.get<IntervalType>(column), queue, column, 0),
                    longest_setting_ms);
}

void require_changed_row(const Queue *queue) {
    if (SPI_processed != 1)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("queue \"%s\" was dropped just now", NameStr(queue->table)),
                        errhint("The view ecto_job.queues lists the queues.")));
}

const char *shown(const Interval *interval) {
    return DatumGetCString(
        DirectFunctionCall1(interval_out, IntervalPGetDatum(const_cast<Interval *>(interval))));
}

} // namespace

void read_settings(Oid oid, Queue *queue) {
    const bool registered = is_registered(oid);
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
    queue->paused = settings.find<Bool>("paused").value_or(false);
    // An extension before 0.3.0 lacks the function that the statements would call
    if (settings.columns.find<Bool>("paused") != 0)
        queue->options = read_options(settings.get<JsonbType>("options").value_or(nullptr));
    if (NameStr(queue->updated_at)[0] == '\0') // when a job failed is not known
        queue->options.failed_retention_ms = std::nullopt;
}

Row change_settings(const Queue *queue, const NewSettings &settings) {
    RegistryValues values = RegistryValues().add(REGCLASSOID, ObjectIdGetDatum(queue->oid));
    for (const Interval *const interval : settings.intervals)
        values.add(INTERVALOID, PointerGetDatum(interval), interval == nullptr);
    values.add(INT4OID, Int32GetDatum(settings.max_attempts.value_or(0)), !settings.max_attempts);
    values.add(JSONBOID, PointerGetDatum(settings.options), settings.options == nullptr);
    write_registry(qualified<R"(
        UPDATE ecto_job.queue_settings AS q
           SET poll_interval = COALESCE($2, q.poll_interval),
               reservation_timeout = COALESCE($3, q.reservation_timeout),
               execution_timeout = COALESCE($4, q.execution_timeout),
               retry_timeout = COALESCE($5, q.retry_timeout),
               max_attempts = COALESCE($6, q.max_attempts),
               options = COALESCE(pg_catalog.jsonb_strip_nulls(q.options || $7), q.options)
         WHERE q.queue == $1 RETURNING q.*)">,
                   values);
    require_changed_row(queue);
    return Rows().only();
}

bool is_paused(const Queue *queue) {
    static SPIPlanPtr plan = nullptr;
    return queue->paused && read_latest(&plan, qualified<R"(
        SELECT q.queue FROM ecto_job.queue_settings AS q WHERE q.queue == $1 AND q.paused)">,
                                        queue->oid);
}

void lock_settings(Oid queue) {
    write_registry(
        qualified<"SELECT FROM ecto_job.queue_settings AS q WHERE q.queue == $1 FOR UPDATE">,
        RegistryValues().add(REGCLASSOID, ObjectIdGetDatum(queue)));
}

void set_paused(const Queue *queue, bool paused) {
    write_registry(qualified<"UPDATE ecto_job.queue_settings AS q SET paused = $2"
                             " WHERE q.queue == $1">,
                   RegistryValues()
                       .add(REGCLASSOID, ObjectIdGetDatum(queue->oid))
                       .add(BOOLOID, BoolGetDatum(paused)));
    require_changed_row(queue);
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
    const bool is_current = has_paused_and_options();
    write_registry(psprintf(qualified<R"(
        UPDATE ecto_job.queue_settings AS q
           SET (params_type, inserted_at, updated_at, poll_interval, reservation_timeout,
                execution_timeout, retry_timeout, max_attempts, kind %s) = (
               SELECT p.params_type,
                      (SELECT a.attname FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid == $1 AND a.attname == p.inserted_at
                          AND a.atttypid == ANY ('{1114,1184}'::pg_catalog.oid[])),
                      (SELECT a.attname FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid == $1 AND a.attname == p.updated_at
                          AND a.atttypid == ANY ('{1114,1184}'::pg_catalog.oid[])),
                      p.poll_interval, p.reservation_timeout, p.execution_timeout,
                      p.retry_timeout, p.max_attempts, p.kind %s
                 FROM pg_catalog.jsonb_populate_record(q, pg_catalog.jsonb_strip_nulls(
                      $2::pg_catalog.jsonb - 'queue'::pg_catalog.text)) AS p)
         WHERE q.queue == $1)">,
                            is_current ? ", paused, options" : "",
                            is_current ? ", p.paused, p.options" : ""),
                   RegistryValues()
                       .add(REGCLASSOID, ObjectIdGetDatum(table))
                       .add(TEXTOID, CStringGetTextDatum(json)));
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

} // namespace ecto_job
