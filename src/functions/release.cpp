// Letting go of a queue's table, adopted or native. It stays, with its rows, and plain SQL and
// EctoJob's library work on it as before.
//
// Only our triggers are removed, since they need the extension. Columns, indexes and defaults stay:
// they disturb nobody, and error and meta are the application's data. Catalogs only, under a lock
// that is held for milliseconds, or the call fails. Order: the table, then the registry.
#include "functions/arguments.hpp"
#include "pg/names.hpp"
#include "queue/registry.hpp"
#include "queue/transaction_end.hpp"
#include "table/ddl.hpp"
#include "table/triggers.hpp"

namespace ecto_job {
namespace {

FoundTriggers triggers_of(Oid table) {
    Relation const relation = relation_open(table, NoLock); // locked by the caller
    const FoundTriggers found = find_triggers(relation);
    relation_close(relation, NoLock); // ALTER TABLE wants it for itself
    return found;
}

void drop_trigger(const char *table, const char *trigger) {
    if (trigger != nullptr)
        execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(trigger), table));
}

Oid owner_of_table(Oid table) {
    Relation const relation = table_open(table, NoLock); // the caller has it locked
    const Oid owner = relation->rd_rel->relowner;
    table_close(relation, NoLock);
    return owner;
}

// Whoever may create in the schema may have made a function of that name. It will run with the
// rights of everybody who enqueues, so it must be of somebody whom they trust already.
void require_trusted(Oid function, const char *name, Oid table) {
    HeapTuple const row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(row))
        elog(ERROR, "cache lookup failed for function %u", function);
    const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(row))->proowner;
    ReleaseSysCache(row);
    if (owner != owner_of_table(table) && !superuser_arg(owner))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("function %s() belongs to neither the owner of \"%s\" nor a "
                               "superuser",
                               name, shown_table_name(table)),
                        errdetail("As a trigger of the table it would run with the rights of "
                                  "everybody who enqueues."),
                        errhint("Drop it, or give it to the table's owner by ALTER FUNCTION ... "
                                "OWNER TO, if it is EctoJob's.")));
}

// The function of EctoJob's migration, of which a schema has one for all its tables
const char *notify_function(const Queue *queue) {
    const char *const schema = NameStr(queue->schema);
    const char *const function = quote_qualified_identifier(schema, ectojobs_function);
    List *const name =
        list_make2(makeString(pstrdup(schema)), makeString(pstrdup(ectojobs_function)));
    const Oid present = LookupFuncName(name, 0, nullptr, true);
    if (present != InvalidOid) {
        require_trusted(present, function, queue->oid);
    } else {
        execute(psprintf("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $$\n"
                         "BEGIN\n"
                         "    PERFORM pg_catalog.pg_notify(TG_TABLE_NAME, '');\n"
                         "    RETURN NEW;\n"
                         "END\n$$",
                         function));
        execute(psprintf("COMMENT ON FUNCTION %s() IS 'trigger: notifies consumers of a new job'",
                         function));
    }
    return function;
}

// As EctoJob's migration names it
const char *ectojobs_trigger(const char *table) {
    char *const name = psprintf("tr_notify_inserted_%s", table);
    truncate_identifier(name, static_cast<int>(strlen(name)), false);
    return name;
}

// Makes the trigger that notifies consumers of new jobs as EctoJob's does. An adopted table that
// had no such trigger has none again.
void give_back_notification(const Queue *queue, const FoundTriggers &found) {
    const char *const table = qualified_name(queue);
    const bool is_ours =
        found.inserted != nullptr && strcmp(found.inserted, native_inserted_trigger) == 0;
    if (is_ours)
        drop_trigger(table, found.inserted);
    if (queue->kind == QueueKind::adopted && (is_ours || found.inserted == nullptr))
        return;
    const bool takes_its_place = !is_ours && found.inserted != nullptr;
    const char *const name =
        takes_its_place ? found.inserted : ectojobs_trigger(NameStr(queue->table));
    execute(psprintf("CREATE %sTRIGGER %s AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION %s()",
                     takes_its_place ? "OR REPLACE " : "", quote_identifier(name), table,
                     notify_function(queue)));
    execute(psprintf("COMMENT ON TRIGGER %s ON %s IS 'notifies consumers of a new job'",
                     quote_identifier(name), table));
}

void release(const Queue *queue) {
    const char *const table = qualified_name(queue);
    FoundTriggers found = triggers_of(queue->oid);
    // More than one of a kind, if somebody has added some
    while (found.schedule != nullptr || found.changed != nullptr || found.lease != nullptr) {
        for (const char *trigger : {found.schedule, found.changed, found.lease})
            drop_trigger(table, trigger);
        found = triggers_of(queue->oid);
    }
    give_back_notification(queue, found);
    while (const char *const another = triggers_of(queue->oid).inserted)
        drop_trigger(table, another);
    if (queue->kind != QueueKind::native)
        restore_state_statistics(table);
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_release_queue) {
    const Oid table = table_argument(fcinfo);
    PreventCommandIfReadOnly("release_queue"); // before a lock that a standby refuses
    SPI_connect();
    find_queue(table); // or an error: nothing but queues is locked
    require_owner(table);
    lock_briefly(table);
    // Read under the lock; a copy, since changes of the table free the queue
    const Queue queue = *find_queue(table);
    release(&queue);
    unregister_queue(table);
    signal_scheduler_at_commit(Start::yes);
    SPI_finish();
    return ObjectIdGetDatum(table);
}
