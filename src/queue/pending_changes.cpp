// The changes of the running transaction, in its own memory. See pending_changes.hpp.
#include "queue/pending_changes.hpp"

#include <algorithm>

#include "queue/notifications.hpp"
#include "shared/mailbox.hpp"
#include "shared/prepared_notes.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {

namespace {

struct PendingChange {
    Change change;
    SubTransactionId made_in;
    PendingChange *next;
};

PendingChange *pending = nullptr; // in TopTransactionContext; the latest first

uint32 saturated_sum(uint32 a, uint32 b) {
    return a > all_waiters - b ? all_waiters : a + b;
}

void merge(Change *into, const Change &change) {
    into->available = into->available || change.available;
    into->lowest = std::min(into->lowest, change.lowest);
    merge(&into->report, change.report);
    into->wake_ups = saturated_sum(into->wake_ups, change.wake_ups);
    into->claimed = saturated_sum(into->claimed, change.claimed);
}

PendingChange *find_pending(Oid queue, SubTransactionId made_in) {
    for (PendingChange *own = pending; own != nullptr; own = own->next)
        if (own->change.queue == queue && own->made_in == made_in)
            return own;
    return nullptr;
}

void record(const Change &change) {
    Assert(IsTransactionState() && OidIsValid(change.queue));
    const SubTransactionId here = GetCurrentSubTransactionId();
    // The latest change comes first, so the rows of one statement find theirs at once
    PendingChange *own = find_pending(change.queue, here);
    if (own == nullptr) {
        own = static_cast<PendingChange *>(
            MemoryContextAlloc(TopTransactionContext, sizeof(PendingChange)));
        *own = PendingChange{Change{.queue = change.queue}, here, pending};
        pending = own;
    }
    merge(&own->change, change);
}

// Frees one by one, since there may be very many subtransactions before the transaction ends.
void free_first(PendingChange **link) {
    PendingChange *const freed = *link;
    *link = freed->next;
    pfree(freed);
}

} // namespace

void record_available(Oid queue, const JobKey &key, bool announce, uint32 jobs) {
    record({.queue = queue, .available = announce, .lowest = key, .wake_ups = announce ? jobs : 0});
}

void record_due(Oid queue, TimestampTz schedule) {
    record({.queue = queue, .report = {.due = schedule}});
}

void record_lease(Oid queue, const JobKey &key, TimestampTz expires) {
    record({.queue = queue, .report = {.expiry = expires, .leased_up_to = key}});
}

void record_claim(Oid queue, uint64 jobs) {
    record({.queue = queue, .claimed = static_cast<uint32>(std::min<uint64>(jobs, all_waiters))});
}

void record_gone(Oid queue) {
    record({.queue = queue, .wake_ups = all_waiters});
}

void notify_unserved() {
    for (PendingChange *own = pending; own != nullptr; own = own->next)
        if (own->change.available && notify_unless_served(own->change.queue))
            own->change.available = false;
}

void report_changes() {
    for (const PendingChange *own = pending; own != nullptr; own = own->next)
        report(own->change);
}

void wake_for_undone_claims() {
    for (const PendingChange *own = pending; own != nullptr; own = own->next)
        wake(own->change.queue, own->change.claimed);
}

void add_changes_to(PreparedNote *note) {
    for (const PendingChange *own = pending; own != nullptr; own = own->next)
        add_change(note, own->change);
}

void forget_changes() {
    pending = nullptr;
}

void forget_changes_of(SubTransactionId subtransaction) {
    for (PendingChange **link = &pending; *link != nullptr;)
        if ((*link)->made_in == subtransaction) {
            wake((*link)->change.queue, (*link)->change.claimed);
            free_first(link);
        } else
            link = &(*link)->next;
}

void give_changes_to_parent(SubTransactionId subtransaction, SubTransactionId parent) {
    for (PendingChange **link = &pending; *link != nullptr;) {
        PendingChange *const own = *link;
        PendingChange *const parents =
            own->made_in == subtransaction ? find_pending(own->change.queue, parent) : nullptr;
        if (parents != nullptr) {
            merge(&parents->change, own->change);
            free_first(link);
            continue;
        }
        if (own->made_in == subtransaction)
            own->made_in = parent;
        link = &own->next;
    }
}

} // namespace ecto_job
