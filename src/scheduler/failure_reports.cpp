// Counting and logging of failures. See failure_reports.hpp.
#include "scheduler/failure_reports.hpp"

#include "pg/text.hpp"
#include "queue/owner.hpp"
#include "scheduler/batch.hpp"
#include "scheduler/try_transaction.hpp"
#include "server_settings.hpp"

namespace ecto_job {

namespace {

struct Failure {
    int sqlstate;
    const char *message;
    const char *detail, *hint, *context; // `detail` and `context` may be null
};

// Counts a failure. Returns whether to log the failure: it is the first of its kind since the last
// sweep that worked.
bool count_failure(WatchedQueue *queue, int sqlstate, const char *message) {
    const TimestampTz now = GetCurrentTimestamp();
    queue->agenda.failed(now);
    const SharedLock lock(LW_EXCLUSIVE);
    Health &health = queue->record->health;
    const bool is_news = health.failures == 0 || health.sqlstate != sqlstate;
    health.failures = queue->agenda.failures();
    health.sqlstate = sqlstate;
    health.in_sweep = false;
    health.last_sweep = now;
    copy_shown_text(health.error, message, sizeof health.error);
    return is_news;
}

void record(WatchedQueue *queue, const Failure &failure) {
    if (count_failure(queue, failure.sqlstate, failure.message))
        ereport(WARNING, (errcode(failure.sqlstate),
                          errmsg("sweep of queue \"%s\" failed: %s", queue->name, failure.message),
                          failure.detail != nullptr ? errdetail_internal("%s", failure.detail) : 0,
                          errhint("%s", failure.hint),
                          failure.context != nullptr ? errcontext("%s", failure.context) : 0));
}

// Returns what to do about the error, after PostgreSQL's own hint if there is one.
const char *hint_for(const ErrorData *error) {
    switch (error->sqlerrcode) {
    case ERRCODE_UNDEFINED_TABLE:
    case ERRCODE_UNDEFINED_FUNCTION:
    case ERRCODE_UNDEFINED_OBJECT:
        return psprintf("%s%sA sweep runs with search_path = %s. The table's "
                        "triggers and other code must name the schema of what they use, or be "
                        "functions with a SET search_path of their own.",
                        error->hint != nullptr ? error->hint : "",
                        error->hint != nullptr ? " " : "", safe_search_path);
    default:
        return error->hint != nullptr
                   ? error->hint
                   : "The other queues are swept as before; this one is tried again, and a line "
                     "will say when it works.";
    }
}

// Returns the error's message, or the name of the time limit that was exceeded.
const char *text_of(const ErrorData *error, bool in_commit) {
    if (error->sqlerrcode != ERRCODE_QUERY_CANCELED || !was_over_limit())
        return error->message;
    if (!in_commit)
        return psprintf("it took longer than ecto_job.sweep_timeout, %d ms",
                        settings::sweep_timeout_ms);
    return psprintf("its commit took longer than %d ms; a trigger of the table may notify, and "
                    "wait for NOTIFY's lock",
                    commit_limit_ms);
}

} // namespace

void record_failure(WatchedQueue *queue, const ErrorData *error, bool in_commit) {
    record(queue, {error->sqlerrcode, text_of(error, in_commit), error->detail, hint_for(error),
                   error->context});
}

void record_death(WatchedQueue *queue) {
    record(queue, {ERRCODE_ADMIN_SHUTDOWN, "the scheduler ended during its sweep", nullptr,
                   "A sweep that does not stop at twice ecto_job.sweep_timeout is ended with its "
                   "scheduler; a trigger of the table may be slow.",
                   nullptr});
}

void record_excess(WatchedQueue *queue, Excess excess) {
    if (excess == Excess::settings)
        record(queue,
               {ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "its code leaves settings behind in the scheduler's session",
                "A custom setting stays defined for as long as the process lives.",
                "A trigger of the table, or a function that it calls, should set the same few "
                "settings each time.",
                nullptr});
    else
        record(queue,
               {ERRCODE_OUT_OF_MEMORY, "its code leaves memory behind in the scheduler's session",
                "What a language has compiled of a function, or keeps for its session, stays "
                "for as long as the process lives.",
                "A trigger of the table, or a function that it calls, should not create "
                "functions each time.",
                nullptr});
}

} // namespace ecto_job
