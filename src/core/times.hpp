// Arithmetic on times: PostgreSQL's timestamptz (microseconds since 2000-01-01 UTC) and timeouts
// in whole milliseconds.
//
// No input can overflow: a result is exact, or there is none. Whole microseconds of `now` are
// kept; EctoJob cuts to seconds, so that its lease under a second is born expired. The limits are
// PostgreSQL's own, written here because core does not include its headers. No lock.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace ecto_job {

using Micros = std::int64_t;

inline constexpr Micros minus_infinity = std::numeric_limits<Micros>::min();
inline constexpr Micros plus_infinity = std::numeric_limits<Micros>::max();

// A valid time t is min_timestamp <= t < end_timestamp: 4714-11-24 BC to the end of 294276 AD.
inline constexpr Micros min_timestamp = -211'813'488'000'000'000;
inline constexpr Micros end_timestamp = 9'223'371'331'200'000'000;

constexpr bool is_finite(Micros time) {
    return time != minus_infinity && time != plus_infinity;
}

// Returns now + attempt * timeout_ms; nullopt when `now` or the result is not a valid time.
std::optional<Micros> increase_time(Micros now, std::int32_t attempt, std::int64_t timeout_ms);

// Returns now + timeout_ms; nullopt when `now` or the result is not a valid time.
std::optional<Micros> reservation_expiry(Micros now, std::int64_t timeout_ms);

// Returns the longest timeout, in ms, for which reservation_expiry() has a result; 0 when `now` is
// not a valid time.
std::int64_t longest_timeout_ms(Micros now);

// Returns the highest attempt for which increase_time() has a result; 0 when a single timeout is
// too long. The timeout is not negative.
std::int32_t last_attempt(Micros now, std::int64_t timeout_ms);

// An interval as PostgreSQL keeps it: three numbers that are not normalised into each other.
struct IntervalParts {
    std::int64_t micros;
    std::int32_t days;
    std::int32_t months;
};

enum class IntervalFault {
    none,
    months,      // a month has no fixed length
    out_of_range // longer than from the first valid time to the last
};

struct IntervalMs {
    std::int64_t ms; // 0 with a fault
    IntervalFault fault;
};

// Returns the interval in whole milliseconds, rounded down: half a millisecond is 0 and minus half
// is -1, so that a caller that refuses values below 1 or below 0 refuses these too. A day is 24
// hours.
IntervalMs interval_to_ms(IntervalParts interval);

} // namespace ecto_job
