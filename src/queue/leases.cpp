// Drawing leases. See leases.hpp.
#include "queue/leases.hpp"

#include "core/lease.hpp"
#include "server_settings.hpp"
#include "shared/session_leases.hpp"

namespace ecto_job {

namespace {

// A lease that the running transaction drew. A rollback to a savepoint leaves the leases of jobs
// that are not started any more in the list, which is harmless.
struct DrawnLease {
    int64 lease;
    DrawnLease *next;
};
DrawnLease *drawn = nullptr; // in TopTransactionContext; the latest first

void remember(int64 lease) {
    Assert(IsTransactionState() && lease != 0);
    auto *const added =
        static_cast<DrawnLease *>(MemoryContextAlloc(TopTransactionContext, sizeof(DrawnLease)));
    *added = {lease, drawn};
    drawn = added;
}

uint64 random_bits() {
    uint64 bits = 0;
    if (!pg_strong_random(&bits, sizeof bits))
        ereport(ERROR, (errmsg("could not draw a random lease")));
    return bits;
}

int64 draw() {
    static uint32 last_number = 0; // of the session's bound leases
    const uint32 session = settings::session_leases ? session_number() : 0;
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
    for (const DrawnLease *one = drawn; one != nullptr; one = one->next)
        if (one->lease == lease)
            return true;
    return false;
}

void forget_leases() {
    drawn = nullptr;
}

} // namespace ecto_job
