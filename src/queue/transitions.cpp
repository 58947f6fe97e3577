// The state machine. See transitions.hpp; the texts of its statements stand in statements.cpp.
#include "queue/transitions.hpp"

#include <algorithm>

#include "core/lease.hpp"
#include "core/times.hpp"
#include "queue/claim_start.hpp"
#include "queue/leases.hpp"
#include "queue/notifications.hpp"
#include "queue/pending_changes.hpp"
#include "queue/run_selection.hpp"
#include "queue/run_statement.hpp"
#include "queue/stale_completion.hpp"
#include "queue/unique_jobs.hpp"
#include "shared/session_leases.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {

namespace {

void notify_each(Queue *queue, Notification notification) {
    const Rows rows;
    const Column<Shown> notify(rows, "notify");
    for (uint64 row = 0; row < rows.size(); row++)
        send_notification(queue, notification, notify[row].value_or(nullptr));
}

void warn_if_started_here(Queue *queue, int64 lease) {
    if (drawn_in_this_transaction(lease))
        ereport(WARNING,
                (errmsg("a job of queue \"%s\" is completed in the transaction that started it",
                        NameStr(queue->table)),
                 errhint("Commit after starting; else a rollback uncounts the attempt.")));
}

// Returns `now` plus `ms`. ERROR 22008 if that time is out of range; the message calls `ms` by
// `name`.
TimestampTz later(Queue *queue, TimestampTz now, int64 ms, const char *name) {
    const std::optional<Micros> time = reservation_expiry(now, ms);
    if (!time)
        ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
                        errmsg("%s of queue \"%s\" is out of range: " INT64_FORMAT " ms", name,
                               NameStr(queue->table), ms),
                        errhint("Give a shorter %s.", name)));
    return *time;
}

// Returns the end of a lease that is the same for all rows.
TimestampTz expiry(Queue *queue, TimestampTz now, int64 timeout_ms) {
    return later(queue, now, timeout_ms, "timeout");
}

// Returns the key of a claim's last job; the rows are not sorted yet. If the table's owner has
// given a column another type, this is highest_key, and returning the rows raises the error.
JobKey last_key(const Rows &rows) {
    if (!KeyColumns::fit(rows.columns()))
        return highest_key;
    const KeyColumns keys(rows);
    JobKey last = lowest_key;
    for (uint64 row = 0; row < rows.size(); row++)
        last = std::max(last, keys[row]);
    return last;
}

// Returns when the first lease of a claim ends. A job that a trigger of the table's owner has given
// another state does not count, since our own trigger reports it. If the owner has given the column
// another type, returns DT_NOBEGIN, so that a sweep is due at once and reads the leases.
TimestampTz first_expiry(const Rows &rows) {
    if (rows.columns().find<Timestamptz>("expires") == 0)
        return DT_NOBEGIN;
    const Column<Timestamptz> expires(rows, "expires");
    const StateColumn state(rows);
    TimestampTz first = DT_NOEND;
    for (uint64 row = 0; row < rows.size(); row++)
        if (is_held(state[row]))
            first = std::min(first, expires[row].value_or(DT_NOBEGIN));
    return first;
}

// Returns the arguments of the fragment {next_time} in statements.cpp. ERROR 22008 if the time
// after one timeout is out of range.
Arguments next_time_arguments(Queue *queue, TimestampTz now, int64 timeout_ms) {
    expiry(queue, now, timeout_ms); // raises the error
    return {.now = now, .timeout = timeout_ms, .attempt_limit = last_attempt(now, timeout_ms) - 1};
}

uint64 claim_from(Queue *queue, Selection claim, const JobKey &from) {
    claim.arguments.from = from;
    const uint64 claimed = run_claim(queue, claim);
    if (claimed == 0)
        return 0;
    const Rows rows;
    const JobKey last = last_key(rows);
    record_lease(queue->oid, last,
                 first_expiry(rows)); // once, where the trigger would for each job
    record_claim(queue->oid, claimed);
    if (is_bound(*claim.arguments.lease))
        remember_claim(queue->oid, last);
    return claimed;
}

uint64 run_from_mark(Queue *queue, const Selection &claim) {
    const uint64 claimed =
        search_from_mark(queue, [&](const JobKey &from) { return claim_from(queue, claim, from); });
    settle_wake_up(queue->oid); // not earlier: if the claim fails, another session gets the wake-up
    return claimed;
}

std::optional<JobKey> find_key(Queue *queue, Statement statement, const Arguments &arguments) {
    return run(queue, statement, arguments) == 0 ? std::nullopt
                                                 : std::optional(KeyColumns(Rows())[0]);
}

std::optional<TimestampTz> find_time(Queue *queue, Statement statement,
                                     const Arguments &arguments) {
    return run(queue, statement, arguments) == 0 ? std::nullopt
                                                 : Rows().only().get<Timestamptz>("time");
}

} // namespace

int64 enqueue(Queue *queue, const Arguments &job, OnConflict on_conflict) {
    // Under session_replication_role = replica our triggers do not set the state, so the statement
    // does. Otherwise they do, and producers need no right to the column
    const bool scheduled = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
                           job.schedule > GetCurrentTimestamp();
    if (scheduled && job.key != nullptr)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("a job with a key cannot be scheduled for queue \"%s\" while its "
                               "triggers do not fire",
                               NameStr(queue->table)),
                        errhint("SET session_replication_role = origin.")));
    const bool taken =
        job.key != nullptr
            ? enqueue_unique(queue, job, on_conflict)
            : run(queue, scheduled ? Statement::enqueue_scheduled : Statement::enqueue, job) == 1;
    if (!taken)
        ereport(ERROR,
                (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
                 errmsg("queue \"%s\" did not take the job", NameStr(queue->table)),
                 errhint("A trigger or rule of the table suppressed the INSERT%s.",
                         job.key != nullptr ? ", or a policy hides the job that waits under the key"
                                            : "")));
    return Rows().only().get<Int8>("id").value_or(0); // null: the owner has dropped NOT NULL
}

uint64 activate_scheduled_jobs(Queue *queue, TimestampTz now, std::optional<int64> limit,
                               bool isolates_rows) {
    const Taken taken = run_sweep(queue,
                                  {Statement::activate_scheduled_jobs,
                                   Statement::select_scheduled_jobs,
                                   Statement::activate_selected_jobs,
                                   Walk::scheduled,
                                   {.now = now, .limit = limit}},
                                  isolates_rows);
    return static_cast<uint64>(taken.count);
}

uint64 available_jobs(Queue *queue, int64 demand) {
    return run(queue, Statement::available_jobs, {.limit = demand});
}

uint64 reserve_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms) {
    const TimestampTz expires = expiry(queue, now, timeout_ms);
    return run_from_mark(
        queue, {Statement::reserve_available_jobs,
                Statement::select_available_jobs,
                Statement::reserve_selected_jobs,
                Walk::claims,
                {.now = now, .lease = draw_lease(), .expires = expires, .limit = demand}});
}

uint64 update_job_in_progress(Queue *queue, int64 id, int32 attempt, TimestampTz now,
                              int64 timeout_ms, std::optional<int64> lease) {
    Arguments arguments = next_time_arguments(queue, now, timeout_ms);
    arguments.id = id;
    arguments.attempt = attempt;
    arguments.lease = lease;
    return run(queue, Statement::update_job_in_progress, arguments);
}

uint64 start_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms) {
    Arguments arguments = next_time_arguments(queue, now, timeout_ms);
    arguments.lease = draw_lease();
    arguments.limit = demand;
    return run_from_mark(queue, {Statement::start_available_jobs, Statement::select_available_jobs,
                                 Statement::start_selected_jobs, Walk::claims, arguments});
}

void delete_job(Queue *queue, int64 id, int32 attempt, std::optional<int64> lease,
                bool with_notification) {
    if (run(queue, Statement::delete_job, {.id = id, .attempt = attempt, .lease = lease}) != 1)
        raise_stale(queue, id, {lease, attempt});
    if (lease)
        warn_if_started_here(queue, *lease);
    if (with_notification)
        notify_each(queue, Notification::completed);
}

void complete_job(Queue *queue, int64 id, int64 lease) {
    if (run(queue, Statement::complete_job, {.id = id, .lease = lease}) != 1)
        raise_stale(queue, id, {lease, std::nullopt});
    warn_if_started_here(queue, lease);
    notify_each(queue, Notification::completed);
}

uint64 complete_jobs(Queue *queue, ArrayType *ids, ArrayType *leases) {
    const uint64 deleted = run(queue, Statement::complete_jobs,
                               {.ids = ids, .lease = only_lease(leases), .leases = leases});
    if (deleted != elements_of(ids).size())
        raise_if_stale(queue, ids, leases);
    if (!elements_of(leases).empty())
        warn_if_started_here(queue, elements_of(leases)[0]);
    notify_each(queue, Notification::completed);
    return deleted;
}

uint64 job_failed(Queue *queue, int64 id, std::optional<int32> attempt, std::optional<int64> lease,
                  TimestampTz now, int64 retry_timeout_ms, const FailedAttempt &failed) {
    const bool by_queue = failed.retry && !failed.delay_ms;
    Arguments arguments = by_queue ? next_time_arguments(queue, now, retry_timeout_ms)
                                   : Arguments{.now = now, .timeout = 0, .attempt_limit = 0};
    add_retry_delay(queue->options.retry, &arguments);
    arguments.id = id;
    arguments.attempt = attempt;
    arguments.lease = lease;
    arguments.error = failed.error;
    arguments.retry = failed.retry;
    if (failed.delay_ms)
        arguments.due = later(queue, now, *failed.delay_ms, "delay");
    const uint64 changed = run_wait_again(queue, Statement::job_failed, arguments);
    const std::optional<State> state = changed > 0 ? StateColumn(Rows())[0] : std::nullopt;
    if (state == State::failed)
        notify_each(queue, Notification::failed);
    else if (state == State::retry)
        notify_each(queue, Notification::retry);
    return changed;
}

uint64 snooze_job(Queue *queue, int64 id, int64 lease, TimestampTz now, int64 delay_ms) {
    Arguments arguments{.now = now, .id = id, .lease = lease};
    if (delay_ms > 0)
        arguments.due = later(queue, now, delay_ms, "delay");
    return run_wait_again(queue, Statement::snooze_job, arguments);
}

std::optional<TimestampTz> extend_lease(Queue *queue, int64 id, int64 lease, TimestampTz now,
                                        int64 duration_ms) {
    return find_time(queue, Statement::extend_lease,
                     {.now = now,
                      .id = id,
                      .lease = lease,
                      .expires = later(queue, now, duration_ms, "duration")});
}

uint64 cancel_job(Queue *queue, int64 id, const text *reason) {
    const uint64 deleted = run(queue, Statement::cancel_job, {.id = id, .error = reason});
    notify_each(queue, Notification::failed);
    return deleted;
}

EndedLeases end_expired_leases(Queue *queue, const JobKey &to, TimestampTz now,
                               std::optional<int64> limit, bool isolates_rows,
                               std::optional<bool> exhausted) {
    return sweep_leases(queue,
                        {Statement::end_expired_leases,
                         Statement::select_expired_jobs,
                         Statement::end_selected_leases,
                         Walk::leases,
                         {.now = now, .exhausted = exhausted, .to = to, .limit = limit}},
                        isolates_rows);
}

ArrayType *ended_sessions(Queue *queue, const JobKey &to) {
    if (run(queue, Statement::bound_sessions, {.to = to}) == 0)
        return nullptr;
    const Rows rows;
    auto *const ended = static_cast<Datum *>(palloc(rows.size() * sizeof(Datum)));
    int ended_count = 0;
    const Column<Int8> sessions(rows, "session");
    for (uint64 row = 0; row < rows.size(); row++)
        // Asked after the rows were read: a session that held a row then was live, or has ended
        if (!is_live_session(*sessions[row]))
            ended[ended_count++] = Int64GetDatum(*sessions[row]);
    return ended_count == 0 ? nullptr : bigint_array(ended, ended_count);
}

EndedLeases give_back_jobs(Queue *queue, ArrayType *sessions, const JobKey &to, TimestampTz now,
                           int64 limit, bool isolates_rows) {
    const int64 timeout_ms = std::min(queue->retry_timeout_ms, longest_timeout_ms(now));
    Arguments arguments = next_time_arguments(queue, now, timeout_ms);
    add_retry_delay(queue->options.retry, &arguments);
    arguments.error = cstring_to_text("the consumer's connection ended");
    arguments.sessions = sessions;
    arguments.to = to;
    arguments.limit = limit;
    return sweep_leases(queue,
                        {Statement::give_back_jobs, Statement::select_orphaned_jobs,
                         Statement::give_back_selected_jobs, Walk::orphans, arguments},
                        isolates_rows);
}

uint64 requeue(Queue *queue, int64 id, TimestampTz now) {
    return run_requeue(queue, {.now = now, .id = id});
}

std::optional<TimestampTz> next_due(Queue *queue, TimestampTz from) {
    return find_time(queue, Statement::next_due, {.now = from});
}

std::optional<TimestampTz> next_expiry(Queue *queue, const JobKey &to, TimestampTz from) {
    return find_time(queue, Statement::next_expiry, {.now = from, .to = to});
}

JobKey last_held(Queue *queue) {
    if (!queue->layout.in_play)
        return highest_key;
    return find_key(queue, Statement::last_held, {}).value_or(lowest_key);
}

std::optional<JobKey> first_available(Queue *queue, const JobKey &from) {
    return find_key(queue, Statement::first_available, {.from = from});
}

JobKey end_of_head(Queue *queue) {
    constexpr int64 head = 10'000;
    return find_key(queue, Statement::end_of_head, {.limit = head - 1}).value_or(highest_key);
}

} // namespace ecto_job
