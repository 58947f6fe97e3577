// A batch of a queue's sweep and, when nothing is left to move, the look-ahead, which finds when
// the next job is due and the next lease ends.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

enum class SweepResult : uint8_t {
    done,
    interrupted, // by a drop of the extension, or a request to leave: read the registry again
    must_exit,   // the queue's code has left too much in this session: the process is to end
};

// Does as much of the work as one batch may; the rest stays due. Skips the look-ahead if the
// scheduler in `slot` is asked to leave. Raises nothing: a failure is noted.
SweepResult sweep_queue(WatchedQueue *queue, const Work &work, Oid extension, int slot);

// Returns the owner of the queue that is being swept, or whose code has left too much in this
// session; else InvalidOid.
Oid owner_in_sweep();

} // namespace ecto_job
