// What the view ecto_job.queues shows beyond the registry: how the sweeps of a queue go and why
// not, and when its next job is due; and two checks for the install scripts. All only read, so they
// work on a standby. They plan nothing on a queue's table: the planner would run code of its owner
// with the rights of whoever looks. The scheduler leaves the next due time in shared memory.
//
// Everybody may call these functions, so each checks that the caller may read the queue.
#include "core/version.hpp"
#include "functions/composite.hpp"
#include "functions/readers.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/database.hpp"
#include "pg/names.hpp"
#include "server_settings.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_slots.hpp"
#include "table/distribution.hpp"

namespace ecto_job {

namespace {

// Returns why nothing is swept in this database; null if a scheduler is at work.
const char *why_no_scheduler() {
    if (RecoveryInProgress())
        return "no scheduler: the server is a standby";
    if (!settings::enabled)
        return "no scheduler: ecto_job.enabled is off";
    if (shared_state() == nullptr)
        return next_scheduler_process() != nullptr
                   ? nullptr
                   : "no scheduler: add ecto_job to shared_preload_libraries and restart the "
                     "server; until then SELECT ecto_job.start_scheduler()";
    if (!is_connectable(MyDatabaseId))
        return "no scheduler: the database is closed to connections";
    if (!settings::lists_database(database_name()))
        return "no scheduler: ecto_job.databases does not name this database";
    const SharedLock lock(LW_SHARED);
    const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId);
    if (scheduler != nullptr && scheduler->state == SchedulerState::outdated)
        return "no scheduler: the extension is newer than the library; restart the server";
    if (scheduler != nullptr && scheduler->state != SchedulerState::requested)
        return nullptr;
    return shared_state()->launcher.no_worker_slot
               ? "no scheduler: no background worker is free; raise max_worker_processes"
               : "no scheduler: it starts within a minute, or ended with an error that the "
                 "server's log shows";
}

bool do_all_fail(const SkippedJobs &jobs) {
    return jobs.all && jobs.until > GetCurrentTimestamp();
}

// Returns the status of a queue whose claims or sweeps skip jobs; null if they skip none.
const char *skipped_by(const char *what, const SkippedJobs &jobs) {
    if (jobs.count == 0 || jobs.until <= GetCurrentTimestamp())
        return nullptr;
    return psprintf("ok; %d job%s skipped by %s: %s", jobs.count, jobs.count == 1 ? "" : "s", what,
                    jobs.reason);
}

// A batch that takes longer keeps others waiting
constexpr int64 slow_us = 2'000'000;

// Returns the status of a queue whose batch under way, or last batch, is slow; null if neither is.
const char *slowness_of(const Health &health) {
    const int64 running_us = health.in_sweep ? GetCurrentTimestamp() - health.sweep_began : 0;
    if (running_us > slow_us)
        return psprintf("slow: its batch has taken %.1f s so far; a trigger or index of the table "
                        "may be slow",
                        static_cast<double>(running_us) / 1e6);
    // One that moved nothing is not repeated for long, and may have been slow by chance
    if (health.batch_jobs > 0 && health.batch_us > slow_us)
        return psprintf("slow: its last batch took %.1f s and moved " INT64_FORMAT
                        "; a trigger or index of the table may be slow",
                        static_cast<double>(health.batch_us) / 1e6, health.batch_jobs);
    return nullptr;
}

// Returns why no job of this database is announced; null: jobs are announced.
const char *why_unannounced() {
    char why[sizeof SchedulerSlot::why_unannounced] = "";
    {
        const SharedLock lock(LW_SHARED);
        if (const SchedulerSlot *const scheduler = scheduler_of(MyDatabaseId))
            memcpy(why, scheduler->why_unannounced, sizeof why);
    }
    return why[0] != '\0' ? psprintf("not announced: %s", why) : nullptr; // may raise: not locked
}

const char *status_of(const QueueRecord *record) {
    if (shared_state() == nullptr) // only the scheduler itself knows how its sweeps go
        return "ok";
    if (record == nullptr)
        return "not recorded: it is new, or all places for queues are taken; raise "
               "ecto_job.max_queues";
    if (record->health.failures > 0)
        return psprintf("failing: %s", record->health.error);
    if (record->health.locked)
        return "locked: the table is locked by another session";
    for (const SkippedJobs &jobs : {record->skipped_by_sweeps, record->skipped_by_claims})
        if (do_all_fail(jobs))
            return psprintf("failing: %s", jobs.reason);
    if (const char *const why = why_unannounced())
        return why;
    if (const char *const slow = slowness_of(record->health))
        return slow;
    if (const char *const skipped = skipped_by("sweeps", record->skipped_by_sweeps))
        return skipped;
    if (const char *const skipped = skipped_by("claims", record->skipped_by_claims))
        return skipped;
    return "ok";
}

Datum or_null(TimestampTz time, bool *is_null) {
    *is_null = time == 0 || time == DT_NOEND;
    return TimestampTzGetDatum(time);
}

} // namespace

} // namespace ecto_job

// queue_status(queue regclass, enabled boolean): `enabled` is scheduler_state's, null if it has no
// row
ECTO_JOB_FUNCTION(ecto_job_queue_status) {
    using namespace ecto_job;
    enum { queue_arg, enabled_arg };
    enum { status_column, last_sweep, activated, expired, failed, next_due, column_count };
    const DeclaredRow result = declared_row(fcinfo);
    Datum values[column_count] = {};
    bool nulls[column_count] = {true, true, true, true, true, true};
    const Oid queue = PG_ARGISNULL(queue_arg) ? InvalidOid : PG_GETARG_OID(queue_arg);
    const bool allowed = !PG_ARGISNULL(queue_arg) && (may_read(queue) || is_monitor());
    if (allowed) {
        QueueRecord record{};
        const bool recorded = shared_state() != nullptr && copy_record(queue, &record);
        const char *status = nullptr;
        if (is_distributed_table(queue))
            status =
                "not swept: Citus distributes its table; create a queue in a schema that is not "
                "distributed";
        else if (!PG_ARGISNULL(enabled_arg) && !PG_GETARG_BOOL(enabled_arg))
            status = "disabled";
        else if (shared_state() != nullptr && PG_ARGISNULL(enabled_arg))
            status =
                "no scheduler: a copied or restored database; SELECT ecto_job.enable() starts it";
        else
            status = why_no_scheduler();
        if (status == nullptr)
            status = status_of(recorded ? &record : nullptr);
        nulls[status_column] = nulls[activated] = nulls[expired] = nulls[failed] = false;
        values[status_column] = CStringGetTextDatum(status);
        values[last_sweep] = or_null(record.health.last_sweep, &nulls[last_sweep]);
        values[activated] = Int64GetDatum(record.health.activated);
        values[expired] = Int64GetDatum(record.health.expired);
        values[failed] = Int64GetDatum(record.health.failed);
        // The view shows pg_monitor how the sweeps go, and no time of a job; queue_depth() does
        if (may_see_jobs(queue))
            values[next_due] = or_null(record.health.next_due, &nulls[next_due]);
    }
    return to_row(result, values, nulls);
}

// For the install and upgrade scripts, which may be newer than the library that a server has loaded
ECTO_JOB_FUNCTION(ecto_job_require_library) {
    const char *const version = text_to_cstring(PG_GETARG_TEXT_PP(0));
    if (ecto_job::compare_versions(version, ECTO_JOB_VERSION) > 0)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("the loaded library of ecto_job is older than the extension's SQL"),
                 errdetail("The library is version %s, the SQL %s.", ECTO_JOB_VERSION, version),
                 errhint("Restart the server, which loads the new library.")));
    PG_RETURN_VOID();
}

// For the install script
ECTO_JOB_FUNCTION(ecto_job_warn_unless_preloaded) {
    if (ecto_job::shared_state() == nullptr)
        ereport(
            WARNING,
            (errmsg("ecto_job is not in shared_preload_libraries: no scheduler will run"),
             errdetail("Jobs can be enqueued and performed; scheduled jobs, retries and expired "
                       "ones wait until ecto_job.sweep(queue) is called."),
             errhint("Add to postgresql.conf: shared_preload_libraries = 'ecto_job'   and "
                     "restart the server. Until then SELECT ecto_job.start_scheduler() starts "
                     "one.")));
    PG_RETURN_VOID();
}
