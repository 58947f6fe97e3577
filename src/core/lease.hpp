// The bits of a lease: below 2^53, because JavaScript and JSON round what is larger, and never 0.
//
// The lowest bit tells the two kinds apart. 0: all others are random. 1: the lease is bound to the
// session that drew it, whose number stands in the upper bits; the rest numbers the session's
// leases, from a random beginning, so that none comes again before a million others.
#pragma once

#include <cstdint>

namespace ecto_job {

inline constexpr int lease_size = 53;
inline constexpr int lease_session_shift = 21;

constexpr std::int64_t unbound_lease(std::uint64_t random) {
    return static_cast<std::int64_t>(random & ((std::uint64_t{1} << lease_size) - 2));
}

// Returns a lease of the session, never 0, since no session has the number 0.
constexpr std::int64_t bound_lease(std::uint32_t session, std::uint32_t number) {
    constexpr std::uint64_t number_mask = (1U << (lease_session_shift - 1)) - 1;
    return static_cast<std::int64_t>((std::uint64_t{session} << lease_session_shift) |
                                     ((number & number_mask) << 1) | 1);
}

constexpr bool is_bound(std::int64_t lease) {
    return (lease & 1) != 0;
}

// Returns the number of the session that a lease is bound to; 0: none, or the lease is not ours.
constexpr std::uint32_t session_of(std::int64_t lease) {
    const bool is_ours = lease > 0 && lease < std::int64_t{1} << lease_size && is_bound(lease);
    return is_ours ? static_cast<std::uint32_t>(lease >> lease_session_shift) : 0;
}

} // namespace ecto_job
