// Leases that a node of EctoJob's library gives by a clock of its own, which may be behind ours.
#pragma once

#include <optional>

#include "core/times.hpp"

namespace ecto_job {

// A clock counts as in step up to this: the library cuts times to whole seconds, and on its way a
// statement takes its time
inline constexpr Micros clock_in_step = 2'000'000;
// A clock that is behind by more is that of a test, and not of a node at work
inline constexpr Micros clock_of_test = 86'400'000'000;

// Returns when a lease ends by our clock whose beginning and end are by the node's, or nullopt
// where that clock is not behind. The end is moved by whole seconds, since its column may have no
// more.
constexpr std::optional<Micros> lease_by_our_clock(Micros begins, Micros ends, Micros now) {
    constexpr Micros second = 1'000'000;
    if (begins >= now - clock_in_step || begins < now - clock_of_test || ends <= begins)
        return std::nullopt;
    const Micros step = (now - begins + second - 1) / second * second;
    return ends < end_timestamp - step ? std::optional(ends + step) : std::nullopt;
}

} // namespace ecto_job
