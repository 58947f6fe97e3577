// The retry back-off, compared with a model in 128 bits. The generators prefer the limits.
#include "core/retry_delay.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

using namespace ecto_job;

namespace {

using Wide = __int128;

constexpr std::int64_t greatest = std::numeric_limits<std::int64_t>::max();
constexpr std::int32_t greatest32 = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t least32 = std::numeric_limits<std::int32_t>::min();

RetryBackoff any_backoff() {
    return *rc::gen::element(RetryBackoff::constant, RetryBackoff::linear,
                             RetryBackoff::exponential);
}

std::int32_t any_attempt() {
    return *rc::gen::oneOf(
        rc::gen::inRange<std::int32_t>(0, 70),
        rc::gen::elementOf(std::vector<std::int32_t>{least32, -1, greatest32 - 1, greatest32}),
        rc::gen::arbitrary<std::int32_t>());
}

std::int64_t any_ms() {
    return *rc::gen::oneOf(
        rc::gen::inRange<std::int64_t>(0, 100'000),
        rc::gen::elementOf(std::vector<std::int64_t>{0, 1, greatest / 2, greatest - 1, greatest}),
        rc::gen::inRange<std::int64_t>(0, greatest));
}

std::int64_t model(const RetryDelay &delay, std::int32_t attempt, std::int64_t timeout_ms) {
    const Wide failed = std::max(attempt, 0);
    // 2^62 ms are past the end of the calendar
    const auto doublings = static_cast<int>(std::clamp<Wide>(failed - 1, 0, 62));
    const Wide timeouts = delay.backoff == RetryBackoff::constant ? 1
                          : delay.backoff == RetryBackoff::linear ? failed + 1
                                                                  : Wide{1} << doublings;
    return static_cast<std::int64_t>(std::min<Wide>(timeouts * timeout_ms, delay.longest_ms));
}

} // namespace

TEST(retry_delay, grows_as_the_backoff_says) {
    constexpr std::int32_t attempts[] = {1, 2, 3, 4};
    constexpr std::int64_t expected[][4] = {
        {2000, 3000, 4000, 5000}, {1000, 1000, 1000, 1000}, {1000, 2000, 4000, 8000}};
    for (const auto backoff :
         {RetryBackoff::linear, RetryBackoff::constant, RetryBackoff::exponential})
        for (int at = 0; at < 4; at++)
            EXPECT_EQ(retry_delay_ms({.backoff = backoff}, attempts[at], 1000, 0),
                      expected[static_cast<int>(backoff)][at]);
}

TEST(retry_delay, names_lead_to_their_backoff) {
    EXPECT_EQ(retry_backoff_from("linear"), RetryBackoff::linear);
    EXPECT_EQ(retry_backoff_from("constant"), RetryBackoff::constant);
    EXPECT_EQ(retry_backoff_from("exponential"), RetryBackoff::exponential);
    EXPECT_FALSE(retry_backoff_from("Linear") || retry_backoff_from("") ||
                 retry_backoff_from("exponential "));
}

RC_GTEST_PROP(retry_delay, is_that_of_the_model_without_jitter, ()) {
    const RetryDelay delay{any_backoff(), any_ms()};
    const std::int32_t attempt = any_attempt();
    const std::int64_t timeout_ms = any_ms();
    RC_ASSERT(retry_delay_ms(delay, attempt, timeout_ms, *rc::gen::arbitrary<std::uint64_t>()) ==
              model(delay, attempt, timeout_ms));
}

RC_GTEST_PROP(retry_delay, jitter_takes_off_its_share_at_most, ()) {
    const double jitter = *rc::gen::inRange(0, 1001) / 1000.0;
    const RetryDelay delay{any_backoff(), any_ms(), jitter};
    const std::int32_t attempt = any_attempt();
    const std::int64_t timeout_ms = any_ms();
    const auto random = *rc::gen::oneOf(rc::gen::element<std::uint64_t>(0, ~std::uint64_t{0}),
                                        rc::gen::arbitrary<std::uint64_t>());
    const std::int64_t most = model(delay, attempt, timeout_ms);
    const std::int64_t ms = retry_delay_ms(delay, attempt, timeout_ms, random);
    RC_ASSERT(ms >= 0 && ms <= most);
    // A double holds 53 bits
    const auto least = static_cast<double>(most) * (1 - jitter);
    RC_ASSERT(static_cast<double>(ms) >= least - static_cast<double>(most) * 0x1p-50 - 1);
}

RC_GTEST_PROP(retry_delay, jitter_spreads_the_jobs_of_a_batch, ()) {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto first = *rc::gen::inRange<std::int64_t>(0, greatest / 2);
    int halves[2] = {};
    std::set<std::int64_t> delays;
    for (std::int64_t id = first; id < first + 100; id++) {
        const std::int64_t ms =
            retry_delay_ms({.jitter = 1}, 1, 50'000'000, random_of_job(seed, id));
        halves[ms < 50'000'000]++;
        delays.insert(ms);
    }
    RC_ASSERT(delays.size() > 95U);
    RC_ASSERT(halves[0] > 15 && halves[1] > 15);
}
