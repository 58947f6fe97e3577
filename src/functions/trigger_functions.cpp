// Triggers on the queues' tables, the registry, DROP and CREATE TRIGGER; carry_settings() besides.
//
// Those on a queue's table must work for any role that may write it, so they look at the row and
// the relation, never at the registry: a row may come by COPY, by plain SQL or from another node.
// Only clear_lease() asks whether a statement of ours is running.
#include <optional>

#include "core/job_state.hpp"
#include "core/node_clock.hpp"
#include "core/qualified.hpp"
#include "core/times.hpp"
#include "functions/arguments.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "pg/row.hpp"
#include "queue/dump_and_restore.hpp"
#include "queue/pending_changes.hpp"
#include "queue/queue_settings.hpp"
#include "queue/registry.hpp"
#include "queue/run_statement.hpp"
#include "queue/transaction_end.hpp"
#include "table/distribution.hpp"

namespace ecto_job {
namespace {

constexpr TriggerEvent any_operation = TRIGGER_EVENT_ROW | TRIGGER_EVENT_TIMINGMASK;
constexpr TriggerEvent one_operation = any_operation | TRIGGER_EVENT_OPMASK;

// Returns the call's data. ERROR 39P01 unless a trigger of the wanted kind has called: whoever owns
// a table may put these functions on it, for any event.
TriggerData *row_trigger(FunctionCallInfo fcinfo, TriggerEvent mask, TriggerEvent wanted,
                         const char *when) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("this function is a trigger of ecto_job's tables"),
                        errhint("ecto_job.create_queue() makes the triggers of a queue.")));
    auto *const trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    if ((trigger->tg_event & mask) != (wanted | TRIGGER_EVENT_ROW))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("trigger \"%s\" must be %s FOR EACH ROW",
                               trigger->tg_trigger->tgname, when),
                        errhint("ecto_job.create_queue() makes the triggers of a queue.")));
    return trigger;
}

std::optional<State> state_of(const Row &job) {
    const std::optional<const char *> state = job.get<AnyText>("state");
    return state ? state_from(*state) : std::nullopt;
}

TimestampTz time_of(const Row &job, const char *name) {
    return job.get<AnyTimestamp>(name).value_or(minus_infinity);
}

// 0 where the column is missing or no number
JobKey key_of(const Row &job) {
    return {static_cast<int32>(job.find<AnyInteger>("priority").value_or(0)),
            time_of(job, "schedule"), job.find<AnyInteger>("id").value_or(0)};
}

// Records what the row, as it is now, means for consumers and the scheduler.
void record_job(Relation table, HeapTuple tuple, bool was_available) {
    const Oid queue = RelationGetRelid(table);
    const Row job = row_of(table, tuple);
    const std::optional<State> state = state_of(job);
    if (!state)
        return;
    switch (*state) {
    case State::available:
        record_available(queue, key_of(job), !was_available);
        break;
    case State::scheduled:
    case State::retry:
        record_due(queue, time_of(job, "schedule"));
        break;
    case State::reserved:
    case State::in_progress:
        record_lease(queue, key_of(job), time_of(job, "expires"));
        break;
    case State::failed:
        break;
    }
}

// Invalidates all plans on the table when a row is the first of page 2^n (n >= 6). A plan that
// EctoJob's library made while the table was nearly empty sorts all of it, and lives for as long as
// its session.
void renew_plans_of_growing_table(Relation table, HeapTuple inserted) {
    constexpr BlockNumber first_page = 64;
    const BlockNumber page = ItemPointerGetBlockNumberNoCheck(&inserted->t_self);
    if (ItemPointerGetOffsetNumberNoCheck(&inserted->t_self) == FirstOffsetNumber &&
        page >= first_page && (page & (page - 1)) == 0)
        CacheInvalidateRelcacheByRelid(RelationGetRelid(table));
}

// A job as a statement of EctoJob's library changes it
struct UpdatedJob {
    Row before;
    Row after;
};

// Columns of a row that a trigger sets
struct Changes {
    int count;
    int columns[3];
    Datum values[3];
    bool nulls[3];

    void set(int column, Datum value, bool is_null) {
        Assert(count < static_cast<int>(lengthof(columns)));
        columns[count] = column;
        values[count] = value;
        nulls[count++] = is_null;
    }

    HeapTuple apply_to(const Row &row) {
        return count == 0 ? row.tuple
                          : heap_modify_tuple_by_cols(row.tuple, row.columns.descriptor, count,
                                                      columns, values, nulls);
    }
};

// Ends the lease, so that its holder has the job no longer.
void end_lease(const UpdatedJob &job, Changes *changes) {
    const int lease = job.after.columns.number_of<Int8>("lease");
    if (job.after.at<Int8>(lease))
        changes->set(lease, 0, true);
}

// Lengthens the lease if the node's clock is behind, since it would end too early. Never shortens
// it: the library compares its end with the node's clock.
void correct_clock(const UpdatedJob &job, Changes *changes) {
    const std::optional<State> before = state_of(job.before);
    const std::optional<State> after = state_of(job.after);
    if (!(before == State::available && after == State::reserved) &&
        !(before == State::reserved && after == State::in_progress))
        return;
    const Columns &columns = job.after.columns;
    if (columns.find<Shown>("updated_at") == 0) // the library needs it
        return;
    const std::optional<TimestampTz> expires = job.after.get<AnyTimestamp>("expires");
    const std::optional<TimestampTz> given = job.after.get<AnyTimestamp>("updated_at");
    if (!expires || !given)
        return;
    if (const std::optional<Micros> corrected =
            lease_by_our_clock(*given, *expires, GetCurrentTimestamp()))
        changes->set(columns.number_of<AnyTimestamp>("expires"), TimestampTzGetDatum(*corrected),
                     false);
}

bool is_same_text(const UpdatedJob &job, int column) {
    const std::optional<const char *> before = job.before.at<Shown>(column);
    const std::optional<const char *> after = job.after.at<Shown>(column);
    return before && after ? strcmp(*before, *after) == 0 : before == after;
}

// Writes why an attempt has ended over the reason of the attempt before. A changed updated_at tells
// the library's sweeps from its job_failed.
void give_reason(const UpdatedJob &job, Changes *changes) {
    const Columns &columns = job.after.columns;
    const int error = columns.number_of<Text>("error");
    if (state_of(job.before) != State::in_progress || !is_same_text(job, error))
        return;
    const int updated_at = columns.find<Shown>("updated_at");
    const bool swept = updated_at != 0 && !is_same_text(job, updated_at);
    const std::optional<State> after = state_of(job.after);
    const char *reason;
    if (swept && (after == State::available || after == State::failed))
        reason = psprintf("the lease of attempt " INT64_FORMAT " expired",
                          job.before.find<AnyInteger>("attempt").value_or(0));
    else if (after == State::retry || after == State::failed)
        reason = "no reason given; EctoJob's library gives none";
    else
        return;
    changes->set(error, CStringGetTextDatum(reason), false);
}

// Raises ERROR 39P01 unless the table is the registry: on another table this trigger would
// invalidate others' caches.
void require_registry(Relation relation) {
    if (RelationGetRelid(relation) !=
        get_relname_relid("queue_settings", get_namespace_oid("ecto_job", false)))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("this function is a trigger of ecto_job.queue_settings"),
                        errhint("CREATE EXTENSION ecto_job makes it.")));
}

void require_intervals(const Row &settings, const char *queue) {
    for (const IntervalSetting &setting : interval_settings)
        // Where it is null the column's own constraint speaks
        if (const std::optional<const Interval *> interval =
                settings.get<IntervalType>(setting.name))
            interval_in_ms(*interval, queue, setting.name, setting.minimum_ms);
}

void require_event_trigger(FunctionCallInfo fcinfo) {
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("this function is an event trigger of ecto_job"),
                        errhint("CREATE EXTENSION ecto_job makes it.")));
}

// Registers a table that has got the trigger ecto_job_changed, and records that the database was
// restored. A trigger needs the right TRIGGER alone, but only the table's owner makes a queue.
void register_restored_table(Oid table, const char *settings) {
    const bool is_queue = is_registered(table);
    if (!is_queue &&
        (settings == nullptr || !object_ownercheck(RelationRelationId, table, GetUserId()) ||
         get_rel_persistence(table) == RELPERSISTENCE_TEMP ||
         !register_with_settings(table, settings)))
        return;
    if (is_queue)
        carry_settings(table);
    record_restore();
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

// BEFORE INSERT, when an AVAILABLE row lies in the future: it is SCHEDULED
ECTO_JOB_FUNCTION(ecto_job_schedule_job) {
    TriggerData *const trigger = row_trigger(
        fcinfo, one_operation, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_INSERT, "BEFORE INSERT");
    Relation const relation = trigger->tg_relation;
    const Row job = row_of(relation, trigger->tg_trigtuple);
    if (job.get<AnyTimestamp>("schedule") == plus_infinity)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("schedule must not be infinite for queue \"%s\"",
                        RelationGetRelationName(relation)),
                 errhint("Give a finite time; a job that is to be held can be scheduled far in the "
                         "future.")));
    int number = job.columns.number_of<AnyText>("state");
    Datum state = CStringGetTextDatum(name(State::scheduled).data());
    bool null = false;
    return PointerGetDatum(heap_modify_tuple_by_cols(
        trigger->tg_trigtuple, RelationGetDescr(relation), 1, &number, &state, &null));
}

// AFTER INSERT
ECTO_JOB_FUNCTION(ecto_job_job_inserted) {
    TriggerData *const trigger = row_trigger(
        fcinfo, one_operation, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_INSERT, "AFTER INSERT");
    renew_plans_of_growing_table(trigger->tg_relation, trigger->tg_trigtuple);
    record_job(trigger->tg_relation, trigger->tg_trigtuple, false);
    return 0;
}

// AFTER UPDATE of what decides when a job is due. Announces rows that became AVAILABLE, and rows
// with a key, which claims may have skipped. To announce other changes would be a storm: woken
// consumers make such changes.
ECTO_JOB_FUNCTION(ecto_job_job_changed) {
    TriggerData *const trigger = row_trigger(
        fcinfo, one_operation, TRIGGER_EVENT_AFTER | TRIGGER_EVENT_UPDATE, "AFTER UPDATE");
    const Row before = row_of(trigger->tg_relation, trigger->tg_trigtuple);
    const bool has_key =
        row_of(trigger->tg_relation, trigger->tg_newtuple).find<Shown>("key").has_value();
    record_job(trigger->tg_relation, trigger->tg_newtuple,
               state_of(before) == State::available && !has_key);
    return 0;
}

// BEFORE UPDATE, when the state changes and not the lease. EctoJob's library keeps the lease, sets
// `expires` by its node's clock, and gives no reason. This trigger repairs all three.
ECTO_JOB_FUNCTION(ecto_job_clear_lease) {
    TriggerData *const trigger = row_trigger(
        fcinfo, one_operation, TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_UPDATE, "BEFORE UPDATE");
    Relation const relation = trigger->tg_relation;
    if (is_own_statement(RelationGetRelid(relation)))
        return PointerGetDatum(trigger->tg_newtuple);
    const UpdatedJob job{row_of(relation, trigger->tg_trigtuple),
                         row_of(relation, trigger->tg_newtuple)};
    Changes changes{};
    end_lease(job, &changes);
    correct_clock(job, &changes);
    give_reason(job, &changes);
    return PointerGetDatum(changes.apply_to(job.after));
}

// BEFORE each change of the registry, of which it informs the scheduler and the sessions that have
// cached the queue. It lets nobody register a table that he does not own, at a restore either, nor
// settings that cannot be read.
ECTO_JOB_FUNCTION(ecto_job_registry_changed) {
    TriggerData *const trigger = row_trigger(fcinfo, any_operation, TRIGGER_EVENT_BEFORE, "BEFORE");
    require_registry(trigger->tg_relation);
    HeapTuple const row =
        TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
    const Row settings = row_of(trigger->tg_relation, row);
    const Oid queue = settings.get<AnyOid>("queue").value_or(InvalidOid);
    const bool exists = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(queue));
    if (!TRIGGER_FIRED_BY_DELETE(trigger->tg_event)) {
        if (!exists)
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                            errmsg("queue with OID %u does not exist", queue)));
        // Our own functions write as the owner of the registry, after a check of their own
        if (GetUserId() != trigger->tg_relation->rd_rel->relowner)
            require_owner(queue);
        require_intervals(settings, shown_table_name(queue));
        if (const std::optional<const Jsonb *> options = settings.get<JsonbType>("options"))
            check_options(*options, shown_table_name(queue));
        if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
            refuse_distributed_table(queue, shown_table_name(queue));
    }
    if (exists)
        CacheInvalidateRelcacheByRelid(queue);
    if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
        record_gone(queue);
    signal_scheduler_at_commit(Start::yes);
    return PointerGetDatum(row);
}

// sql_drop: a dropped queue leaves nothing that a later table with its oid could be mistaken for
ECTO_JOB_FUNCTION(ecto_job_forget_dropped_queues) {
    require_event_trigger(fcinfo);
    SPI_connect();
    unregister_dropped_queues();
    SPI_finish();
    return 0;
}

// ddl_command_end, CREATE TRIGGER: a table that a dump brings with the trigger ecto_job_changed is
// a queue. Where it is one already, what the registry says holds, and goes into the new trigger. A
// trigger of another name, which anybody with the right TRIGGER may add, says nothing.
ECTO_JOB_FUNCTION(ecto_job_register_restored_queue) {
    require_event_trigger(fcinfo);
    SPI_connect();
    // The function is known by its name in the catalogs, since whoever makes a trigger of his own
    // need not have rights on our schema
    if (SPI_execute(qualified<R"(
            SELECT t.tgrelid, t.tgargs
              FROM pg_catalog.pg_event_trigger_ddl_commands() AS d
              JOIN pg_catalog.pg_trigger AS t ON t.oid == d.objid
              JOIN pg_catalog.pg_proc AS p ON p.oid == t.tgfoid
              JOIN pg_catalog.pg_namespace AS n ON n.oid == p.pronamespace
             WHERE d.classid == 2620::pg_catalog.oid AND t.tgname == 'ecto_job_changed'
               AND p.proname == 'job_changed' AND n.nspname == 'ecto_job')">,
                    false, 1) != SPI_OK_SELECT)
        elog(ERROR, "reading the new trigger failed");
    if (SPI_processed > 0) {
        const Row trigger = Rows().only();
        const Oid table = *trigger.get<AnyOid>("tgrelid");
        bytea *const arguments = *trigger.get<Bytea>("tgargs");
        const char *const settings =
            VARSIZE_ANY_EXHDR(arguments) > 0 ? pstrdup(VARDATA_ANY(arguments)) : nullptr;
        register_restored_table(table, settings);
    }
    SPI_finish();
    return 0;
}

// For ALTER EXTENSION: a queue that an older library has made gets its settings into its trigger
ECTO_JOB_FUNCTION(ecto_job_carry_settings) {
    const Oid table = table_argument(fcinfo);
    SPI_connect();
    find_queue(table); // or an error
    require_owner(table);
    lock_triggers(table);
    lock_settings(table);
    carry_settings(table);
    SPI_finish();
    PG_RETURN_VOID();
}
