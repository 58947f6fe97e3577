// increase_time, reservation_expiry: EctoJob's arithmetic on times, exact to the microsecond.
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
