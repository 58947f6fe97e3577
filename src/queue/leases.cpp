// Drawing leases. See leases.hpp.
//
// What a transaction drew is kept in its own memory context, and the list is dropped by noticing
// that another transaction runs; so neither a callback nor a rollback has anything to clean up.
#include "queue/leases.hpp"

#include "core/lease.hpp"
#include "pg/compat.hpp"
#include "settings.hpp"
#include "shared/sessions.hpp"

namespace ecto_job {

namespace {

int64 *drawn = nullptr; // in TopTransactionContext
int drawn_count = 0;
int drawn_size = 0;
LocalTransactionId drawn_by = InvalidLocalTransactionId;

void remember(int64 lease) {
    if (drawn_by != my_local_transaction()) {
        constexpr int first_size = 8;
        drawn = static_cast<int64 *>(
            MemoryContextAlloc(TopTransactionContext, first_size * sizeof(int64)));
        drawn_size = first_size;
        drawn_count = 0;
        drawn_by = my_local_transaction();
    }
    if (drawn_count == drawn_size) {
        drawn = static_cast<int64 *>(
            repalloc(drawn, static_cast<Size>(drawn_size) * 2 * sizeof(int64)));
        drawn_size *= 2;
    }
    drawn[drawn_count++] = lease;
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
    if (drawn_by != my_local_transaction())
        return false;
    for (int i = 0; i < drawn_count; i = i + 1)
        if (drawn[i] == lease)
            return true;
    return false;
}

} // namespace ecto_job
