// increase_time, reservation_expiry: EctoJob's arithmetic on times, exact to the microsecond.
// retry_time: the retry back-off of a queue with options.
#include "core/retry_delay.hpp"
#include "core/times.hpp"
#include "pg/boundary.hpp"

namespace {

static_assert(ecto_job::min_timestamp == MIN_TIMESTAMP);
static_assert(ecto_job::end_timestamp == END_TIMESTAMP);
static_assert(ecto_job::minus_infinity == DT_NOBEGIN && ecto_job::plus_infinity == DT_NOEND);

Datum finite_time(std::optional<ecto_job::Micros> time, TimestampTz now, int64 timeout_ms) {
    if (!ecto_job::is_finite(now))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("now must not be infinite"), errhint("Give a finite time.")));
    if (!time)
        ereport(ERROR,
                (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
                 errmsg("time out of range for a timeout of " INT64_FORMAT " ms", timeout_ms),
                 errhint("Give a shorter timeout.")));
    return TimestampTzGetDatum(*time);
}

} // namespace

ECTO_JOB_FUNCTION(ecto_job_increase_time) {
    enum { now_at, attempt, timeout_at };
    const TimestampTz now = PG_GETARG_TIMESTAMPTZ(now_at);
    const int64 timeout_ms = PG_GETARG_INT64(timeout_at);
    return finite_time(ecto_job::increase_time(now, PG_GETARG_INT32(attempt), timeout_ms), now,
                       timeout_ms);
}

ECTO_JOB_FUNCTION(ecto_job_reservation_expiry) {
    enum { now_at, timeout_at };
    const TimestampTz now = PG_GETARG_TIMESTAMPTZ(now_at);
    const int64 timeout_ms = PG_GETARG_INT64(timeout_at);
    return finite_time(ecto_job::reservation_expiry(now, timeout_ms), now, timeout_ms);
}

ECTO_JOB_FUNCTION(ecto_job_retry_time) {
    enum { now_at, attempt, timeout_at, backoff_at, longest_at, jitter_at, seed, id };
    const TimestampTz now = PG_GETARG_TIMESTAMPTZ(now_at);
    const char *const name = text_to_cstring(PG_GETARG_TEXT_PP(backoff_at));
    const std::optional<ecto_job::RetryBackoff> backoff = ecto_job::retry_backoff_from(name);
    const int64 timeout_ms = PG_GETARG_INT64(timeout_at);
    const int64 longest_ms = PG_GETARG_INT64(longest_at);
    const double jitter = PG_GETARG_FLOAT8(jitter_at);
    if (!backoff)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown backoff \"%s\"", name),
                 errhint("It is 'linear', 'constant' or 'exponential'.")));
    if (timeout_ms < 0 || longest_ms < 0 || !(jitter >= 0 && jitter <= 1))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("retry_timeout_ms, max_delay_ms or jitter is out of range"),
                        errhint("Give times of 0 ms or more, and a jitter from 0 to 1.")));
    const int64 delay_ms = ecto_job::retry_delay_ms(
        {*backoff, longest_ms, jitter}, PG_GETARG_INT32(attempt), timeout_ms,
        ecto_job::random_of_job(static_cast<uint64>(PG_GETARG_INT64(seed)), PG_GETARG_INT64(id)));
    return finite_time(ecto_job::reservation_expiry(now, delay_ms), now, delay_ms);
}
