// Arithmetic on times, exact in 64 bits.
//
// A sum in microseconds may pass 64 bits on its way to a valid time. So everything is added in
// milliseconds, where what overflows is out of range anyway, and the microseconds of `now` that
// milliseconds cannot hold are put back at the end. No lock.
#include "core/times.hpp"

#include <algorithm>

namespace ecto_job {

namespace {

constexpr std::int64_t micros_per_ms = 1000;
constexpr std::int64_t ms_per_day = 86'400'000;
constexpr std::int64_t min_timestamp_ms = min_timestamp / micros_per_ms;
constexpr std::int64_t end_timestamp_ms = end_timestamp / micros_per_ms;

// The range of milliseconds must be the range of microseconds, to the last one.
static_assert(min_timestamp_ms * micros_per_ms == min_timestamp);
static_assert(end_timestamp_ms * micros_per_ms == end_timestamp);

constexpr bool is_valid(Micros time) {
    return min_timestamp <= time && time < end_timestamp;
}

// C++ rounds a quotient towards zero; a time before the epoch needs it downwards.
constexpr std::int64_t floor_ms(Micros micros) {
    return micros / micros_per_ms - (micros % micros_per_ms < 0 ? 1 : 0);
}

} // namespace

std::optional<Micros> increase_time(Micros now, std::int32_t attempt, std::int64_t timeout_ms) {
    if (!is_valid(now))
        return std::nullopt;
    const std::int64_t now_ms = floor_ms(now);
    std::int64_t step_ms = 0;
    std::int64_t sum_ms = 0;
    if (__builtin_mul_overflow(attempt, timeout_ms, &step_ms) ||
        __builtin_add_overflow(now_ms, step_ms, &sum_ms))
        return std::nullopt;
    if (sum_ms < min_timestamp_ms || sum_ms >= end_timestamp_ms)
        return std::nullopt;
    return sum_ms * micros_per_ms + (now - now_ms * micros_per_ms);
}

std::optional<Micros> reservation_expiry(Micros now, std::int64_t timeout_ms) {
    return increase_time(now, 1, timeout_ms);
}

std::int64_t longest_timeout_ms(Micros now) {
    return is_valid(now) ? end_timestamp_ms - 1 - floor_ms(now) : 0;
}

std::int32_t last_attempt(Micros now, std::int64_t timeout_ms) {
    constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
    if (timeout_ms <= 0)
        return most;
    return static_cast<std::int32_t>(
        std::min<std::int64_t>(longest_timeout_ms(now) / timeout_ms, most));
}

IntervalMs interval_to_ms(IntervalParts interval) {
    if (interval.months != 0)
        return {0, IntervalFault::months};
    // No overflow: 32 bits of days and 64 of microseconds are below 2^58 milliseconds together.
    const std::int64_t ms = interval.days * ms_per_day + floor_ms(interval.micros);
    constexpr std::int64_t whole_range_ms = end_timestamp_ms - min_timestamp_ms;
    if (ms <= -whole_range_ms || ms >= whole_range_ms)
        return {0, IntervalFault::out_of_range};
    return {ms, IntervalFault::none};
}

} // namespace ecto_job
