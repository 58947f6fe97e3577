// The function adopt_queue(): a table that EctoJob's migration has made becomes a queue.
//
// The table is in use while its owner adopts it. So adoption changes only catalogs and reads no
// row. The lock that keeps other sessions away is held for milliseconds, or the call fails because
// it does not get the lock in time. Adoption that has nothing to change does not take this lock.
// The table is changed first, then the registry.
#include "functions/arguments.hpp"
#include "functions/timestamps_opts.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/dump_and_restore.hpp"
#include "queue/pending_changes.hpp"
#include "queue/registry.hpp"
#include "queue/transaction_end.hpp"
#include "table/check.hpp"
#include "table/ddl.hpp"
#include "table/distribution.hpp"
#include "table/triggers.hpp"

namespace ecto_job {
namespace {

[[noreturn]] void refuse_missing(Oid table) {
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with OID %u does not exist", table),
             errhint("Give a table, such as 'jobs' or 'app.jobs'.")));
}

[[noreturn]] void refuse_table(const char *table, const char *fault) {
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" cannot be a queue: %s", table, fault),
                    errhint("A queue is a permanent, ordinary table of its own, such as "
                            "EctoJob.Migrations.CreateJobTable makes.")));
}

// Raises an ERROR unless the caller may adopt the table. Called before the table is locked, and
// again under the lock.
void require_adoptable(Oid table) {
    const char *const name = table_name_or_null(table);
    if (name == nullptr)
        refuse_missing(table);
    require_owner(table);
    if (get_rel_relkind(table) != RELKIND_RELATION || IsCatalogRelationOid(table))
        refuse_table(name, "it is not an ordinary table");
    require_table_name(name, "table");
    refuse_distributed_table(table, name);
    if (is_registered(table) && find_queue(table)->kind != QueueKind::adopted)
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
                        errmsg("queue \"%s\" was made by ecto_job.create_queue()", name),
                        errhint("There is nothing to adopt.")));
}

// Returns the names of the columns: those that the caller has given, or else those of the adopted
// queue that the table is already, if the table still has such columns.
TimestampNames names_for(Oid table, TimestampNames given) {
    if (!is_registered(table))
        return given;
    const Queue *const queue = find_queue(table);
    const auto known = [table](const NameData &name) -> std::optional<const char *> {
        if (NameStr(name)[0] == '\0' || get_attnum(table, NameStr(name)) == InvalidAttrNumber)
            return std::nullopt;
        return NameStr(name);
    };
    if (!given.inserted_at)
        given.inserted_at = known(queue->inserted_at);
    if (!given.updated_at)
        given.updated_at = known(queue->updated_at);
    return given;
}

struct Finding {
    Oid oid;
    const char *schema;
    const char *name;
    const char *qualified;
    FoundTriggers triggers;
    TableCheck check;
};

// Returns what the table has and lacks. Raises an ERROR with everything that does not fit. Closes
// the table, since ALTER TABLE refuses an open one, and releases `lock`: two sessions that kept it
// would wait for each other when both ask for a stronger lock.
Finding inspect(Oid oid, const TimestampNames &given, LOCKMODE lock) {
    Relation const table = try_relation_open(oid, lock);
    if (table == nullptr)
        refuse_missing(oid);
    Finding found{};
    found.oid = oid;
    found.schema = schema_name(RelationGetNamespace(table));
    found.name = pstrdup(RelationGetRelationName(table));
    found.qualified = quote_qualified_identifier(found.schema, found.name);
    if (const char *const fault = fault_of_table(table))
        refuse_table(found.name, fault);
    found.check = check_table(table, names_for(oid, given));
    found.triggers = find_triggers(table);
    relation_close(table, lock);
    if (found.check.misfits[0] != '\0')
        ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                        errmsg("table \"%s\" cannot be a queue as it is", found.name),
                        errdetail("%s", found.check.misfits),
                        errhint("It must have the columns that EctoJob.Migrations.CreateJobTable "
                                "makes; others must be nullable or have a default.")));
    return found;
}

bool is_same(const char *name, const NameData &known) {
    return strcmp(name != nullptr ? name : "", NameStr(known)) == 0;
}

bool is_fully_adopted(const Finding &found) {
    const FoundTriggers &triggers = found.triggers;
    if (!is_registered(found.oid) || found.check.lacks[0] != '\0' ||
        found.check.state_statistics_vary || triggers.ectojobs != nullptr ||
        triggers.schedule == nullptr || triggers.inserted == nullptr ||
        triggers.changed == nullptr || triggers.lease == nullptr)
        return false;
    const Queue *const queue = find_queue(found.oid);
    return is_same(found.check.inserted_at, queue->inserted_at) &&
           is_same(found.check.updated_at, queue->updated_at) &&
           queue->binary == found.check.binary;
}

void change_table(const Finding &found) {
    const TableCheck &check = found.check;
    if (check.lacks[0] != '\0') {
        execute(psprintf("ALTER TABLE ONLY %s%s", found.qualified, check.lacks));
        comment_added_columns(found.qualified, check.lacks);
    }
    // Our trigger gets the name of EctoJob's, so that the rollback of EctoJob's migration drops it.
    // None of our triggers names the column priority, which the rollback of version 3 drops.
    const char *const inserted = found.triggers.ectojobs != nullptr   ? found.triggers.ectojobs
                                 : found.triggers.inserted != nullptr ? found.triggers.inserted
                                                                      : native_inserted_trigger;
    make_triggers(found.oid, found.qualified,
                  {inserted, check.utc_schedule, false, true,
                   check.inserted_at != nullptr ? check.inserted_at : check.updated_at});
    if (check.state_statistics_vary)
        fix_state_statistics(found.oid, found.qualified);
}

void report_column(const char *queue, const char *what, const char *column) {
    if (column == nullptr)
        ereport(NOTICE, (errmsg("no column of queue \"%s\" is taken as %s", queue, what),
                         errhint("If there is one, name it by timestamps_opts.")));
    else if (strcmp(what, column) != 0)
        ereport(NOTICE,
                (errmsg("column \"%s\" of queue \"%s\" is taken as %s", column, queue, what),
                 errhint("If it is another, name it by timestamps_opts.")));
}

// Reports by NOTICEs what the queue lacks, and how the application or the owner can add it.
void report_shortcomings(const Finding &found, const TimestampNames &given) {
    const TableCheck &check = found.check;
    const char *const queue = found.name;
    if (!given.inserted_at)
        report_column(queue, "inserted_at", check.inserted_at);
    if (!given.updated_at)
        report_column(queue, "updated_at", check.updated_at);
    if (!check.has_priority)
        ereport(
            NOTICE,
            (errmsg("queue \"%s\" has no column \"priority\": all its jobs have priority 0", queue),
             errhint("EctoJob 3 needs it. The application's own migration adds it: "
                     "EctoJob.Migrations.UpdateJobTable.up(3, \"%s\"%s).",
                     queue,
                     strcmp(found.schema, "public") == 0
                         ? ""
                         : psprintf(", prefix: \"%s\"", found.schema))));
    if (!check.has_index)
        ereport(NOTICE, (errmsg("queue \"%s\" has no index for its order", queue),
                         errhint("With many jobs it will be slow. CREATE INDEX CONCURRENTLY ON %s "
                                 "(%sschedule, id);",
                                 found.qualified, check.has_priority ? "priority, " : "")));
}

void adopt(const Finding &found, const TimestampNames &given) {
    const TableCheck &check = found.check;
    change_table(found);
    register_queue({found.oid, QueueKind::adopted, check.binary, check.inserted_at,
                    check.updated_at, check.max_attempts});
    carry_settings(found.oid);
    report_shortcomings(found, given);
    // If the table was a queue until a moment ago, the scheduler may know times that are too late
    record_due(found.oid, DT_NOBEGIN);
    record_lease(found.oid, highest_key, DT_NOBEGIN);
    signal_scheduler_at_commit(Start::yes);
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_adopt_queue) {
    enum { timestamps_opts = 1 };
    const Oid table = table_argument(fcinfo);
    PreventCommandIfReadOnly("adopt_queue");
    SPI_connect();
    require_adoptable(table);
    const TimestampNames given =
        timestamps_opts_argument(fcinfo, timestamps_opts, shown_table_name(table)).names;
    bool needs_adoption = !is_fully_adopted(inspect(table, given, AccessShareLock));
    if (needs_adoption) {
        lock_briefly(table);
        require_adoptable(table);
        const Finding found = inspect(table, given, NoLock);
        needs_adoption = !is_fully_adopted(found); // else another session has adopted it meanwhile
        if (needs_adoption)
            adopt(found, given);
    }
    if (!needs_adoption)
        ereport(NOTICE,
                (errcode(ERRCODE_DUPLICATE_OBJECT),
                 errmsg("queue \"%s\" is adopted already, skipping", shown_table_name(table))));
    SPI_finish();
    return ObjectIdGetDatum(table);
}
