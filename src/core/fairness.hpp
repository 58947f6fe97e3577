// The choice of the owner whose queue is swept next. No clock, no lock, no server.
//
// The scheduler's time is shared by owners, not by queues: ten queues of one owner together get
// what the single queue of another gets.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "core/times.hpp"

namespace ecto_job {

using OwnerId = std::uint32_t;

// The time that each owner has used. The next owner is the one, of those with due work, who has
// used least. An owner without due work saves up no time: such an owner counts as having used as
// much as the owner who was swept last had used before that sweep.
class Shares {
public:
    // Returns microseconds.
    std::int64_t used_by(OwnerId owner) const;
    // Adds to the time of the owner, who was next.
    void charge(OwnerId owner, std::int64_t us);
    std::size_t owners() const { return used_.size(); } // for tests

private:
    std::unordered_map<OwnerId, std::int64_t> used_;
    std::int64_t floor_ = 0; // nobody counts as having used less
    static constexpr std::size_t few = 64;
    std::size_t kept_ = few; // owners, when those at the floor were last forgotten
};

struct Candidate {
    OwnerId owner;
    std::int64_t used; // by the owner
    Micros due;        // of the queue
};

// Returns whether a's queue is swept before b's: by the time that their owners have used, then by
// the time for which the queues have been due.
bool goes_before(const Candidate &a, const Candidate &b);

} // namespace ecto_job
