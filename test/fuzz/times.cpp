// Times and intervals from any bytes are compared with a model in 128 bits.
#include "core/times.hpp"

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdlib>

using namespace ecto_job;

namespace {

using Wide = __int128;

void require(bool truth) {
    if (!truth)
        std::abort();
}

constexpr bool is_valid(Wide time) {
    return time >= min_timestamp && time < end_timestamp;
}

// Returns any number, or one near a limit, where random numbers hardly ever are
std::int64_t number(FuzzedDataProvider &data) {
    constexpr std::int64_t edges[]{0, min_timestamp, end_timestamp, min_timestamp / 1000,
                                   end_timestamp / 1000};
    if (data.ConsumeBool())
        return data.ConsumeIntegral<std::int64_t>();
    return data.PickValueInArray(edges) + data.ConsumeIntegralInRange<std::int64_t>(-2000, 2000);
}

void check_time(Micros now, std::int32_t attempt, std::int64_t timeout_ms) {
    const Wide time = now + Wide{attempt} * timeout_ms * 1000;
    const auto result = increase_time(now, attempt, timeout_ms);
    require(result.has_value() == (is_valid(now) && is_valid(time)));
    require(!result || *result == time);
    require(reservation_expiry(now, timeout_ms) == increase_time(now, 1, timeout_ms));
}

void check_interval(IntervalParts interval) {
    const auto result = interval_to_ms(interval);
    const Wide micros = Wide{interval.days} * 86'400'000'000 + interval.micros;
    constexpr Wide range = Wide{end_timestamp} - min_timestamp;
    switch (result.fault) {
    case IntervalFault::none:
        require(interval.months == 0);
        require(Wide{result.ms} * 1000 <= micros && micros < Wide{result.ms} * 1000 + 1000);
        require(Wide{result.ms} * 1000 > -range && Wide{result.ms} * 1000 < range);
        break;
    case IntervalFault::months:
        require(interval.months != 0 && result.ms == 0);
        break;
    case IntervalFault::out_of_range:
        require(interval.months == 0 && result.ms == 0);
        require(micros < 1000 - range || micros >= range);
        break;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    FuzzedDataProvider data{bytes, size};
    const auto now = number(data);
    const auto timeout_ms = number(data);
    const auto attempt = data.ConsumeIntegral<std::int32_t>();
    check_time(now, attempt, timeout_ms);
    check_time(now, 1, timeout_ms);
    constexpr std::int32_t range_days = 109'203'528;
    const auto micros = number(data);
    for (const std::int32_t days : {attempt, range_days, -range_days})
        check_interval({micros, days, 0});
    check_interval({micros, attempt, data.ConsumeIntegral<std::int32_t>()});
    return 0;
}
