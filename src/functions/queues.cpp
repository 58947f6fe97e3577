// The functions create_queue(), configure_queue(), pause_queue(), resume_queue() and drop_queue().
//
// A queue's table is created with the caller's rights, and the caller owns it. Only the registry is
// written as the extension's owner. Two sessions that create the same queue take a lock on its
// name, so that the second one finds the queue and does not fail. A role that may not create tables
// in the schema never takes this lock.
#include "functions/arguments.hpp"
#include "functions/composite.hpp"
#include "functions/timestamps_opts.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/dump_and_restore.hpp"
#include "queue/pending_changes.hpp"
#include "queue/queue_settings.hpp"
#include "queue/registry.hpp"
#include "queue/transaction_end.hpp"
#include "shared/waiters.hpp"
#include "table/create.hpp"
#include "table/ddl.hpp"
#include "table/distribution.hpp"

namespace ecto_job {
namespace {

// A number that no SQL function uses for advisory locks (those are 1 and 2)
constexpr uint16 create_queue_lock = 0xEC;

char *text_argument(FunctionCallInfo fcinfo, int at) {
    return PG_ARGISNULL(at) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(at));
}

// Returns the first schema of search_path. Raises an ERROR if there is none, or if the schema was
// dropped since the statement began.
const char *creation_schema() {
    List *const path = fetch_search_path(false);
    const char *const schema = path == NIL ? nullptr : schema_name_or_null(linitial_oid(path));
    if (schema == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
                        errmsg("no schema has been selected to create the queue in"),
                        errhint("Set search_path, or give schema_prefix => '...'.")));
    return schema;
}

NewTable new_queue_argument(FunctionCallInfo fcinfo) {
    enum { table_name, schema_prefix, timestamps_opts, params_type, ectojob };
    NewTable queue{};
    queue.table = text_argument(fcinfo, table_name);
    if (queue.table == nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("table_name must not be null"),
                 errhint("Give the queue a name, such as 'jobs'.")));
    require_table_name(queue.table, "queue");

    const char *const type = text_argument(fcinfo, params_type);
    queue.binary = type != nullptr && strcmp(type, "binary") == 0;
    if (type == nullptr || (!queue.binary && strcmp(type, "map") != 0))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("params_type of queue \"%s\" is unknown: \"%s\"", queue.table,
                               type != nullptr ? type : "null"),
                        errhint("It is 'map' (jsonb) or 'binary' (bytea).")));

    if (PG_ARGISNULL(ectojob))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                 errmsg("ectojob must not be null for queue \"%s\"", queue.table),
                 errhint("It is true for EctoJob's library, false (or left out) without it.")));
    queue.ectojob = PG_GETARG_BOOL(ectojob);
    if (queue.ectojob)
        require_queue_kinds();

    const TimestampsOpts opts = timestamps_opts_argument(fcinfo, timestamps_opts, queue.table);
    queue.inserted_at = opts.names.inserted_at.value_or("inserted_at");
    queue.updated_at = opts.names.updated_at.value_or("updated_at");
    queue.timestamp_type = opts.whole_seconds ? "pg_catalog.timestamp(0)" : "pg_catalog.timestamp";
    queue.timestamp_typmod = opts.whole_seconds ? 0 : -1;

    queue.schema = text_argument(fcinfo, schema_prefix);
    if (queue.schema == nullptr)
        queue.schema = creation_schema();
    return queue;
}

void lock_name(const NewTable &queue) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, get_namespace_oid(queue.schema, false),
                         string_hash(queue.table, NAMEDATALEN), create_queue_lock);
    LockAcquire(&tag, ExclusiveLock, false, false);
    AcceptInvalidationMessages(); // what was looked up before the wait may have changed
}

bool same_column(const NewTable &queue, Oid table, const char *wanted, const NameData &present) {
    if (wanted == nullptr || NameStr(present)[0] == '\0')
        return wanted == nullptr && NameStr(present)[0] == '\0';
    const AttrNumber number = get_attnum(table, wanted); // its owner may have dropped or renamed it
    if (number == InvalidAttrNumber || strcmp(wanted, NameStr(present)) != 0)
        return false;
    Oid type;
    int32 typmod;
    Oid collation;
    get_atttypetypmodcoll(table, number, &type, &typmod, &collation);
    return typmod == queue.timestamp_typmod;
}

// Raises an ERROR unless the caller may create tables in the schema. CREATE TABLE would raise one,
// too, but show our statement and no remedy.
void require_creation_right(const NewTable &queue, Oid schema) {
    const auto has = [schema](AclMode right) {
        return object_aclcheck(NamespaceRelationId, schema, GetUserId(), right) == ACLCHECK_OK;
    };
    if (has(ACL_USAGE) && has(ACL_CREATE))
        return;
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
             errmsg("permission denied to create queue \"%s\" in schema \"%s\"", queue.table,
                    queue.schema),
             errhint("Its owner may GRANT USAGE, CREATE ON SCHEMA %s TO %s; or choose another "
                     "schema by schema_prefix.",
                     quote_identifier(queue.schema),
                     quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

// Returns a HINT for a queue that exists with other options: what differs, and what to do.
const char *hint_at_other_options(const Queue *present, const NewTable &queue) {
    if (present->kind == QueueKind::adopted)
        return "Its table is EctoJob's and was adopted; it is a queue as it is. Choose another "
               "name, or another schema by schema_prefix.";
    if ((present->kind == QueueKind::native) == queue.ectojob)
        return queue.ectojob ? "It was made without ectojob => true, which cannot be added. Call "
                               "it as it was made, or choose another name."
                             : "It was made with ectojob => true, which cannot be taken away. "
                               "Call it as it was made, or choose another name.";
    return "The columns of a queue cannot be changed. Call it as it was made, or choose another "
           "name; ecto_job.configure_queue() changes settings.";
}

// Returns the queue of that name, if it exists with the same options; InvalidOid if the name is
// free.
Oid existing_queue(const NewTable &queue) {
    Oid const schema = get_namespace_oid(queue.schema, false);
    if (isAnyTempNamespace(schema))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                 errmsg("queue \"%s\" must not be a temporary table", queue.table),
                 errhint("Consumers and the scheduler could not see it; give schema_prefix.")));
    Oid const table = get_relname_relid(queue.table, schema);
    if (table == InvalidOid) {
        require_creation_right(queue, schema);
        refuse_distributed_schema(schema, queue.table);
        return InvalidOid;
    }
    if (!is_registered(table))
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
                        errmsg("relation \"%s\" already exists and is not a queue", queue.table),
                        errhint("Choose another name, or another schema by schema_prefix; "
                                "ecto_job.adopt_queue() takes over a table of EctoJob's.")));
    const Queue *const present = find_queue(table);
    if (present->binary != queue.binary || (present->kind == QueueKind::native) == queue.ectojob ||
        !same_column(queue, table, queue.inserted_at, present->inserted_at) ||
        !same_column(queue, table, queue.updated_at, present->updated_at))
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
                        errmsg("queue \"%s\" already exists with other options", queue.table),
                        errhint("%s", hint_at_other_options(present, queue))));
    ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_OBJECT),
                     errmsg("queue \"%s\" already exists, skipping", queue.table)));
    return table;
}

// Sets the default of the column max_attempts, from which a plain INSERT takes the value.
void set_max_attempts_default(const Queue *queue, int32 max_attempts) {
    if (queue->max_attempts == max_attempts)
        return;
    lock_briefly(queue->oid); // before the table's name is read, which may change until then
    execute(psprintf("ALTER TABLE ONLY %s ALTER COLUMN max_attempts SET DEFAULT %d",
                     qualified_name(find_queue(queue->oid)), max_attempts));
}

// Returns null for no change. ERROR 22023 for options that are none, or that the queue cannot have;
// 0A000 if the extension is older than the library.
const Jsonb *options_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    if (PG_ARGISNULL(at))
        return nullptr;
    const Jsonb *const options = PG_GETARG_JSONB_P(at);
    check_options(options, NameStr(queue->table));
    if (JB_ROOT_COUNT(options) > 0 && !has_paused_and_options())
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("extension ecto_job is older than its library, and queue \"%s\" has no "
                        "options",
                        NameStr(queue->table)),
                 errhint("Run ALTER EXTENSION ecto_job UPDATE in this database.")));
    if (read_options(options).failed_retention_ms && NameStr(queue->updated_at)[0] == '\0')
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("queue \"%s\" cannot have the option failed_retention",
                               NameStr(queue->table)),
                        errdetail("Its table has no column for the time of the last change, so "
                                  "that nobody knows when a job failed."),
                        errhint("Delete FAILED jobs by a statement of your own.")));
    return options;
}

Datum change_paused(FunctionCallInfo fcinfo, bool paused) {
    PreventCommandIfReadOnly(paused ? "pause_queue" : "resume_queue");
    SPI_connect();
    const Queue *const queue = find_queue(table_argument(fcinfo));
    require_owner(queue->oid);
    lock_triggers(queue->oid);
    set_paused(queue, paused);
    carry_settings(queue->oid);
    // Consumers were notified of the jobs that came during the pause, and got none
    if (!paused)
        record_available(queue->oid, lowest_key, true, all_waiters);
    SPI_finish();
    PG_RETURN_VOID();
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_create_queue) {
    SPI_connect();
    const NewTable queue = new_queue_argument(fcinfo);
    Oid table = existing_queue(queue);
    if (table == InvalidOid) {
        lock_name(queue);
        table = existing_queue(queue); // another session may have made it meanwhile
    }
    if (table == InvalidOid) {
        table = create_table(queue);
        require_owner(table);
        if (queue.ectojob)
            fix_state_statistics(table, quote_qualified_identifier(queue.schema, queue.table));
        register_queue({table, queue.ectojob ? QueueKind::ectojob : QueueKind::native, queue.binary,
                        queue.inserted_at, queue.updated_at, default_max_attempts});
        carry_settings(table);
        signal_scheduler_at_commit(Start::yes);
    }
    SPI_finish();
    return ObjectIdGetDatum(table);
}

ECTO_JOB_FUNCTION(ecto_job_drop_queue) {
    const Oid table = table_argument(fcinfo);
    PreventCommandIfReadOnly("drop_queue"); // before a lock that a standby refuses
    SPI_connect();
    bool exists = table_name_or_null(table) != nullptr;
    if (exists) {
        find_queue(table); // raises an ERROR if the table is no queue, before it is locked
        require_owner(table);
        // Whether the table still exists, and its name, are read under the lock
        LockRelationOid(table, AccessExclusiveLock);
        exists = table_name_or_null(table) != nullptr;
    }
    if (exists)
        execute(psprintf("DROP TABLE %s", qualified_name(find_queue(table))));
    SPI_finish();
    return BoolGetDatum(exists);
}

ECTO_JOB_FUNCTION(ecto_job_configure_queue) {
    enum { first_interval = 1, max_attempts = 5, options };
    PreventCommandIfReadOnly("configure_queue");
    const DeclaredRow settings = declared_row(fcinfo);
    SPI_connect();
    // The table is not locked yet: two sessions that held a weaker lock would wait for each other
    Queue *const queue = find_queue(table_argument(fcinfo));
    require_owner(queue->oid);

    NewSettings changed{};
    for (int i = 0; i < static_cast<int>(lengthof(interval_settings)); i++) {
        const int at = first_interval + i;
        if (PG_ARGISNULL(at))
            continue;
        changed.intervals[i] = PG_GETARG_INTERVAL_P(at);
        interval_in_ms(changed.intervals[i], NameStr(queue->table), interval_settings[i].name,
                       interval_settings[i].minimum_ms, longest_setting_ms); // raises an ERROR
    }
    if (!PG_ARGISNULL(max_attempts))
        changed.max_attempts =
            max_attempts_argument(fcinfo, max_attempts, queue, "A job is attempted once at least.");
    changed.options = options_argument(fcinfo, options, queue);
    if (changed.max_attempts)
        set_max_attempts_default(queue, *changed.max_attempts);
    lock_triggers(queue->oid);
    const Row row = change_settings(queue, changed);
    const Datum result = to_row(settings, row.tuple, row.columns.descriptor);
    carry_settings(queue->oid);
    SPI_finish();
    signal_scheduler_at_commit(Start::yes);
    return result;
}

ECTO_JOB_FUNCTION(ecto_job_pause_queue) {
    return change_paused(fcinfo, true);
}

ECTO_JOB_FUNCTION(ecto_job_resume_queue) {
    return change_paused(fcinfo, false);
}
