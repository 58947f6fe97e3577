// Times are compared with a model in 128 bits, in which nothing overflows. The generators prefer
// the limits, since most random numbers are far out of range.
#include "core/times.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

using namespace ecto_job;

namespace {

using Wide = __int128;

constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t greatest = std::numeric_limits<std::int64_t>::max();
constexpr std::int32_t least32 = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t greatest32 = std::numeric_limits<std::int32_t>::max();
constexpr Micros last_timestamp = end_timestamp - 1;
// The first valid time, and the end of times
constexpr std::int64_t range_ms = 9'435'184'819'200'000;

constexpr bool is_valid(Wide time) {
    return time >= min_timestamp && time < end_timestamp;
}

std::optional<Micros> model(Micros now, std::int32_t attempt, std::int64_t timeout_ms) {
    const Wide time = now + Wide{attempt} * timeout_ms * 1000;
    if (!is_valid(now) || !is_valid(time))
        return std::nullopt;
    return static_cast<Micros>(time);
}

Wide floor_quotient(Wide dividend, Wide divisor) {
    const Wide quotient = dividend / divisor;
    return dividend % divisor < 0 ? quotient - 1 : quotient;
}

std::int64_t clamped(Wide value) {
    return static_cast<std::int64_t>(std::clamp<Wide>(value, least, greatest));
}

// Generates a number near one of these, or any number
std::int64_t near(std::initializer_list<std::int64_t> anchors) {
    const auto around = [&] {
        return clamped(Wide{*rc::gen::elementOf(anchors)} + *rc::gen::inRange<int>(-2001, 2002));
    };
    return *rc::gen::inRange(0, 4) == 0 ? *rc::gen::arbitrary<std::int64_t>() : around();
}

Micros any_now() {
    constexpr Micros today = 815'000'000'123'456;
    return near({today, 0, min_timestamp, end_timestamp, least, greatest});
}

std::int32_t any_attempt() {
    return *rc::gen::oneOf(rc::gen::element<std::int32_t>(0, 1, -1, 2, least32, greatest32),
                           rc::gen::arbitrary<std::int32_t>());
}

// Generates a timeout, mostly one that leads from `now` to a limit
std::int64_t any_timeout(Micros now, std::int32_t attempt) {
    const std::int64_t target = near({min_timestamp, end_timestamp, now});
    const Wide step = (Wide{target} - now) / 1000 / (attempt == 0 ? 1 : attempt);
    return near({0, clamped(step), clamped(step), least, greatest, greatest / 1000});
}

IntervalParts any_interval() {
    constexpr std::int64_t ms_per_day = 86'400'000;
    const auto days = *rc::gen::oneOf(rc::gen::element<std::int32_t>(0, 1, -1, least32, greatest32,
                                                                     range_ms / ms_per_day,
                                                                     -(range_ms / ms_per_day)),
                                      rc::gen::arbitrary<std::int32_t>());
    // The distance to the limit, if it can be represented
    const Wide rest = (Wide{days < 0 ? -range_ms : range_ms} - Wide{days} * ms_per_day) * 1000;
    return {near({0, 1000, clamped(rest), least, greatest}), days, 0};
}

Wide micros_of(IntervalParts interval) {
    return Wide{interval.days} * 86'400'000'000 + interval.micros;
}

TEST(times, infinities_are_not_finite) {
    EXPECT_FALSE(is_finite(least));
    EXPECT_FALSE(is_finite(greatest));
    for (const Micros time : {least + 1, greatest - 1, min_timestamp, last_timestamp, Micros{0}})
        EXPECT_TRUE(is_finite(time));
}

TEST(times, limits_are_postgresqls) {
    // Julian days 0 and 109203528 (294277-01-01), from 2451545 (2000-01-01)
    EXPECT_EQ(Wide{min_timestamp}, Wide{0 - 2'451'545} * 86'400'000'000);
    EXPECT_EQ(Wide{end_timestamp}, Wide{109'203'528 - 2'451'545} * 86'400'000'000);
    EXPECT_EQ(Wide{range_ms} * 1000, Wide{end_timestamp} - min_timestamp);
}

TEST(times, an_attempt_is_a_timeout_more) {
    EXPECT_EQ(increase_time(1'000'001, 1, 30'000), 31'000'001);
    EXPECT_EQ(increase_time(1'000'001, 3, 30'000), 91'000'001);
    EXPECT_EQ(increase_time(1'000'001, 0, 30'000), 1'000'001);
    EXPECT_EQ(reservation_expiry(1'000'001, 60'000), 61'000'001);
}

// EctoJob drops the fraction of a second, so its leases under a second are expired at once
TEST(times, keep_what_is_below_a_second) {
    EXPECT_EQ(reservation_expiry(999'999, 1), 1'000'999);
    EXPECT_EQ(reservation_expiry(-1, 1), 999);
    EXPECT_EQ(reservation_expiry(-1'001, 1), -1);
}

TEST(times, end_where_postgresql_ends) {
    EXPECT_EQ(reservation_expiry(last_timestamp - 1000, 1), last_timestamp);
    EXPECT_EQ(reservation_expiry(last_timestamp - 999, 1), std::nullopt);
    EXPECT_EQ(reservation_expiry(min_timestamp + 1000, -1), min_timestamp);
    EXPECT_EQ(reservation_expiry(min_timestamp + 999, -1), std::nullopt);
    EXPECT_EQ(reservation_expiry(last_timestamp, 0), last_timestamp);
    EXPECT_EQ(reservation_expiry(min_timestamp, 0), min_timestamp);
}

// The distance of two valid times may need more than 64 bits
TEST(times, reach_from_the_first_to_the_last) {
    EXPECT_EQ(reservation_expiry(min_timestamp, range_ms - 1), end_timestamp - 1000);
    EXPECT_EQ(reservation_expiry(min_timestamp, range_ms), std::nullopt);
    EXPECT_EQ(reservation_expiry(last_timestamp, 1 - range_ms), min_timestamp + 999);
    EXPECT_EQ(reservation_expiry(last_timestamp, -range_ms), std::nullopt);
}

TEST(times, refuse_a_now_that_is_no_time) {
    for (const Micros now :
         {least, least + 1, min_timestamp - 1, end_timestamp, greatest - 1, greatest})
        for (const std::int64_t timeout :
             {std::int64_t{0}, std::int64_t{1000}, -range_ms, range_ms}) {
            EXPECT_EQ(reservation_expiry(now, timeout), std::nullopt);
            EXPECT_EQ(increase_time(now, 1, timeout), std::nullopt);
            EXPECT_EQ(increase_time(now, 0, timeout), std::nullopt);
        }
}

TEST(times, do_not_wrap_around) {
    for (const std::int64_t timeout : {least, greatest})
        for (const std::int32_t attempt : {least32, -1, 1, 2, greatest32}) {
            EXPECT_EQ(increase_time(0, attempt, timeout), std::nullopt);
            EXPECT_EQ(increase_time(min_timestamp, attempt, timeout), std::nullopt);
            EXPECT_EQ(increase_time(last_timestamp, attempt, timeout), std::nullopt);
        }
    // 2 * 2^62 * 2 is 0 in 64 bits
    EXPECT_EQ(increase_time(0, 4, std::int64_t{1} << 62), std::nullopt);
}

RC_GTEST_PROP(times, agree_with_the_model, ()) {
    const auto now = any_now();
    const auto attempt = any_attempt();
    const auto timeout = any_timeout(now, attempt);
    const auto expected = model(now, attempt, timeout);
    RC_CLASSIFY(expected.has_value(), "in range");
    RC_ASSERT(increase_time(now, attempt, timeout) == expected);
    RC_ASSERT(reservation_expiry(now, timeout) == model(now, 1, timeout));
}

RC_GTEST_PROP(times, two_steps_are_one, ()) {
    const auto now = any_now();
    const auto first = *rc::gen::inRange<std::int32_t>(-1000, 1000);
    const auto second = *rc::gen::inRange<std::int32_t>(-1000, 1000);
    const auto timeout = any_timeout(now, first + second);
    const auto halfway = increase_time(now, first, timeout);
    if (halfway)
        RC_ASSERT(increase_time(*halfway, second, timeout) ==
                  increase_time(now, first + second, timeout));
}

RC_GTEST_PROP(times, later_attempts_and_longer_timeouts_end_later, ()) {
    const auto now = std::clamp(any_now(), min_timestamp, last_timestamp);
    const auto attempt = *rc::gen::inRange<std::int32_t>(1, 1000);
    const Wide room = (Wide{last_timestamp} - now) / 1000 / attempt;
    const auto timeout = *rc::gen::inRange<std::int64_t>(0, clamped(room) + 1);
    const auto base = increase_time(now, attempt, timeout);
    RC_ASSERT(base.has_value());
    const auto longer = increase_time(now, attempt, timeout + 1);
    const auto later = increase_time(now, attempt + 1, timeout);
    RC_ASSERT(!longer || *longer > *base);
    RC_ASSERT(!later || *later > *base || timeout == 0);
}

TEST(times, say_how_long_the_calendar_is) {
    EXPECT_EQ(longest_timeout_ms(min_timestamp), range_ms - 1);
    EXPECT_EQ(longest_timeout_ms(last_timestamp), 0);
    EXPECT_EQ(longest_timeout_ms(least), 0);
    EXPECT_EQ(longest_timeout_ms(greatest), 0);
    EXPECT_EQ(last_attempt(0, 0), greatest32);
    EXPECT_EQ(last_attempt(last_timestamp, 1), 0);
}

RC_GTEST_PROP(times, exist_up_to_the_last_attempt_and_not_after_it, ()) {
    const Micros now = any_now();
    RC_PRE(is_valid(now));
    const std::int64_t timeout = any_timeout(now, std::abs(any_attempt() / 2));
    RC_PRE(timeout >= 0);
    const std::int32_t last = last_attempt(now, timeout);
    RC_ASSERT(increase_time(now, last, timeout).has_value());
    if (last < greatest32)
        RC_ASSERT(!increase_time(now, last + 1, timeout));
    RC_ASSERT(reservation_expiry(now, longest_timeout_ms(now)).has_value());
}

TEST(interval, is_days_of_24_hours_and_microseconds) {
    const auto ms = [](IntervalParts parts) {
        const auto result = interval_to_ms(parts);
        EXPECT_EQ(result.fault, IntervalFault::none);
        return result.ms;
    };
    EXPECT_EQ(ms({0, 0, 0}), 0);
    EXPECT_EQ(ms({60'000'000, 0, 0}), 60'000);
    EXPECT_EQ(ms({0, 1, 0}), 86'400'000);
    EXPECT_EQ(ms({-86'400'000'000, 1, 0}), 0);
    EXPECT_EQ(ms({1, -1, 0}), -86'400'000);
    EXPECT_EQ(ms({-1, 1, 0}), 86'399'999);
}

TEST(interval, is_rounded_down) {
    EXPECT_EQ(interval_to_ms({999, 0, 0}).ms, 0);
    EXPECT_EQ(interval_to_ms({1000, 0, 0}).ms, 1);
    EXPECT_EQ(interval_to_ms({-1, 0, 0}).ms, -1);
    EXPECT_EQ(interval_to_ms({-1000, 0, 0}).ms, -1);
    EXPECT_EQ(interval_to_ms({-1001, 0, 0}).ms, -2);
    EXPECT_EQ(interval_to_ms({least, 0, 0}).ms, -9'223'372'036'854'776);
    EXPECT_EQ(interval_to_ms({greatest, 0, 0}).ms, 9'223'372'036'854'775);
}

TEST(interval, months_have_no_length) {
    for (const std::int32_t months : {1, -1, 12, least32, greatest32})
        for (const IntervalParts parts : {IntervalParts{0, 0, months}, {1'000, 1, months}}) {
            EXPECT_EQ(interval_to_ms(parts).fault, IntervalFault::months);
            EXPECT_EQ(interval_to_ms(parts).ms, 0);
        }
}

TEST(interval, ends_with_the_range_of_times) {
    constexpr std::int32_t days = 109'203'528; // exactly the range
    for (const IntervalParts parts : {IntervalParts{0, days, 0},
                                      {0, -days, 0},
                                      {-1, -days, 0},
                                      {greatest, greatest32, 0},
                                      {least, least32, 0}}) {
        EXPECT_EQ(interval_to_ms(parts).fault, IntervalFault::out_of_range);
        EXPECT_EQ(interval_to_ms(parts).ms, 0);
    }
    EXPECT_EQ(interval_to_ms({-1, days, 0}).ms, range_ms - 1);
    EXPECT_EQ(interval_to_ms({1000, -days, 0}).ms, 1 - range_ms);
    EXPECT_EQ(interval_to_ms({1, -days, 0}).fault, IntervalFault::out_of_range);
}

RC_GTEST_PROP(interval, agrees_with_the_model, ()) {
    const auto interval = any_interval();
    const Wide ms = floor_quotient(micros_of(interval), 1000);
    const bool fits = ms > -range_ms && ms < range_ms;
    const auto result = interval_to_ms(interval);
    RC_CLASSIFY(fits, "in range");
    RC_ASSERT((result.fault == IntervalFault::none) == fits);
    RC_ASSERT(Wide{result.ms} == (fits ? ms : 0));
}

// An interval is refused exactly if it is longer than the whole range of times.
RC_GTEST_PROP(interval, fits_between_two_times, ()) {
    const auto interval = any_interval();
    const auto result = interval_to_ms(interval);
    const auto ms = clamped(floor_quotient(micros_of(interval), 1000));
    const auto from = ms < 0 ? last_timestamp : min_timestamp;
    RC_ASSERT((result.fault == IntervalFault::none) == reservation_expiry(from, ms).has_value());
}

RC_GTEST_PROP(interval, does_not_depend_on_how_it_is_written, ()) {
    const auto interval = any_interval();
    const Wide micros = Wide{interval.micros} + 86'400'000'000;
    RC_PRE(micros <= greatest && interval.days > least32);
    const IntervalParts other{clamped(micros), interval.days - 1, 0};
    RC_ASSERT(interval_to_ms(other).ms == interval_to_ms(interval).ms);
    RC_ASSERT(interval_to_ms(other).fault == interval_to_ms(interval).fault);
}

RC_GTEST_PROP(interval, longer_is_not_shorter, ()) {
    auto shorter = any_interval();
    auto longer = any_interval();
    if (micros_of(longer) < micros_of(shorter))
        std::swap(shorter, longer);
    const auto low = interval_to_ms(shorter);
    const auto high = interval_to_ms(longer);
    if (low.fault == IntervalFault::none && high.fault == IntervalFault::none)
        RC_ASSERT(low.ms <= high.ms);
}

} // namespace
