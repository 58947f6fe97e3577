// The retry back-off of a queue with options: how long a failed job waits for its next attempt.
// Delays are in whole milliseconds. Nothing overflows, and nothing waits longer than the longest
// delay. No lock.
//
// Not here: a queue without such options never calls this. There the fragment `next_time` in
// queue/statements calls increase_time() (core/times). A delay that the caller of fail_job gives
// counts in every queue.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace ecto_job {

enum class RetryBackoff : std::uint8_t {
    linear,     // retry_timeout * number of the next attempt; EctoJob's
    constant,   // retry_timeout
    exponential // retry_timeout * 2^(number of the failed attempt - 1)
};
// As the options of a queue name them
inline constexpr std::string_view retry_backoff_names[] = {"linear", "constant", "exponential"};

// Returns nullopt for an unknown name.
std::optional<RetryBackoff> retry_backoff_from(std::string_view name);

struct RetryDelay {
    RetryBackoff backoff = RetryBackoff::linear;
    std::int64_t longest_ms = std::numeric_limits<std::int64_t>::max();
    double jitter = 0; // 0 to 1: the share of the delay that is random

    bool operator==(const RetryDelay &) const = default;
};

// Returns a number that two jobs of one batch have in common only by chance.
std::uint64_t random_of_job(std::uint64_t seed, std::int64_t id);

// Returns the delay after the attempt of this number has failed: at most the longest delay, and
// with jitter at least (1 - jitter) of what the delay would be without. A random number of 0 takes
// nothing off. The timeout, the longest delay and the result are not negative; an attempt below 1
// counts as no attempt.
std::int64_t retry_delay_ms(const RetryDelay &delay, std::int32_t attempt, std::int64_t timeout_ms,
                            std::uint64_t random);

} // namespace ecto_job
