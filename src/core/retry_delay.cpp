// The arithmetic of the retry back-off. See retry_delay.hpp.
#include "core/retry_delay.hpp"

#include <algorithm>
#include <iterator>

namespace ecto_job {

namespace {

constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max();

// Returns how many timeouts a job waits.
std::int64_t timeouts(RetryBackoff backoff, std::int32_t attempt) {
    constexpr std::int64_t most_doublings = 62;
    const std::int64_t failed = std::max(attempt, 0);
    switch (backoff) {
    case RetryBackoff::constant:
        return 1;
    case RetryBackoff::linear:
        return failed + 1;
    case RetryBackoff::exponential:
        return std::int64_t{1} << std::clamp<std::int64_t>(failed - 1, 0, most_doublings);
    }
    return 1;
}

} // namespace

std::optional<RetryBackoff> retry_backoff_from(std::string_view name) {
    const auto *const found =
        std::find(std::begin(retry_backoff_names), std::end(retry_backoff_names), name);
    if (found == std::end(retry_backoff_names))
        return std::nullopt;
    return static_cast<RetryBackoff>(found - std::begin(retry_backoff_names));
}

// Mixes the bits as SplitMix64 does.
std::uint64_t random_of_job(std::uint64_t seed, std::int64_t id) {
    std::uint64_t bits = seed + static_cast<std::uint64_t>(id) * 0x9e3779b97f4a7c15U;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
    return bits ^ (bits >> 31);
}

std::int64_t retry_delay_ms(const RetryDelay &delay, std::int32_t attempt, std::int64_t timeout_ms,
                            std::uint64_t random) {
    std::int64_t ms = 0;
    if (__builtin_mul_overflow(timeouts(delay.backoff, attempt), timeout_ms, &ms))
        ms = forever;
    ms = std::min(ms, delay.longest_ms);
    // Below 1, with the 53 bits that a double has
    const double share = static_cast<double>(random >> 11) * 0x1p-53;
    const double off = static_cast<double>(ms) * delay.jitter * share;
    // The double of a number above 2^53 may be greater than the number
    return off < static_cast<double>(ms)
               ? std::max(ms - static_cast<std::int64_t>(off), std::int64_t{0})
               : 0;
}

} // namespace ecto_job
