// The low-water mark of a queue: a key below which no job is AVAILABLE, so that a claim starts
// there and does not walk over the dead index entries of finished jobs, which stay as long as an
// old snapshot could see them.
//
// Why the mark is right. A claim that is to advance the mark begins the advance, then takes a
// snapshot, and finds in it the lowest AVAILABLE key, whoever has that row locked: jobs that others
// have claimed and not committed count as AVAILABLE, so their rollback changes nothing. Jobs that
// the claim's own transaction has claimed before do not count, so the mark moves when that has
// committed. A job that is made AVAILABLE meanwhile is either in that snapshot, or its commit calls
// lower() after the advance began; the mark becomes the lower of both keys.
//
// Rows written with triggers disabled do not lower the mark, so it may not be trusted for ever. A
// claim that finds nothing looks from the beginning if the last look is over half a second old. A
// claim that finds something shall not wait for a look: one does it, a quarter of a second after
// another has relied on such an old mark. A look that is cancelled does not count; if one does not
// end, every claim looks after a second.
//
// Guarded by the record's spinlock, under the lock of the shared state in either mode.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Lowers the mark for a commit that made `key` AVAILABLE. Called under both locks.
void lower(LowWater *mark, const JobKey &key);

// Forgets the mark, and drops an advance that is under way. Called under both locks.
void forget(LowWater *mark);

// Where a claim starts, and whether it is to advance the mark when it has committed.
struct ClaimStart {
    JobKey from;
    bool scans;     // from the beginning, for what the mark may hide
    uint64 advance; // a number for the calls below; 0: it is not
    bool guarded;   // a job was at fault in a claim not long ago
};

// Returns where a claim starts. Called before its snapshot is taken. A claim that looks from the
// beginning advances the mark, and so does one that `wants` to; but one at a time, and none that
// may not.
ClaimStart start_claim(Oid queue, bool may_advance, bool wants);

// Returns, after a claim that found nothing, whether another `looks` from the beginning.
ClaimStart start_scan(Oid queue, bool may_advance);

// Ends a look from the beginning, which has found this to be the first AVAILABLE job's key.
void end_scan(Oid queue, const JobKey &key);

// Moves the mark after COMMIT: nothing below the key is AVAILABLE. Cannot fail.
void finish_advance(Oid queue, uint64 advance, const JobKey &key);
// Drops the advance of a transaction that did not commit. Cannot fail.
void cancel_advance(Oid queue, uint64 advance);

} // namespace ecto_job
