// Writing and reading a trigger's argument. See dump_and_restore.hpp.
#include "queue/dump_and_restore.hpp"

#include "core/channel.hpp"
#include "pg/names.hpp"
#include "queue/queue_settings.hpp"
#include "queue/registry.hpp"
#include "queue/subtransaction.hpp"
#include "table/check.hpp"

namespace ecto_job {

namespace {

void set_argument(Relation triggers, HeapTuple row, const char *text) {
    Datum values[Natts_pg_trigger]{};
    bool nulls[Natts_pg_trigger]{};
    bool replaces[Natts_pg_trigger]{};
    replaces[Anum_pg_trigger_tgnargs - 1] = replaces[Anum_pg_trigger_tgargs - 1] = true;
    values[Anum_pg_trigger_tgnargs - 1] = Int16GetDatum(1);
    // A bytea, in which each argument ends with a zero byte
    values[Anum_pg_trigger_tgargs - 1] =
        PointerGetDatum(cstring_to_text_with_len(text, static_cast<int>(strlen(text)) + 1));
    HeapTuple const changed =
        heap_modify_tuple(row, RelationGetDescr(triggers), values, nulls, replaces);
    CatalogTupleUpdate(triggers, &changed->t_self, changed);
}

// Returns whether the table can be a queue. If not, a WARNING says why, since a restore shall not
// fail by it.
bool may_be_queue(Oid oid) {
    Relation const table = table_open(oid, AccessShareLock);
    const char *reason = fault_of_table(table);
    const char *const column = reason == nullptr ? missing_column(table) : nullptr;
    if (column != nullptr)
        reason = psprintf("it has no column \"%s\" as a queue has it", column);
    if (check_table_name(RelationGetRelationName(table)) != NameFault::none)
        reason = "its name is too long, or has a control character";
    if (reason != nullptr)
        ereport(WARNING,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                 errmsg("\"%s\" is not made a queue: %s", RelationGetRelationName(table), reason),
                 errhint("ecto_job.create_queue() makes a queue; ecto_job.adopt_queue() makes a "
                         "table of EctoJob's one.")));
    table_close(table, NoLock);
    return reason == nullptr;
}

} // namespace

// The weakest lock that conflicts with ShareRowExclusiveLock, which commands on triggers take. The
// lock is what a claim takes. Commands that rewrite the same row of pg_trigger would fail
// otherwise, those of others too.
void lock_triggers(Oid table) {
    LockRelationOid(table, RowExclusiveLock);
}

void carry_settings(Oid table) {
    const char *const text = settings_as_json(table);
    List *const name =
        list_make2(makeString(pstrdup("ecto_job")), makeString(pstrdup("job_changed")));
    const Oid function = LookupFuncName(name, 0, nullptr, false);
    if (text == nullptr)
        return;
    Relation const triggers = table_open(TriggerRelationId, RowExclusiveLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(table));
    SysScanDesc scan =
        systable_beginscan(triggers, TriggerRelidNameIndexId, true, nullptr, 1, &key);
    // Every such trigger: one that somebody has added must not bring other settings
    while (HeapTuple const row = systable_getnext(scan))
        if (reinterpret_cast<Form_pg_trigger>(GETSTRUCT(row))->tgfoid == function)
            set_argument(triggers, row, text);
    systable_endscan(scan);
    table_close(triggers, RowExclusiveLock);
    CacheInvalidateRelcacheByRelid(table);
    CommandCounterIncrement();
}

bool register_with_settings(Oid table, const char *text) {
    if (!may_be_queue(table))
        return false;
    register_with_defaults(table);
    const ErrorData *const error = in_subtransaction([&] { set_settings(table, text); });
    if (error == nullptr)
        return true;
    ereport(WARNING,
            (errcode(error->sqlerrcode),
             errmsg("settings of queue \"%s\" cannot be restored: %s", shown_table_name(table),
                    error->message),
             errhint("It has the default settings; ecto_job.configure_queue() changes them.")));
    carry_settings(table);
    return true;
}

} // namespace ecto_job
