// Reading and moving the mark. See low_water.hpp.
#include "shared/low_water.hpp"

#include <algorithm>

#include "shared/queue_records.hpp"

namespace ecto_job {

namespace {

// If the last scan is longer ago, a claim that finds no job scans from the beginning
constexpr int64 trusted_us = 500'000;
// If a claim has relied on such an old mark longer ago, a claim that finds jobs scans, too
constexpr int64 relied_us = 250'000;
// If an advance lasts longer, its transaction is long, and another advance may begin
constexpr int64 advance_us = 1'000'000;

// Tolerated difference, since another session may write a later time before this one
constexpr int64 skew_us = 50'000;

// Returns whether more than `duration_us` has passed since then; also true if the clock was set
// back.
bool is_over(TimestampTz since, int64 duration_us, TimestampTz now) {
    return since > now + skew_us || now - since > duration_us;
}

// Decides whether a claim for which a scan is `overdue` scans from the beginning. Begins an advance
// of the mark if the claim makes one.
void decide(LowWater *mark, bool tries, bool overdue, TimestampTz now, ClaimStart *start) {
    const bool advances = tries && is_over(mark->advance_began, advance_us, now);
    // While another claim scans, the mark may serve a little longer
    start->from_beginning =
        overdue && (advances || (is_over(mark->checked, 2 * trusted_us, now) &&
                                 is_over(mark->scan_began, 2 * trusted_us, now)));
    if (!advances)
        return;
    if (start->from_beginning)
        mark->scan_began = now;
    mark->advance_began = now;
    mark->lowered_to = highest_key;
    start->advance = ++mark->advance;
}

template <typename F> void with_record(Oid queue, F body) {
    if (shared_state() == nullptr)
        return;
    const SharedLock lock(LW_SHARED);
    if (QueueRecord *const record = find_record(queue)) {
        const RecordLock record_lock(record);
        body(record);
    }
}

template <typename F> void with_mark(Oid queue, F body) {
    with_record(queue, [&](QueueRecord *record) { body(&record->low_water); });
}

} // namespace

void lower(LowWater *mark, const JobKey &key) {
    assert_locked();
    mark->key = std::min(mark->key, key);
    mark->lowered_to = std::min(mark->lowered_to, key);
}

void forget(LowWater *mark) {
    assert_locked_exclusively();
    const uint64 dropped = mark->advance;
    *mark = LowWater{};
    mark->advance = dropped + 1;
}

ClaimStart begin_claim(Oid queue, bool may_advance, bool wants) {
    ClaimStart start{lowest_key, false, 0, false};
    const TimestampTz now = GetCurrentTimestamp();
    with_record(queue, [&](QueueRecord *record) {
        LowWater *const mark = &record->low_water;
        start.isolates_rows = record->skipped_by_claims.until > now;
        const bool outdated = is_over(mark->checked, trusted_us, now);
        const bool relied = mark->relied != 0 && is_over(mark->relied, relied_us, now);
        const bool overdue = outdated && (relied || !mark->known || !may_advance);
        decide(mark, may_advance && (wants || overdue), overdue, now, &start);
        if (outdated && mark->relied == 0)
            mark->relied = now;
        if (!start.from_beginning && mark->known)
            start.from = mark->key;
    });
    return start;
}

ClaimStart begin_scan(Oid queue, bool may_advance) {
    ClaimStart start{lowest_key, false, 0, false};
    const TimestampTz now = GetCurrentTimestamp();
    with_mark(queue, [&](LowWater *mark) {
        const bool overdue = mark->known && is_over(mark->checked, trusted_us, now);
        decide(mark, may_advance && overdue, overdue, now, &start);
    });
    return start;
}

void end_scan(Oid queue, const JobKey &key) {
    const TimestampTz now = GetCurrentTimestamp();
    with_mark(queue, [&](LowWater *mark) {
        lower(mark, key);
        mark->checked = now; // a long scan does not cause the next one
        mark->relied = mark->scan_began = 0;
    });
}

void finish_advance(Oid queue, uint64 advance, const JobKey &key) {
    Assert(advance != 0);
    with_mark(queue, [&](LowWater *mark) {
        if (mark->advance != advance)
            return;
        mark->key = std::min(key, mark->lowered_to);
        mark->known = true;
        mark->advance_began = 0;
    });
}

void cancel_advance(Oid queue, uint64 advance) {
    Assert(advance != 0);
    with_mark(queue, [&](LowWater *mark) {
        if (mark->advance == advance)
            mark->advance_began = mark->scan_began = 0;
    });
}

} // namespace ecto_job
