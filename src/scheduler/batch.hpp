// A transaction of a batch, as the table's owner. README.md lists the transactions of a batch.
//
// The order of steps matters: lock the extension and check that it still exists, lock the table if
// its lock is free, set the time limits, check the table's kind, read the queue's settings, become
// the owner, do the work, become oneself again. The commit has a time limit of its own.
#pragma once

#include "core/agenda.hpp"
#include "pg/pg.hpp"
#include "queue/transitions.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// The time limit of the commit of each transaction of a batch. A commit waits for NOTIFY's lock if
// a trigger has notified.
inline constexpr int commit_limit_ms = 1000;

// What the transaction is to do.
struct Assignment {
    Work work;
    Oid extension;
    TimestampTz now; // what is due at this time is moved
    int limit_ms;
    bool only_looks_ahead; // nothing is left to move
};

// How many jobs were moved.
struct Moved {
    int64 activated = 0;
    EndedLeases ended = {};

    int64 count() const { return activated + ended.count(); }
    void add(const EndedLeases &more) {
        ended.available += more.available;
        ended.retried += more.retried;
        ended.failed += more.failed;
        ended.superseded += more.superseded;
    }
};

// What the transaction has done.
struct TransactionResult {
    Found found = {};
    Moved moved = {};
    int64 deleted = 0;      // FAILED jobs
    bool announces = false; // there are AVAILABLE jobs that may not have been announced
    bool in_commit = false; // all but the commit is done
};

// Does the assignment and fills `result`. Called in a transaction, with SPI connected. Raises what
// the table's triggers raise; then only `in_commit` of the result is valid.
void run_batch_transaction(WatchedQueue *queue, const Assignment &assignment,
                           TransactionResult *result);

} // namespace ecto_job
