// Drawing leases. See leases.hpp.
#include "queue/leases.hpp"

#include <algorithm>
#include <span>

#include "core/lease.hpp"
#include "settings.hpp"
#include "shared/sessions.hpp"

namespace ecto_job {

namespace {

// The leases that this transaction drew. A rollback to a savepoint leaves those of jobs that are
// not started any more, which is harmless.
struct Drawn {
    int64 *leases = nullptr; // in TopTransactionContext
    Size count = 0;
    Size size = 0;
};
Drawn drawn;

void remember(int64 lease) {
    Assert(IsTransactionState() && lease != 0);
    if (drawn.leases == nullptr) {
        constexpr Size first_size = 8;
        drawn.leases = static_cast<int64 *>(
            MemoryContextAlloc(TopTransactionContext, first_size * sizeof(int64)));
        drawn.size = first_size;
    } else if (drawn.count == drawn.size) {
        drawn.leases = static_cast<int64 *>(repalloc(drawn.leases, 2 * drawn.size * sizeof(int64)));
        drawn.size *= 2;
    }
    drawn.leases[drawn.count++] = lease;
}

uint64 random_bits() {
    uint64 bits = 0;
    if (!pg_strong_random(&bits, sizeof bits))
        ereport(ERROR, (errmsg("could not draw a random lease")));
    return bits;
}

int64 draw() {
    static uint32 last_number = 0; // of the session's bound leases
    const uint32 session = settings::session_leases ? bind_session() : 0;
    if (session != 0) {
        if (last_number == 0)
            last_number = static_cast<uint32>(random_bits());
        return bound_lease(session, ++last_number);
    }
    int64 lease = 0;
    while (lease == 0)
        lease = unbound_lease(random_bits());
    return lease;
}

} // namespace

int64 draw_lease() {
    const int64 lease = draw();
    remember(lease);
    return lease;
}

bool drawn_in_this_transaction(int64 lease) {
    const std::span<const int64> leases(drawn.leases, drawn.count);
    return std::ranges::find(leases, lease) != leases.end();
}

void forget_leases() {
    drawn = {};
}

} // namespace ecto_job
