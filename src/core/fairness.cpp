// Shares of owners. See fairness.hpp.
#include "core/fairness.hpp"

#include <algorithm>

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

} // namespace ecto_job
