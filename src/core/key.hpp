// Where a job stands in its queue: by priority, then schedule, then id.
//
// Claims take AVAILABLE jobs in this order, so "nothing is AVAILABLE below this key" lets a claim
// start there instead of at the beginning. The fields are the columns' own types in plain C++
// (int4, timestamptz in microseconds, int8), since core does not include PostgreSQL's headers. A
// queue without the column priority has 0 there. No lock, no allocation.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

#include "core/times.hpp"

namespace ecto_job {

struct JobKey {
    std::int32_t priority;
    Micros schedule;
    std::int64_t id;

    // NOLINTNEXTLINE(modernize-use-nullptr): it means the zero that comparisons are rewritten with
    friend constexpr auto operator<=>(const JobKey &, const JobKey &) = default;
};

// No job stands below lowest_key or above highest_key
inline constexpr JobKey lowest_key{std::numeric_limits<std::int32_t>::min(), minus_infinity,
                                   std::numeric_limits<std::int64_t>::min()};
inline constexpr JobKey highest_key{std::numeric_limits<std::int32_t>::max(), plus_infinity,
                                    std::numeric_limits<std::int64_t>::max()};

} // namespace ecto_job
