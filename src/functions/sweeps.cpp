// The sweeps as SQL functions: each treats all rows that are due and not locked, in one call.
#include "core/batch_size.hpp"
#include "functions/arguments.hpp"
#include "functions/composite.hpp"
#include "queue/retention.hpp"
#include "queue/transitions.hpp"

namespace ecto_job {
namespace {

constexpr int now_at = 1; // of each function
constexpr std::optional<int64> all = std::nullopt;
constexpr bool isolates_rows = true; // a row at fault must not end the caller's transaction

Datum end_leases(FunctionCallInfo fcinfo, bool exhausted) {
    return with_queue(fcinfo, [&](Queue *queue) {
        const TimestampTz now = now_argument(fcinfo, now_at, queue);
        const EndedLeases ended =
            end_expired_leases(queue, highest_key, now, all, isolates_rows, exhausted);
        return exhausted ? ended.failed : ended.expired();
    });
}

// Deletes all FAILED jobs that the queue keeps no longer. A caller who may not delete has swept
// nevertheless.
void purge(Queue *queue, TimestampTz now) {
    if (!queue->options.failed_retention_ms)
        return;
    if (pg_class_aclcheck(queue->oid, GetUserId(), ACL_DELETE) != ACLCHECK_OK) {
        ereport(WARNING,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                 errmsg("FAILED jobs of queue \"%s\" are not deleted: the right DELETE is missing",
                        NameStr(queue->table)),
                 errhint("Grant DELETE on the table, or let the scheduler delete them.")));
        return;
    }
    PurgePass pass;
    while (!purge_failed_jobs(queue, &pass, now, largest_batch).at_end)
        CHECK_FOR_INTERRUPTS();
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_activate_scheduled_jobs) {
    return with_queue(fcinfo, [&](Queue *queue) {
        const TimestampTz now = now_argument(fcinfo, now_at, queue);
        return static_cast<int64>(activate_scheduled_jobs(queue, now, all, isolates_rows));
    });
}

ECTO_JOB_FUNCTION(ecto_job_activate_expired_jobs) {
    return end_leases(fcinfo, false);
}

ECTO_JOB_FUNCTION(ecto_job_fail_expired_jobs_at_max_attempts) {
    return end_leases(fcinfo, true);
}

// Ends leases, activates jobs and deletes old FAILED jobs, all with one `now`. Jobs of ended
// sessions are not given back.
ECTO_JOB_FUNCTION(ecto_job_sweep) {
    const DeclaredRow result = declared_row(fcinfo);
    return with_queue(fcinfo, [&](Queue *queue) {
        const TimestampTz now = now_argument(fcinfo, now_at, queue);
        const EndedLeases ended = end_expired_leases(queue, highest_key, now, all, isolates_rows);
        const uint64 activated = activate_scheduled_jobs(queue, now, all, isolates_rows);
        purge(queue, now);
        Datum values[] = {Int64GetDatum(static_cast<int64>(activated)),
                          Int64GetDatum(ended.expired()), Int64GetDatum(ended.failed)};
        bool nulls[] = {false, false, false};
        return to_row(result, values, nulls); // in the caller's memory
    });
}
