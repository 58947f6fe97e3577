// Making and finding triggers. See triggers.hpp.
#include "table/triggers.hpp"

#include "core/qualified.hpp"
#include "pg/names.hpp"
#include "table/ddl.hpp"

namespace ecto_job {

namespace {

void comment_trigger(const char *table, const char *trigger, const char *comment) {
    execute(psprintf("COMMENT ON TRIGGER %s ON %s IS %s", quote_identifier(trigger), table,
                     quote_literal_cstr(comment)));
}

bool is_named(const char *name, const char *wanted) {
    return name != nullptr && strcmp(name, wanted) == 0;
}

bool calls_ours(const Trigger &trigger, const char *function) {
    return is_named(schema_name_or_null(get_func_namespace(trigger.tgfoid)), "ecto_job") &&
           is_named(function_name_or_null(trigger.tgfoid), function);
}

bool calls_ectojobs(const Trigger &trigger) {
    return TRIGGER_TYPE_MATCHES(trigger.tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_AFTER,
                                TRIGGER_TYPE_INSERT) &&
           is_named(function_name_or_null(trigger.tgfoid), ectojobs_function);
}

// Returns the condition that a job was not due when it was enqueued. A node whose clock is ahead
// enqueues jobs that are due by that clock and not yet by ours: they are not for the future and
// must not become SCHEDULED. By default the library cuts the time of enqueuing to whole seconds.
const char *not_due_when_enqueued(Oid table, const QueueTriggers &triggers) {
    if (triggers.enqueued_at == nullptr)
        return "";
    const Oid type = get_atttype(table, get_attnum(table, triggers.enqueued_at));
    const char *time = psprintf("NEW.%s", quote_identifier(triggers.enqueued_at));
    if ((type == TIMESTAMPOID) != triggers.utc_schedule)
        time = psprintf("pg_catalog.timezone('UTC', %s)", time);
    return psprintf(qualified<R"(
        AND (NEW.schedule <= (CASE WHEN %s == pg_catalog.date_trunc('second', %s)
                                   THEN %s + '1 s'::pg_catalog.interval ELSE %s END))
            IS NOT TRUE)">,
                    time, time, time, time);
}

struct Firing {
    const char *trigger;
    char enabled; // as in pg_trigger
};

// Returns the triggers of ours that somebody has disabled, or that fire under another
// session_replication_role than they do by default; a list of Firing.
List *special_firings(Oid oid) {
    List *special = NIL;
    Relation const relation = relation_open(oid, NoLock); // locked by the caller
    const TriggerDesc *const triggers = CopyTriggerDesc(relation->trigdesc);
    relation_close(relation, NoLock); // CREATE TRIGGER needs it closed
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; i++) {
        const Trigger &trigger = triggers->triggers[i];
        if (trigger.tgenabled == TRIGGER_FIRES_ON_ORIGIN || trigger.tgisinternal ||
            !is_named(schema_name_or_null(get_func_namespace(trigger.tgfoid)), "ecto_job"))
            continue;
        auto *const firing = static_cast<Firing *>(palloc(sizeof(Firing)));
        *firing = {trigger.tgname, trigger.tgenabled};
        special = lappend(special, firing);
    }
    return special;
}

// Makes triggers fire as they did before CREATE OR REPLACE, which enables them.
void restore_firings(const char *table, List *special) {
    ListCell *cell;
    foreach (cell, special) {
        const auto *const firing = static_cast<const Firing *>(lfirst(cell));
        execute(psprintf("ALTER TABLE ONLY %s %s TRIGGER %s", table,
                         firing->enabled == TRIGGER_DISABLED           ? "DISABLE"
                         : firing->enabled == TRIGGER_FIRES_ON_REPLICA ? "ENABLE REPLICA"
                                                                       : "ENABLE ALWAYS",
                         quote_identifier(firing->trigger)));
    }
}

void replace_triggers(Oid oid, const char *table, const QueueTriggers &triggers) {
    execute(psprintf(qualified<R"(
        CREATE OR REPLACE TRIGGER ecto_job_schedule BEFORE INSERT ON %s FOR EACH ROW
        WHEN (NEW.state == 'AVAILABLE' AND NEW.schedule > %s %s)
        EXECUTE FUNCTION ecto_job.schedule_job())">,
                     table,
                     triggers.utc_schedule
                         ? "pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())"
                         : "pg_catalog.clock_timestamp()",
                     not_due_when_enqueued(oid, triggers)));
    comment_trigger(table, "ecto_job_schedule", "a job inserted for the future is SCHEDULED");

    execute(psprintf("CREATE OR REPLACE TRIGGER %s AFTER INSERT ON %s FOR EACH ROW"
                     " EXECUTE FUNCTION ecto_job.job_inserted()",
                     quote_identifier(triggers.inserted), table));
    comment_trigger(table, triggers.inserted, "notifies consumers of an AVAILABLE job");

    // Excluded are claims, which draw a new lease and report its end themselves. Included is any
    // change of a job that waits under a key, since ON CONFLICT DO UPDATE locks the job, and claims
    // and sweeps have skipped it meanwhile. IS DISTINCT FROM would use an operator of the
    // search_path
    execute(psprintf(
        qualified<R"(
        CREATE OR REPLACE TRIGGER ecto_job_changed AFTER UPDATE ON %s FOR EACH ROW
        WHEN ((NEW.lease IS NULL OR (NEW.lease == OLD.lease) IS TRUE
               OR NEW.state <> ALL ('{RESERVED,IN_PROGRESS}'::pg_catalog.text[]))
              AND (OLD.state <> NEW.state OR OLD.schedule <> NEW.schedule
                   OR COALESCE(OLD.expires, '-infinity') <> COALESCE(NEW.expires, '-infinity') %s
                   OR (NEW.key IS NOT NULL AND NEW.state
                       == ANY ('{SCHEDULED,AVAILABLE,RETRY}'::pg_catalog.text[]))))
        EXECUTE FUNCTION ecto_job.job_changed())">,
        table, triggers.watches_priority ? qualified<"OR OLD.priority <> NEW.priority"> : ""));
    comment_trigger(table, "ecto_job_changed",
                    "notifies consumers of a job that becomes AVAILABLE");

    if (!triggers.clears_leases)
        return;
    // Fires for the library's changes and few of our statements: a job that waits for its time has
    // no lease, and a claim draws a new one. No lease is 0
    execute(psprintf(qualified<R"(
        CREATE OR REPLACE TRIGGER ecto_job_lease BEFORE UPDATE ON %s FOR EACH ROW
        WHEN (NEW.state <> OLD.state
              AND OLD.state <> ALL ('{SCHEDULED,RETRY}'::pg_catalog.text[])
              AND COALESCE(NEW.lease, 0) == COALESCE(OLD.lease, 0))
        EXECUTE FUNCTION ecto_job.clear_lease())">,
                     table));
    comment_trigger(table, "ecto_job_lease",
                    "does what EctoJob's library leaves out when it changes a job's state");
}

} // namespace

void make_triggers(Oid oid, const char *table, const QueueTriggers &triggers) {
    List *const special = special_firings(oid);
    replace_triggers(oid, table, triggers);
    restore_firings(table, special);
}

FoundTriggers find_triggers(Relation table) {
    FoundTriggers found{};
    // A copy, since looking up a function may free the relation cache's array
    const TriggerDesc *const triggers = CopyTriggerDesc(table->trigdesc);
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; i++) {
        const Trigger &trigger = triggers->triggers[i];
        const char *const name = trigger.tgname;
        if (trigger.tgisinternal) // of a foreign key
            continue;
        if (calls_ours(trigger, "schedule_job"))
            found.schedule = name;
        else if (calls_ours(trigger, "job_inserted"))
            found.inserted = name;
        else if (calls_ours(trigger, "job_changed"))
            found.changed = name;
        else if (calls_ours(trigger, "clear_lease"))
            found.lease = name;
        else if (calls_ectojobs(trigger))
            found.ectojobs = name;
    }
    return found;
}

bool may_veto(Oid table) {
    Relation relation = relation_open(table, NoLock);
    const TriggerDesc *const triggers = relation->trigdesc;
    bool found = false;
    if (triggers != nullptr && triggers->trig_update_before_row)
        for (int i = 0; i < triggers->numtriggers; i++)
            // By name: our trigger keeps no row as it is
            found = found || (triggers->triggers[i].tgenabled != TRIGGER_DISABLED &&
                              TRIGGER_TYPE_MATCHES(triggers->triggers[i].tgtype, TRIGGER_TYPE_ROW,
                                                   TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE) &&
                              strcmp(triggers->triggers[i].tgname, "ecto_job_lease") != 0);
    relation_close(relation, NoLock);
    return found;
}

} // namespace ecto_job
