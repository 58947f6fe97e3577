// The number of an owner's deaths, and the back-off. See owner_backoff.hpp.
#include "core/owner_backoff.hpp"

#include <algorithm>

#include "core/backoff.hpp"

namespace ecto_job {

Deaths one_more(const Deaths &before, Micros now) {
    constexpr std::int32_t many = 1000;
    constexpr Micros quiet_us = 600'000'000; // twice the longest pause of an owner
    const bool goes_on = before.count > 0 && before.last <= now && now - before.last <= quiet_us;
    return {goes_on ? std::min(before.count + 1, many) : 1, now};
}

Micros wait_until(const Deaths &deaths, Micros now) {
    if (deaths.count == 0 || deaths.last > now)
        return minus_infinity;
    return deaths.last + failure_backoff(deaths.count).pause();
}

} // namespace ecto_job
