// Drawing leases. See leases.hpp.
//
// What a transaction drew is kept in its own memory context, and the list is dropped by noticing
// that another transaction runs; so neither a callback nor a rollback has anything to clean up.
#include "queue/leases.hpp"

#include "pg/compat.hpp"

namespace ecto_job {

namespace {

constexpr uint64 lease_bits = (UINT64CONST(1) << 53) - 1;
constexpr uint64 session_bit = 1;

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

} // namespace

int64 draw_lease() {
    uint64 bits = 0;
    do {
        if (!pg_strong_random(&bits, sizeof bits))
            ereport(ERROR, (errmsg("could not draw a random lease")));
        bits &= lease_bits & ~session_bit;
    } while (bits == 0);
    const auto lease = static_cast<int64>(bits);
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
