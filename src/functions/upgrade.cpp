// The function upgrade_queue(): the table of a queue gets what later versions of the extension give
// to new tables. Like adoption it changes only catalogs, under a lock that is held for
// milliseconds, or the call fails.
#include "core/qualified.hpp"
#include "functions/arguments.hpp"
#include "pg/row.hpp"
#include "queue/dump_and_restore.hpp"
#include "queue/queue.hpp"
#include "queue/registry.hpp"
#include "table/check.hpp"
#include "table/ddl.hpp"
#include "table/triggers.hpp"

namespace ecto_job {
namespace {

// Drops the CHECKs by which tables of versions before 0.3.0 refuse keys.
void allow_keys(const Queue *queue) {
    Oid types[] = {OIDOID};
    Datum values[] = {ObjectIdGetDatum(queue->oid)};
    if (SPI_execute_with_args(qualified<R"(
            SELECT c.conname FROM pg_catalog.pg_constraint AS c
             WHERE c.conrelid == $1 AND c.contype == 'c'
               AND pg_catalog.replace(pg_catalog.pg_get_constraintdef(c.oid), '"', '') == ANY (
                   '{CHECK ((key IS NULL)),CHECK ((key IS NULL)) NOT VALID}'::pg_catalog.text[]))">,
                              1, types, values, nullptr, false, 0) != SPI_OK_SELECT)
        elog(ERROR, "reading the constraints of a queue failed");
    const Rows constraints;
    for (uint64 row = 0; row < constraints.size(); row++)
        execute(psprintf("ALTER TABLE ONLY %s DROP CONSTRAINT %s", qualified_name(queue),
                         quote_identifier(*constraints[row].get<SqlName>("conname"))));
}

// Adds the columns that the table lacks, all of them nullable and without a default. ERROR 42P16 if
// the application has given the name of one to a column of its own.
void add_columns(const Queue *queue) {
    Relation const table = relation_open(queue->oid, NoLock); // locked by the caller
    const AddedColumns columns = check_added_columns(table);
    relation_close(table, NoLock); // ALTER TABLE needs it closed
    if (columns.misfits[0] != '\0')
        ereport(
            ERROR,
            (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
             errmsg("queue \"%s\" has columns of its own where the installed version has others",
                    NameStr(queue->table)),
             errdetail("%s", columns.misfits),
             errhint("Rename the application's column, and call upgrade_queue again.")));
    if (columns.lacks[0] != '\0')
        execute(psprintf("ALTER TABLE ONLY %s%s", qualified_name(queue), columns.lacks));
}

void renew_triggers(const Queue *queue) {
    Relation const table = relation_open(queue->oid, NoLock); // locked by the caller
    const FoundTriggers found = find_triggers(table);
    relation_close(table, NoLock); // CREATE TRIGGER needs it closed
    const bool is_adopted = queue->kind == QueueKind::adopted;
    const NameData &enqueued_at =
        NameStr(queue->inserted_at)[0] != '\0' ? queue->inserted_at : queue->updated_at;
    make_triggers(queue->oid, qualified_name(queue),
                  {found.inserted != nullptr ? found.inserted : native_inserted_trigger,
                   queue->layout.utc_schedule, !is_adopted, queue->kind != QueueKind::native,
                   queue->kind == QueueKind::native || NameStr(enqueued_at)[0] == '\0'
                       ? nullptr
                       : NameStr(enqueued_at)});
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_upgrade_queue) {
    const Oid table = table_argument(fcinfo);
    PreventCommandIfReadOnly("upgrade_queue");
    SPI_connect();
    find_queue(table); // raises an ERROR if the table is no queue, before it is locked
    require_owner(table);
    lock_briefly(table);
    const Queue queue = *find_queue(table); // a copy, since changes of the table free the queue
    allow_keys(&queue);
    add_columns(&queue);
    renew_triggers(&queue);
    comment_added_columns(qualified_name(&queue), nullptr);
    carry_settings(table);
    SPI_finish();
    PG_RETURN_VOID();
}
