// The search for the first AVAILABLE job, to which the low-water mark advances. See
// claim_start.hpp.
//
// Two kinds of claims advance the mark: every eighth claim or search of a session, and one whose
// mark is overdue for a scan from the beginning. A claim in between skips only the few rows that
// this session has claimed since the last advance, which is cheaper: an advance costs as much as
// skipping some dozens.
#include "queue/claim_start.hpp"

#include "queue/transitions.hpp"
#include "shared/low_water.hpp"

namespace ecto_job {

namespace {

constexpr int searches_between_advances = 8;

struct Advance {
    Oid queue;
    uint64 number;
    JobKey key;
    Advance *next;
};

Advance *advances = nullptr; // in TopTransactionContext

// Returns whether the claim sees all rows: it reads the latest snapshot, and no policy hides rows.
bool sees_everything(const Queue *queue) {
    return XactIsoLevel == XACT_READ_COMMITTED &&
           check_enable_rls(queue->oid, InvalidOid, true) != RLS_ENABLED;
}

// Returns the key of the first AVAILABLE job, which becomes the mark when this transaction commits.
JobKey advance_from(Queue *queue, const ClaimStart &start) {
    Assert(start.advance != 0);
    queue->searches_since_advance = 0;
    auto *const advance =
        static_cast<Advance *>(MemoryContextAlloc(TopTransactionContext, sizeof(Advance)));
    *advance = Advance{queue->oid, start.advance, start.from, advances};
    advances = advance;
    advance->key = first_available(queue, start.from).value_or(highest_key);
    if (start.from_beginning)
        end_scan(queue->oid, advance->key);
    return advance->key;
}

} // namespace

void finish_advances() {
    for (const Advance *advance = advances; advance != nullptr; advance = advance->next)
        finish_advance(advance->queue, advance->number, advance->key);
    advances = nullptr;
}

void cancel_advances() {
    for (const Advance *advance = advances; advance != nullptr; advance = advance->next)
        cancel_advance(advance->queue, advance->number);
    advances = nullptr;
}

JobKey claim_start(Queue *queue) {
    const bool wants = ++queue->searches_since_advance >= searches_between_advances;
    const ClaimStart start = begin_claim(queue->oid, sees_everything(queue), wants);
    if (start.isolates_rows) // a claim, of any session, has met a row at fault
        queue->claims_run_directly = false;
    return start.advance == 0 ? start.from : advance_from(queue, start);
}

std::optional<JobKey> claim_start_again(Queue *queue) {
    const ClaimStart start = begin_scan(queue->oid, sees_everything(queue));
    if (!start.from_beginning)
        return std::nullopt;
    return start.advance == 0 ? start.from : advance_from(queue, start);
}

std::optional<JobKey> find_available(Queue *queue) {
    return search_from_mark(queue,
                            [queue](const JobKey &from) { return first_available(queue, from); });
}

} // namespace ecto_job
