// One transaction of a sweep, which moves a batch of jobs, or looks ahead, or both, as the table's
// owner.
//
// In this order: the extension's lock and the check that the extension still exists, the table's
// lock if it is free, the check of the table's kind, the registry, the switch to the owner, the
// work under a time limit, the switch back.
#pragma once

#include "core/agenda.hpp"
#include "pg/pg.hpp"
#include "queue/transitions.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// The time limit of a commit, which waits for NOTIFY's lock if a trigger has notified.
inline constexpr int commit_limit_ms = 1000;

struct Assignment {
    Work work;
    Oid extension;
    TimestampTz now; // of what is due
    int limit_ms;
    bool only_looks_ahead; // nothing is left to move
};

struct Moved {
    int64 activated = 0, expired = 0, retried = 0, failed = 0;

    int64 count() const { return activated + expired + retried + failed; }
    void add(const EndedLeases &ended) {
        expired += ended.available;
        retried += ended.retried;
        failed += ended.failed;
    }
};

struct Batch {
    Found found = {};
    Moved moved = {};
    bool announces = false; // jobs became AVAILABLE, or may be so without having been announced
    bool in_commit = false; // all but the commit is done
};

// Does the work and fills the batch. In a transaction, with SPI connected. Raises what the table's
// triggers raise; then only `in_commit` of the batch is valid.
void run_batch(WatchedQueue *queue, const Assignment &assignment, Batch *batch);

} // namespace ecto_job
