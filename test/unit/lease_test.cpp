// The bits of a lease: a session lease is odd, and names its session.
#include "core/lease.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdint>

using namespace ecto_job;

namespace {

constexpr std::int64_t limit = std::int64_t{1} << 53;

RC_GTEST_PROP(lease, an_unbound_one_is_even_and_fits, (std::uint64_t random)) {
    const auto lease = unbound_lease(random);
    RC_ASSERT(lease >= 0 && lease < limit);
    RC_ASSERT(!is_bound(lease));
    RC_ASSERT(session_of(lease) == 0);
}

RC_GTEST_PROP(lease, a_bound_one_is_odd_and_fits, (std::uint32_t session, std::uint32_t number)) {
    const auto lease = bound_lease(session, number);
    RC_ASSERT(lease > 0 && lease < limit);
    RC_ASSERT(is_bound(lease));
    RC_ASSERT((lease >> lease_session_shift) == session);
    RC_ASSERT(session_of(lease) == session);
}

TEST(lease, extremes) {
    EXPECT_EQ(unbound_lease(UINT64_MAX), limit - 2);
    EXPECT_EQ(bound_lease(UINT32_MAX, UINT32_MAX), limit - 1);
    EXPECT_EQ(bound_lease(1, 0), (std::int64_t{1} << lease_session_shift) + 1);
}

TEST(lease, of_strange_bits_is_no_session) {
    for (const std::int64_t bits :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, limit + 1, INT64_MAX})
        EXPECT_EQ(session_of(bits), 0) << bits;
}

RC_GTEST_PROP(lease, numbers_come_again_after_a_million, (std::uint32_t number)) {
    constexpr std::uint32_t period = 1U << 20;
    const auto distance = *rc::gen::inRange<std::uint32_t>(1, period);
    RC_ASSERT(bound_lease(7, number) != bound_lease(7, number + distance));
    RC_ASSERT(bound_lease(7, number) == bound_lease(7, number + period));
}

} // namespace
