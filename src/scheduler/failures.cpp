// Counting, showing and logging failures. See failures.hpp.
#include "scheduler/failures.hpp"

#include "pg/text.hpp"
#include "scheduler/batch.hpp"
#include "scheduler/time_limits.hpp"
#include "settings.hpp"

namespace ecto_job {

namespace {

// Returns whether the failure is to be logged: the first of its kind since the queue worked.
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

// Returns what to do about the error. PostgreSQL's own hint stands first, if there is one.
const char *hint_for(const ErrorData *error) {
    switch (error->sqlerrcode) {
    case ERRCODE_UNDEFINED_TABLE:
    case ERRCODE_UNDEFINED_FUNCTION:
    case ERRCODE_UNDEFINED_OBJECT:
        return psprintf("%s%sA sweep runs with search_path = pg_catalog, pg_temp. The table's "
                        "triggers and other code must name the schema of what they use, or be "
                        "functions with a SET search_path of their own.",
                        error->hint != nullptr ? error->hint : "",
                        error->hint != nullptr ? " " : "");
    default:
        return error->hint != nullptr
                   ? error->hint
                   : "The other queues are swept as before; this one is tried again, and a line "
                     "will say when it works.";
    }
}

// Returns the error's message, or, if the time was over, which time that was.
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

struct ExcessTexts {
    int sqlstate;
    const char *message, *detail, *hint;
};

ExcessTexts texts_of(Excess excess) {
    if (excess == Excess::settings)
        return {ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "its code leaves settings behind in the scheduler's session",
                "A custom setting stays defined for as long as the process lives.",
                "A trigger of the table, or a function that it calls, should set the same few "
                "settings each time."};
    return {ERRCODE_OUT_OF_MEMORY, "its code leaves memory behind in the scheduler's session",
            "What a language has compiled of a function, or keeps for its session, stays for as "
            "long as the process lives.",
            "A trigger of the table, or a function that it calls, should not create functions each "
            "time."};
}

} // namespace

void note_failure(WatchedQueue *queue, const ErrorData *error, bool in_commit) {
    const char *const message = text_of(error, in_commit);
    if (!count_failure(queue, error->sqlerrcode, message))
        return;
    ereport(WARNING, (errcode(error->sqlerrcode),
                      errmsg("sweep of queue \"%s\" failed: %s", queue->name, message),
                      error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0,
                      errhint("%s", hint_for(error)),
                      error->context != nullptr ? errcontext("%s", error->context) : 0));
}

void note_death(WatchedQueue *queue) {
    if (count_failure(queue, ERRCODE_ADMIN_SHUTDOWN, "the scheduler ended during its sweep"))
        ereport(WARNING,
                (errcode(ERRCODE_ADMIN_SHUTDOWN),
                 errmsg("sweep of queue \"%s\" failed: the scheduler ended during it", queue->name),
                 errhint("A sweep that does not stop at twice ecto_job.sweep_timeout is "
                         "ended with its scheduler; a trigger of the table may be slow.")));
}

void note_excess(WatchedQueue *queue, Excess excess) {
    const ExcessTexts texts = texts_of(excess);
    if (count_failure(queue, texts.sqlstate, texts.message))
        ereport(WARNING, (errcode(texts.sqlstate),
                          errmsg("sweep of queue \"%s\" failed: %s", queue->name, texts.message),
                          errdetail_internal("%s", texts.detail), errhint("%s", texts.hint)));
}

} // namespace ecto_job
