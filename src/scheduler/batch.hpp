// One transaction of a sweep: as the table's owner it moves a batch of jobs, or looks ahead, or
// both.
//
// In this order: the extension's lock and a second look at it, the table's lock if nobody holds it
// against us, the checks of what kind of table it is, the registry, the change to the owner, the
// work under a time limit, back to ourselves.
#pragma once

#include "core/agenda.hpp"
#include "pg/pg.hpp"
#include "queue/transitions.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// What a commit may take, once the batch is done: it waits for NOTIFY's lock if a trigger has
// notified.
inline constexpr int commit_limit_ms = 1000;

struct Assignment {
    Work work;
    Oid extension;
    TimestampTz now; // of what is due
    int limit_ms;
    bool only_looks_ahead; // there is nothing more to move
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
    bool announces = false; // jobs became AVAILABLE, or nobody may know that they are
    bool in_commit = false; // the work itself is done
};

// Fills the batch. In a transaction, with SPI connected. Raises whatever the table's triggers
// raise; what the batch says then, but for `in_commit`, did not happen.
void run_batch(WatchedQueue *queue, const Assignment &assignment, Batch *batch);

} // namespace ecto_job
