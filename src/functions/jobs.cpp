// The functions that producers and consumers call. Each reads its arguments, calls one transition
// and returns its rows; ours first, EctoJob's vocabulary after them.
#include "functions/arguments.hpp"
#include "functions/job_rows.hpp"
#include "pg/compat.hpp"
#include "queue/queue_settings.hpp"
#include "queue/stale_completion.hpp"
#include "queue/transitions.hpp"

namespace ecto_job {
namespace {

constexpr int64 shortest_timeout_ms = 1;
constexpr int64 shortest_retry_ms = 0;

// params of a map queue, params_binary of a binary one; the other must be null
const void *params_argument(FunctionCallInfo fcinfo, int map, int binary, const Queue *queue) {
    const int wanted = queue->binary ? binary : map;
    const int other = queue->binary ? map : binary;
    const char *const name = queue->binary ? "params_binary" : "params";
    if (!PG_ARGISNULL(other))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("queue \"%s\" takes %s", NameStr(queue->table), name),
                        errhint("Its params_type is '%s'; give %s => ... instead.",
                                queue->binary ? "binary" : "map", name)));
    if (PG_ARGISNULL(wanted))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not be null for queue \"%s\"", name, NameStr(queue->table)),
                        errhint("A job without parameters has an empty %s.",
                                queue->binary ? "string of bytes" : "object, '{}'")));
    if (queue->binary)
        return PG_GETARG_BYTEA_PP(wanted);
    Jsonb *const params = PG_GETARG_JSONB_P(wanted);
    if (!JB_ROOT_IS_OBJECT(params))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("params must be a JSON object for queue \"%s\"", NameStr(queue->table)),
                 errdetail("It is %s.", JB_ROOT_IS_SCALAR(params) ? "a scalar" : "an array"),
                 errhint("Wrap it, such as '{\"value\": ...}'.")));
    return params;
}

const void *notify_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    if (PG_ARGISNULL(at))
        return nullptr;
    text *const notify = PG_GETARG_TEXT_PP(at);
    const int characters =
        pg_mbstrlen_with_len(VARDATA_ANY(notify), static_cast<int>(VARSIZE_ANY_EXHDR(notify)));
    if (characters > notify_characters)
        ereport(ERROR,
                (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
                 errmsg("notify is too long for queue \"%s\": %d characters", NameStr(queue->table),
                        characters),
                 errhint("It may have %d characters; put more into params.", notify_characters)));
    return notify;
}

int32 priority_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    const int32 priority = PG_ARGISNULL(at) ? 0 : PG_GETARG_INT32(at);
    if (priority != 0 && !queue->layout.priority)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("priority must be 0 for queue \"%s\": %d", NameStr(queue->table), priority),
                 errdetail("Its table has no column \"priority\"."),
                 errhint("Run the application's migration to version 3 of EctoJob's tables.")));
    return priority;
}

const void *key_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    if (PG_ARGISNULL(at))
        return nullptr;
    text *const key = PG_GETARG_TEXT_PP(at);
    if (VARSIZE_ANY_EXHDR(key) > key_bytes)
        ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
                        errmsg("key is too long for queue \"%s\": %zu bytes", NameStr(queue->table),
                               static_cast<Size>(VARSIZE_ANY_EXHDR(key))),
                        errhint("It may have %d bytes; take a hash, such as "
                                "encode(sha256(...), 'hex').",
                                key_bytes)));
    return key;
}

OnConflict on_conflict_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    const char *const choice = PG_ARGISNULL(at) ? "keep" : text_to_cstring(PG_GETARG_TEXT_PP(at));
    for (std::size_t i = 0; i < lengthof(on_conflict_names); i++)
        if (strcmp(on_conflict_names[i], choice) == 0)
            return static_cast<OnConflict>(i);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("on_conflict is unknown for queue \"%s\": \"%s\"", NameStr(queue->table),
                           choice),
                    errhint("It is 'keep', 'replace' or 'error'.")));
}

ArrayType *bigint_array_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                                 const char *name) {
    if (PG_ARGISNULL(at))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not be null for queue \"%s\"", name, NameStr(queue->table)),
                        errhint("Give an array; '{}' is no job.")));
    ArrayType *const array = PG_GETARG_ARRAYTYPE_P(at);
    if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s must be one-dimensional and without nulls for queue \"%s\"",
                               name, NameStr(queue->table)),
                        errhint("Give one id and one lease a job.")));
    return array;
}

// Returns the number of jobs that a claim may take: none of a paused queue.
int64 claim_demand(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    const int64 demand = demand_argument(fcinfo, at, queue);
    return demand > 0 && is_paused(queue) ? 0 : demand;
}

// Returns the jobs that body(queue) leaves in SPI's result; none if it returns false.
template <typename F> Datum with_jobs(FunctionCallInfo fcinfo, F body) {
    InitMaterializedSRF(fcinfo, 0); // before SPI_connect: the result is the caller's
    return with_queue(fcinfo, [&](Queue *queue) {
        if (body(queue))
            return_jobs(fcinfo);
    });
}

Datum delete_by_attempt(FunctionCallInfo fcinfo, bool with_notification) {
    enum { id = 1, attempt, lease };
    return with_queue(fcinfo, [&](Queue *queue) {
        delete_job(queue, bigint_argument(fcinfo, id, queue, "id"),
                   integer_argument(fcinfo, attempt, queue, "attempt"),
                   lease_argument(fcinfo, lease), with_notification);
    });
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_enqueue) {
    enum {
        params = 1,
        schedule,
        max_attempts,
        priority,
        notify,
        key,
        on_conflict,
        meta,
        binary,
        now_at
    };
    return with_queue(fcinfo, [&](Queue *queue) {
        Arguments job{};
        job.params = params_argument(fcinfo, params, binary, queue);
        job.now = now_argument(fcinfo, now_at, queue);
        job.schedule = time_argument(fcinfo, schedule, queue, "schedule", *job.now);
        job.max_attempts = PG_ARGISNULL(max_attempts)
                               ? queue->max_attempts
                               : max_attempts_argument(fcinfo, max_attempts, queue,
                                                       "Leave it out to use the queue's setting.");
        job.priority = priority_argument(fcinfo, priority, queue);
        job.notify = notify_argument(fcinfo, notify, queue);
        job.meta = meta_argument(fcinfo, meta);
        job.key = key_argument(fcinfo, key, queue);
        const OnConflict choice = on_conflict_argument(fcinfo, on_conflict, queue);
        if (job.key == nullptr && choice != OnConflict::keep)
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("on_conflict needs a key for queue \"%s\"", NameStr(queue->table)),
                     errhint("Give key => '...'; a text that is put together is null if a "
                             "part of it is null.")));
        // A job that is replaced keeps what the caller does not give
        if (!PG_ARGISNULL(schedule))
            job.due = job.schedule;
        if (!PG_ARGISNULL(max_attempts))
            job.new_max_attempts = job.max_attempts;
        if (!PG_ARGISNULL(priority))
            job.new_priority = job.priority;
        if (!PG_ARGISNULL(meta))
            job.new_meta = job.meta;
        return enqueue(queue, job, choice);
    });
}

ECTO_JOB_FUNCTION(ecto_job_start_available_jobs) {
    enum { demand_at = 1, timeout_at, now_at };
    return with_jobs(fcinfo, [&](Queue *queue) {
        const int64 timeout =
            interval_argument(fcinfo, timeout_at, queue, "timeout", shortest_timeout_ms)
                .value_or(queue->execution_timeout_ms);
        const TimestampTz now = now_argument(fcinfo, now_at, queue);
        const int64 demand = claim_demand(fcinfo, demand_at, queue);
        if (demand > 0)
            start_available_jobs(queue, demand, now, timeout);
        return demand > 0;
    });
}

ECTO_JOB_FUNCTION(ecto_job_complete_job) {
    enum { id = 1, lease };
    return with_queue(fcinfo, [&](Queue *queue) {
        complete_job(queue, bigint_argument(fcinfo, id, queue, "id"),
                     bigint_argument(fcinfo, lease, queue, "lease"));
    });
}

ECTO_JOB_FUNCTION(ecto_job_complete_jobs) {
    enum { ids_at = 1, leases_at };
    return with_queue(fcinfo, [&](Queue *queue) {
        ArrayType *const ids = bigint_array_argument(fcinfo, ids_at, queue, "ids");
        ArrayType *const leases = bigint_array_argument(fcinfo, leases_at, queue, "leases");
        const Size id_count = elements_of(ids).size();
        const Size lease_count = elements_of(leases).size();
        if (id_count != lease_count)
            ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
                            errmsg("ids and leases differ in number for queue \"%s\": %zu and %zu",
                                   NameStr(queue->table), id_count, lease_count),
                            errhint("Give one id and one lease a job.")));
        return static_cast<int64>(complete_jobs(queue, ids, leases));
    });
}

ECTO_JOB_FUNCTION(ecto_job_fail_job) {
    enum { id = 1, lease, error, retry, delay, now_at };
    return with_jobs(fcinfo, [&](Queue *queue) {
        const FailedAttempt failed{
            .error = error_argument(fcinfo, error),
            .retry = boolean_argument(fcinfo, retry, queue, "retry"),
            .delay_ms = interval_argument(fcinfo, delay, queue, "delay", shortest_retry_ms)};
        job_failed(queue, bigint_argument(fcinfo, id, queue, "id"), std::nullopt,
                   bigint_argument(fcinfo, lease, queue, "lease"),
                   now_argument(fcinfo, now_at, queue), queue->retry_timeout_ms, failed);
        return true;
    });
}

ECTO_JOB_FUNCTION(ecto_job_snooze_job) {
    enum { id = 1, lease, delay, now_at };
    return with_jobs(fcinfo, [&](Queue *queue) {
        snooze_job(queue, bigint_argument(fcinfo, id, queue, "id"),
                   bigint_argument(fcinfo, lease, queue, "lease"),
                   now_argument(fcinfo, now_at, queue),
                   required_interval_argument(fcinfo, delay, queue, "delay", shortest_retry_ms));
        return true;
    });
}

ECTO_JOB_FUNCTION(ecto_job_extend_lease) {
    enum { id = 1, lease, duration, now_at };
    std::optional<TimestampTz> end;
    with_queue(fcinfo, [&](Queue *queue) {
        end = extend_lease(
            queue, bigint_argument(fcinfo, id, queue, "id"),
            bigint_argument(fcinfo, lease, queue, "lease"), now_argument(fcinfo, now_at, queue),
            interval_argument(fcinfo, duration, queue, "duration", shortest_timeout_ms)
                .value_or(queue->execution_timeout_ms));
    });
    if (!end)
        PG_RETURN_NULL();
    return TimestampTzGetDatum(*end);
}

ECTO_JOB_FUNCTION(ecto_job_cancel_job) {
    enum { id = 1, reason };
    return with_jobs(fcinfo, [&](Queue *queue) {
        cancel_job(queue, bigint_argument(fcinfo, id, queue, "id"), error_argument(fcinfo, reason));
        return true;
    });
}

ECTO_JOB_FUNCTION(ecto_job_available_jobs) {
    enum { demand_at = 1 };
    return with_jobs(fcinfo, [&](Queue *queue) {
        const int64 demand = claim_demand(fcinfo, demand_at, queue);
        if (demand > 0)
            available_jobs(queue, demand);
        return demand > 0;
    });
}

ECTO_JOB_FUNCTION(ecto_job_reserve_available_jobs) {
    enum { demand_at = 1, now_at, timeout_at };
    return with_jobs(fcinfo, [&](Queue *queue) {
        const TimestampTz now = now_argument(fcinfo, now_at, queue);
        const int64 timeout =
            timeout_ms_argument(fcinfo, timeout_at, queue, "timeout_ms",
                                queue->reservation_timeout_ms, shortest_timeout_ms);
        const int64 demand = claim_demand(fcinfo, demand_at, queue);
        if (demand > 0)
            reserve_available_jobs(queue, demand, now, timeout);
        return demand > 0;
    });
}

ECTO_JOB_FUNCTION(ecto_job_update_job_in_progress) {
    enum { id = 1, attempt, now_at, timeout, lease };
    return with_jobs(fcinfo, [&](Queue *queue) {
        update_job_in_progress(queue, bigint_argument(fcinfo, id, queue, "id"),
                               integer_argument(fcinfo, attempt, queue, "attempt"),
                               now_argument(fcinfo, now_at, queue),
                               timeout_ms_argument(fcinfo, timeout, queue, "timeout_ms",
                                                   queue->execution_timeout_ms,
                                                   shortest_timeout_ms),
                               lease_argument(fcinfo, lease));
        return true;
    });
}

ECTO_JOB_FUNCTION(ecto_job_job_failed) {
    enum { id = 1, attempt, now_at, timeout, lease, error };
    return with_jobs(fcinfo, [&](Queue *queue) {
        job_failed(queue, bigint_argument(fcinfo, id, queue, "id"),
                   integer_argument(fcinfo, attempt, queue, "attempt"),
                   lease_argument(fcinfo, lease), now_argument(fcinfo, now_at, queue),
                   timeout_ms_argument(fcinfo, timeout, queue, "retry_timeout_ms",
                                       queue->retry_timeout_ms, shortest_retry_ms),
                   {.error = error_argument(fcinfo, error)});
        return true;
    });
}

ECTO_JOB_FUNCTION(ecto_job_delete_job_changeset) {
    return delete_by_attempt(fcinfo, false);
}

ECTO_JOB_FUNCTION(ecto_job_initial_multi) {
    return delete_by_attempt(fcinfo, true);
}

ECTO_JOB_FUNCTION(ecto_job_requeue) {
    enum { id = 1, now_at };
    return with_jobs(fcinfo, [&](Queue *queue) {
        requeue(queue, bigint_argument(fcinfo, id, queue, "id"),
                now_argument(fcinfo, now_at, queue));
        return true;
    });
}
