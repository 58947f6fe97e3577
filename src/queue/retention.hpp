// Deleting the FAILED jobs that are older than a queue keeps them: the option failed_retention.
//
// FAILED jobs are in no index, so a pass reads the whole table in the order of the primary key, in
// windows. A batch ends with the first window that has old jobs. Without the option nothing is
// read and nothing is deleted.
#pragma once

#include <limits>

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// A pass through a queue's table
struct PurgePass {
    int64 from = std::numeric_limits<int64>::min(); // ids up to this one have been read
    bool warned = false;                            // of a job that cannot be deleted
};

struct PurgeResult {
    int64 deleted; // jobs
    bool at_end;   // of the table
};

// Deletes jobs of the next windows, each of `limit` rows, that have been FAILED for
// failed_retention at `now`, and takes the pass forward. Locked jobs are skipped. A job whose
// DELETE raises an error, such as one that a foreign key refers to, is kept with a WARNING, once in
// a pass. If the transaction fails later, its deletions are undone but the position stays; the next
// pass finds those rows.
PurgeResult purge_failed_jobs(Queue *queue, PurgePass *pass, TimestampTz now, int64 limit);

} // namespace ecto_job
