// Running a batch and recording its result. See sweep.hpp.
#include "scheduler/sweep.hpp"

#include <algorithm>

#include "queue/notifications.hpp"
#include "queue/queue.hpp"
#include "queue/rows_at_fault.hpp"
#include "queue/subtransaction.hpp"
#include "scheduler/batch.hpp"
#include "scheduler/failure_reports.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/stopwatch.hpp"
#include "scheduler/try_transaction.hpp"
#include "server_settings.hpp"
#include "shared/mailbox.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

// A queue without work keeps its plans only if its next full sweep comes within this time
constexpr int64 longest_kept_idle_ms = 10'000;
// How long batches isolate rows after a row was at fault, since more such rows are likely
constexpr int64 isolate_rows_ms = 60'000;

const WatchedQueue *in_sweep = nullptr; // the queue whose batch is running: owner_in_sweep()

// Logs the batch if ecto_job.log_min_duration is 0 and the batch has changed jobs, or if the
// setting is positive and the batch has taken at least that long.
void log_batch(const WatchedQueue *queue, const TransactionResult &result, int64 ms) {
    const Moved &moved = result.moved;
    const int least_ms = settings::log_min_duration_ms;
    const bool wanted =
        least_ms == 0 ? moved.count() + result.deleted > 0 : least_ms > 0 && ms >= least_ms;
    if (wanted)
        ereport(LOG,
                (errmsg("swept queue \"%s\" in " INT64_FORMAT " ms: " INT64_FORMAT
                        " jobs activated, " INT64_FORMAT " expired, " INT64_FORMAT " failed%s",
                        queue->name, ms, moved.activated, moved.ended.expired(), moved.ended.failed,
                        result.deleted > 0
                            ? psprintf(", " INT64_FORMAT " FAILED deleted", result.deleted)
                            : "")));
}

// Returns the time limit of a further transaction of the batch: the rest of ecto_job.sweep_timeout,
// but at least half of sweep_timeout.
int time_left_ms(const Stopwatch &watch) {
    return std::max(settings::sweep_timeout_ms - static_cast<int>(watch.us() / 1000),
                    settings::sweep_timeout_ms / 2);
}

// Runs one transaction, and after its commit reports new AVAILABLE jobs, also of tables whose
// triggers are off. Returns null, or the error.
ErrorData *run_transaction(WatchedQueue *queue, const Assignment &assignment,
                           TransactionResult *result) {
    forget_single_job();
    ErrorData *const error =
        try_transaction([&] { run_batch_transaction(queue, assignment, result); });
    settle_notifications(error == nullptr);
    if (error == nullptr && result->announces)
        report({.queue = queue->oid, .available = true});
    return error;
}

// Makes the queue's batches isolate rows for a minute, first the failed one when it is repeated.
// Returns false if the repetition is of no use: no row is at fault, or the batch isolated rows.
bool begin_isolating_rows(WatchedQueue *queue, const ErrorData *error) {
    const TimestampTz now = GetCurrentTimestamp();
    if (queue->isolate_rows_until > now || !is_row_error(error->sqlerrcode))
        return false;
    queue->isolate_rows_until = TimestampTzPlusMilliseconds(now, isolate_rows_ms);
    return true;
}

// Runs the batch, and a second time to isolate the row if a row may be at fault. Returns null, or
// the error.
ErrorData *move_jobs(WatchedQueue *queue, Assignment assignment, const Stopwatch &watch,
                     TransactionResult *result) {
    ErrorData *error = run_transaction(queue, assignment, result);
    if (error != nullptr && begin_isolating_rows(queue, error)) {
        *result = {};
        assignment.limit_ms = time_left_ms(watch);
        error = run_transaction(queue, assignment, result);
    }
    if (error != nullptr)
        *result = {.in_commit = result->in_commit};
    return error;
}

// Makes the queue's next batch smaller if this one was cancelled by its time limit (but not in its
// commit: the size is not to blame). A batch of a single job cannot be smaller; the job is skipped.
void shrink_batch(WatchedQueue *queue, const ErrorData *error, bool in_commit) {
    if (error->sqlerrcode != ERRCODE_QUERY_CANCELED || !was_over_limit() || in_commit)
        return;
    if (queue->batch_size.jobs() == 1)
        skip_slow_job(queue->oid, queue->name);
    queue->batch_size.timed_out();
}

void begin_batch(WatchedQueue *queue) {
    in_sweep = queue;
    const SharedLock lock(LW_EXCLUSIVE);
    queue->record->health.in_sweep = true;
    queue->record->health.sweep_began = GetCurrentTimestamp();
}

void count_batch(WatchedQueue *queue, const Moved &moved, int64 took_us) {
    const SharedLock lock(LW_EXCLUSIVE);
    Health &health = queue->record->health;
    health.batch_us = took_us;
    health.batch_jobs = moved.count();
    health.activated += moved.activated;
    health.expired += moved.ended.expired();
    health.failed += moved.ended.failed;
}

void record_result(WatchedQueue *queue, const Work &work, const Found &found, int64 took_us) {
    const TimestampTz now = GetCurrentTimestamp();
    const bool was_failing = queue->agenda.is_failing();
    queue->agenda.finished(
        work, found, now,
        {.took = took_us,
         .longest_sweep = settings::sweep_timeout_ms * INT64CONST(1000) / 2, // half, in us
         .full_interval = full_interval_ms(queue) * 1000});
    {
        const SharedLock lock(LW_EXCLUSIVE);
        Health &health = queue->record->health;
        health.in_sweep = false;
        health.failures = queue->agenda.failures();
        if (found.end == BatchEnd::interrupted)
            return;
        health.locked = found.end == BatchEnd::locked;
        if (!health.locked)
            health.last_sweep = now;
        if (found.end == BatchEnd::looked_ahead && work.activate)
            health.next_due = queue->agenda.next_due();
    }
    if (was_failing && !queue->agenda.is_failing())
        ereport(LOG, (errmsg("sweep of queue \"%s\" works again", queue->name)));
}

} // namespace

Oid owner_in_sweep() {
    return in_sweep != nullptr ? in_sweep->owner : InvalidOid;
}

AfterBatch sweep_batch(WatchedQueue *queue, const Work &work, Oid extension, int slot) {
    Assert(!work.empty());
    const Stopwatch watch;
    const Leftovers before = leftovers();
    begin_batch(queue);
    Assignment assignment{work, extension, GetCurrentTimestamp(), settings::sweep_timeout_ms,
                          false};
    TransactionResult result; // of the transactions that move jobs
    ErrorData *error = move_jobs(queue, assignment, watch, &result);
    const int64 moved_us = watch.us();
    TransactionResult last = result; // of the last transaction, which may be the look-ahead
    if (error == nullptr && result.found.end == BatchEnd::moved && !must_leave(slot)) {
        assignment.only_looks_ahead = true;
        assignment.limit_ms = time_left_ms(watch);
        last.moved = {};
        last.in_commit = false;
        error = run_transaction(queue, assignment, &last);
    }
    count_batch(queue, result.moved, watch.us());
    if (error != nullptr) {
        shrink_batch(queue, error, last.in_commit);
        record_failure(queue, error, last.in_commit);
    } else {
        if (result.found.end != BatchEnd::locked && !work.purge)
            queue->batch_size.finished(result.moved.count(), moved_us);
        record_result(queue, work, last.found, watch.us());
    }
    log_batch(queue, result, watch.us() / 1000);
    const bool moved_nothing = work.full && result.moved.count() == 0;
    if (moved_nothing && full_interval_ms(queue) > longest_kept_idle_ms)
        free_queue(queue->oid); // with its plans
    const Excess excess = record_leftovers(queue->owner, before);
    if (excess != Excess::none) {
        record_excess(queue, excess);
        // Without a launcher nobody would start another process, so this one goes on
        if (is_state_shared())
            return AfterBatch::end_process; // in_sweep stays set: the owner backs off at the exit
    }
    in_sweep = nullptr;
    const bool interrupted = error == nullptr && last.found.end == BatchEnd::interrupted;
    return interrupted ? AfterBatch::extension_going : AfterBatch::go_on;
}

} // namespace ecto_job
