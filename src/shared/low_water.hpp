// The low-water mark of a queue: a key below which no job is AVAILABLE. Claims start there, and so
// skip the dead index entries of finished jobs, which stay as long as an old snapshot could see
// them.
//
// Why the mark is right. A claim that advances the mark first begins the advance, then takes a
// snapshot and finds the lowest AVAILABLE key in that snapshot, whoever has locked the row. Jobs
// that other sessions have claimed and not committed count as AVAILABLE, so their rollback changes
// nothing. Jobs that the claim's own transaction has claimed before do not count, so the mark moves
// when that transaction has committed. A job that becomes AVAILABLE meanwhile is either in the
// snapshot, or its commit calls lower() after the advance began; the mark becomes the lower of both
// keys.
//
// Rows that are written with triggers disabled do not lower the mark, so some claims scan from the
// beginning: a claim that finds no job, if the last scan is over half a second ago; one claim that
// finds jobs, a quarter of a second after another has relied on so old a mark; and every claim, if
// a scan has not ended after a second. A scan that is cancelled does not count.
//
// Guarded by the record's spinlock, under the lock of the shared state in either mode.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Lowers the mark for a commit that made a job with this key AVAILABLE. Called under both locks.
void lower(LowWater *mark, const JobKey &key);

// Forgets the mark, and drops an advance that is under way. Called under both locks.
void forget(LowWater *mark);

// Where a claim starts, and whether it is to advance the mark when it has committed.
struct ClaimStart {
    JobKey from;
    bool from_beginning; // a scan for what the mark may hide
    uint64 advance;      // a number for the calls below; 0: the claim does not advance the mark
    bool isolates_rows;  // since a job was at fault in a claim not long ago
};

// Returns where a claim starts, and begins the advance of the mark if the claim makes one. Called
// before the claim takes its snapshot. A claim advances the mark if it `may_advance`, nobody else
// does, and it scans from the beginning or `wants` to advance.
ClaimStart begin_claim(Oid queue, bool may_advance, bool wants);

// Returns, after a claim that found no job, whether another claim scans `from_beginning`.
ClaimStart begin_scan(Oid queue, bool may_advance);

// Ends a scan from the beginning that has found this key as the lowest of an AVAILABLE job.
void end_scan(Oid queue, const JobKey &key);

// Moves the mark to the key after COMMIT: no job below the key is AVAILABLE. Cannot fail.
void finish_advance(Oid queue, uint64 advance, const JobKey &key);
// Drops the advance of a transaction that did not commit. Cannot fail.
void cancel_advance(Oid queue, uint64 advance);

} // namespace ecto_job
