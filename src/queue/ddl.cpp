// DDL on queues' tables. See ddl.hpp.
//
// Everything here changes catalogs only: no table is rewritten or read.
#include "queue/ddl.hpp"

namespace ecto_job {

namespace {

constexpr int lock_timeout_ms = 2000;

void hint_at_trying_again(void *) {
    if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
        errhint("A transaction uses the queue's table. Try again, or when fewer do.");
}

void comment_trigger(const char *table, const char *trigger, const char *comment) {
    execute(psprintf("COMMENT ON TRIGGER %s ON %s IS %s", quote_identifier(trigger), table,
                     quote_literal_cstr(comment)));
}

} // namespace

void execute(const char *text) {
    const int result = SPI_execute(text, false, 0);
    if (result < 0)
        elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

void lock_briefly(Oid table) {
    const int nest = NewGUCNestLevel();
    if (LockTimeout == 0 || LockTimeout > lock_timeout_ms)
        set_config_option("lock_timeout", psprintf("%dms", lock_timeout_ms), PGC_USERSET,
                          PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    ErrorContextCallback hint{error_context_stack, hint_at_trying_again, nullptr};
    error_context_stack = &hint;
    LockRelationOid(table, AccessExclusiveLock);
    error_context_stack = hint.previous;
    AtEOXact_GUC(false, nest);
}

void comment_column(const char *table, const char *column, const char *comment) {
    execute(psprintf("COMMENT ON COLUMN %s.%s IS %s", table, quote_identifier(column),
                     quote_literal_cstr(comment)));
}

void make_triggers(const char *table, const QueueTriggers &triggers) {
    execute(psprintf("CREATE OR REPLACE TRIGGER ecto_job_schedule BEFORE INSERT ON %s FOR EACH ROW"
                     " WHEN (NEW.state OPERATOR(pg_catalog.=) 'AVAILABLE'"
                     " AND NEW.schedule OPERATOR(pg_catalog.>) %s)"
                     " EXECUTE FUNCTION ecto_job.schedule_job()",
                     table,
                     triggers.utc_schedule
                         ? "pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())"
                         : "pg_catalog.clock_timestamp()"));
    comment_trigger(table, "ecto_job_schedule", "a job inserted for the future is SCHEDULED");

    execute(psprintf("CREATE OR REPLACE TRIGGER %s AFTER INSERT ON %s FOR EACH ROW"
                     " EXECUTE FUNCTION ecto_job.job_inserted()",
                     quote_identifier(triggers.inserted), table));
    comment_trigger(table, triggers.inserted, "notifies consumers of an AVAILABLE job");

    execute(psprintf(
        "CREATE OR REPLACE TRIGGER ecto_job_changed AFTER UPDATE ON %s FOR EACH ROW"
        " WHEN (OLD.state OPERATOR(pg_catalog.<>) NEW.state"
        " OR OLD.schedule OPERATOR(pg_catalog.<>) NEW.schedule"
        " OR OLD.expires IS DISTINCT FROM NEW.expires%s)"
        " EXECUTE FUNCTION ecto_job.job_changed()",
        table,
        triggers.watches_priority ? " OR OLD.priority OPERATOR(pg_catalog.<>) NEW.priority" : ""));
    comment_trigger(table, "ecto_job_changed",
                    "notifies consumers of a job that becomes AVAILABLE");

    if (!triggers.clears_leases)
        return;
    execute(psprintf("CREATE OR REPLACE TRIGGER ecto_job_lease BEFORE UPDATE ON %s FOR EACH ROW"
                     " WHEN (NEW.lease OPERATOR(pg_catalog.=) OLD.lease"
                     " AND NEW.state OPERATOR(pg_catalog.<>) OLD.state"
                     " AND NEW.state OPERATOR(pg_catalog.<>) 'IN_PROGRESS')"
                     " EXECUTE FUNCTION ecto_job.clear_lease()",
                     table));
    comment_trigger(table, "ecto_job_lease",
                    "ends a lease that EctoJob's library does not know of");
}

void drop_state_statistics(Oid oid, const char *table) {
    execute(psprintf("ALTER TABLE ONLY %s ALTER COLUMN state SET STATISTICS 0", table));
    // ANALYZE passes the column over from now on, and would leave what it found before
    RemoveStatistics(oid, get_attnum(oid, "state"));
}

} // namespace ecto_job
