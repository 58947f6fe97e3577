// Shares of owners, and their pauses. See fairness.hpp.
#include "core/fairness.hpp"

#include <algorithm>

#include "core/backoff.hpp"

namespace ecto_job {

std::int64_t Shares::used_by(OwnerId owner) const {
    const auto found = used_.find(owner);
    return found == used_.end() ? floor_ : std::max(found->second, floor_);
}

void Shares::charge(OwnerId owner, std::int64_t us) {
    floor_ = used_by(owner);
    used_[owner] = floor_ + std::max<std::int64_t>(us, 0);
    if (used_.size() < 2 * kept_)
        return;
    // An owner at the floor counts as an unknown one does
    std::erase_if(used_, [this](const auto &entry) { return entry.second <= floor_; });
    kept_ = std::max(used_.size(), few);
}

bool goes_before(const Candidate &a, const Candidate &b) {
    return a.used != b.used ? a.used < b.used : a.due < b.due;
}

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
