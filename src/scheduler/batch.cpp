// The work of one transaction of a batch. See batch.hpp.
#include "scheduler/batch.hpp"

#include <algorithm>

#include "queue/notifications.hpp"
#include "queue/owner.hpp"
#include "queue/queue.hpp"
#include "queue/rows_at_fault.hpp"
#include "scheduler/registry_snapshot.hpp"
#include "scheduler/try_transaction.hpp"
#include "shared/queue_records.hpp"
#include "table/check.hpp"

namespace ecto_job {

namespace {

// A transaction while it runs.
struct Run {
    const WatchedQueue *watched;
    Queue *queue;
    const Assignment &assignment;
    TransactionResult *result;
    PurgePass *purge_pass;
    const Work &work = assignment.work;
    TimestampTz now = assignment.now;
    int64 size = watched->batch_size.jobs();
    bool isolates_rows = watched->isolate_rows_until > now; // since a row was at fault lately
};

// Raises an error unless the table is of a kind that can be a queue. Its owner may have changed the
// table since it was registered.
void require_plain_table(Relation table) {
    if (const char *const fault = fault_of_table(table))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                 errmsg("table \"%s\" is not swept: %s", RelationGetRelationName(table), fault)));
}

// Gives back jobs of ended sessions. Returns whether more may be left.
bool reclaim(const Run &run) {
    const JobKey up_to = run.work.orphans_in_head ? end_of_head(run.queue) : run.work.orphans_up_to;
    ArrayType *const ended = ended_sessions(run.queue, up_to);
    if (ended != nullptr) {
        const EndedLeases given_back =
            give_back_jobs(run.queue, ended, up_to, run.now, run.size, run.isolates_rows);
        run.result->moved.add(given_back);
        if (given_back.count() >= run.size)
            return true;
    }
    const bool stuck = ended != nullptr && ended_sessions(run.queue, up_to) != nullptr;
    run.result->found.orphans = stuck ? Orphans::stuck : Orphans::none;
    return false;
}

// Ends leases and activates jobs. Each has half of the batch, so that a backlog of one kind does
// not delay the other. Returns whether more may be left.
bool end_and_activate(const Run &run) {
    Moved &moved = run.result->moved;
    int64 room = run.size - moved.count();
    bool more = false;
    if (run.work.expire) {
        const int64 limit = run.work.activate ? (room + 1) / 2 : room;
        const EndedLeases ended =
            end_expired_leases(run.queue, run.work.leases_up_to, run.now, limit, run.isolates_rows);
        moved.add(ended);
        room -= ended.count();
        more = ended.count() >= limit;
    }
    if (run.work.activate && room > 0) {
        moved.activated = static_cast<int64>(
            activate_scheduled_jobs(run.queue, run.now, room, run.isolates_rows));
        more = more || moved.activated >= room;
    }
    if (run.watched->record->skipped_by_sweeps.count > 0 && !skips_jobs(run.queue))
        record_skipped_jobs(run.queue->oid, {.by_claims = false});
    return more;
}

BatchEnd move(const Run &run) {
    if (run.work.reclaim && reclaim(run))
        return BatchEnd::more;
    if (!run.work.activate && !run.work.expire)
        return BatchEnd::looked_ahead;
    if (end_and_activate(run))
        return BatchEnd::more;
    // If jobs have moved, they are committed and announced before the look-ahead
    return run.result->moved.count() == 0 ? BatchEnd::looked_ahead : BatchEnd::moved;
}

template <typename F> Earliest earliest(F next, TimestampTz swept_at) {
    Earliest found{.first = next(DT_NOBEGIN).value_or(never)};
    if (found.first <= swept_at)
        found.after_sweep = next(swept_at + 1).value_or(never);
    return found;
}

void look_ahead(const Run &run) {
    Found &found = run.result->found;
    if (run.work.activate)
        found.due = earliest([&](TimestampTz from) { return next_due(run.queue, from); }, run.now);
    if (run.work.expire) {
        const JobKey up_to = run.work.leases_up_to;
        found.expiry = earliest(
            [&](TimestampTz from) { return next_expiry(run.queue, up_to, from); }, run.now);
        if (up_to == highest_key && found.expiry.first != never)
            found.last_held = last_held(run.queue);
    }
    if (run.work.full && first_available(run.queue, lowest_key))
        run.result->announces = true; // the job may have been written with triggers off
}

// Deletes FAILED jobs that the queue keeps no longer. Returns whether the pass goes on.
bool purge(const Run &run) {
    const PurgeResult purged = purge_failed_jobs(run.queue, run.purge_pass, run.now, run.size);
    run.result->deleted = purged.deleted;
    if (purged.at_end)
        *run.purge_pass = {};
    return !purged.at_end;
}

void perform(const Run &run) {
    TransactionResult *const result = run.result;
    if (run.work.purge) {
        result->found.end = purge(run) ? BatchEnd::more : BatchEnd::looked_ahead;
        return;
    }
    result->found.end = run.assignment.only_looks_ahead ? BatchEnd::looked_ahead : move(run);
    result->announces = result->moved.activated + result->moved.ended.available > 0;
    if (result->found.end == BatchEnd::looked_ahead)
        look_ahead(run);
}

} // namespace

void run_batch_transaction(WatchedQueue *watched, const Assignment &assignment,
                           TransactionResult *result) {
    result->found.swept_at = assignment.now;
    result->found.end = BatchEnd::interrupted;
    if (!lock_extension(assignment.extension))
        return;
    result->found.end = BatchEnd::locked;
    if (!ConditionalLockRelationOid(watched->oid, RowExclusiveLock))
        return;
    result->found.end = BatchEnd::gone;
    limit_time(assignment.limit_ms);
    limit_process(2 * assignment.limit_ms);
    Relation table = try_relation_open(watched->oid, NoLock);
    if (table == nullptr)
        return;
    require_plain_table(table);
    Queue *const queue = find_queue(watched->oid);
    result->found.retention = queue->options.failed_retention_ms.value_or(0) * 1000;
    watched->poll_interval_ms = std::max<int64>(queue->poll_interval_ms, 1);
    set_name(watched, qualified_name(queue));
    pgstat_report_activity(STATE_RUNNING, psprintf("sweeping queue %s", watched->name));

    watched->owner = table->rd_rel->relowner;
    const FormerSelf self = become_owner(watched->owner, watched->oid);
    perform({.watched = watched,
             .queue = queue,
             .assignment = assignment,
             .result = result,
             .purge_pass = &watched->purge_pass});
    become_self(self);
    // Without a record in shared memory there is no flag; instead the notification is kept for
    // announce_pending()
    if (result->announces && !watched->has_shared_record)
        send_notification(queue, Notification::available, "");
    result->in_commit = true;
    limit_time(commit_limit_ms);
    relation_close(table, NoLock);
}

} // namespace ecto_job
