// The low-water mark of a queue: a key below which no job is AVAILABLE, so that a claim starts
// there and does not walk over the dead index entries of finished jobs, which stay as long as an
// old snapshot could see them.
//
// Why it is right. A claim that is to advance the mark begins the advance, then takes a snapshot,
// and finds in it the lowest AVAILABLE key, whoever has that row locked: jobs that others have
// claimed and not committed count as AVAILABLE, so their rollback changes nothing. Those that its
// own transaction has claimed before do not count, so the mark moves when that has committed. A job
// that is made AVAILABLE meanwhile is either in that snapshot, or its commit comes to lower() after
// the advance began; the mark becomes the lower of both keys.
//
// What lowers no mark is a row that was written with triggers off. So a claim that finds nothing
// looks from the beginning, if that is half a second ago; and of those that find something, which
// shall not wait for a look, one does that begins a quarter of a second after another has relied on
// such a mark. A look that is cancelled is none; a second after one has
// begun that does not end, every claim looks.
//
// Guarded by the record's spinlock, under the segment's lock in either mode.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// By the commit that made `key` AVAILABLE, with both locks held.
void lower(LowWater *mark, const JobKey &key);

// Nothing is known of it any more, and an advance that is under way is dropped; the same.
void forget(LowWater *mark);

// Where a claim starts, and whether it is to advance the mark when it has committed.
struct ClaimStart {
    JobKey from;
    bool looks;     // from the beginning, for what the mark may hide
    uint64 advance; // a number for the calls below; 0: it is not
    bool careful;   // a job was at fault in a claim not long ago
};

// Before the snapshot is taken. A claim that looks from the beginning advances the mark, and one
// that `wants` to; one at a time does, and none that may not.
ClaimStart start_claim(Oid queue, bool may_advance, bool wants);

// After a claim that found nothing: `looks` if another is to begin from the beginning.
ClaimStart start_look(Oid queue, bool may_advance);

// A look from the beginning has ended, and this is the first AVAILABLE job.
void end_look(Oid queue, const JobKey &key);

// After COMMIT: nothing below the key is AVAILABLE. Cannot fail.
void finish_advance(Oid queue, uint64 advance, const JobKey &key);
// Instead, if the transaction did not commit. Cannot fail.
void cancel_advance(Oid queue, uint64 advance);

} // namespace ecto_job
