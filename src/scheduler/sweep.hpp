// One batch of a queue's sweep, and what follows from its result: the batch is repeated to isolate
// a row at fault, the look-ahead finds when the next job is due and the next lease ends, and the
// agenda, the status and the log show how the batch went.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// What the scheduler does after a batch.
enum class AfterBatch : uint8_t {
    go_on,
    extension_going, // being dropped: read the registry
    end_process,     // the queue's code has left too much in this session; the owner backs off
};

// Does as much of the work as one batch may; the rest stays due. After moving the last job, looks
// ahead in a transaction of its own, unless the scheduler in `slot` is asked to leave. Raises
// nothing: a failure goes to the agenda, the status and the log.
AfterBatch sweep_batch(WatchedQueue *queue, const Work &work, Oid extension, int slot);

// Returns the owner of the queue whose batch is running or has returned AfterBatch::end_process;
// InvalidOid: there is no such queue. At the process's exit, that owner backs off (process.cpp).
Oid owner_in_sweep();

} // namespace ecto_job
