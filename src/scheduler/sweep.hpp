// One queue's sweep: a batch of what is due, and a look ahead when there is no more to move, which
// says when the next job is due and the next lease ends.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

enum class SweepResult : uint8_t {
    done,
    interrupted, // by the drop of the extension, or a request to leave: read the registry again
    must_exit,   // the queue's code has left too much in this session: the process is to end
};

// Does this work, as much as one batch may move; what is left stays due. Between its transactions a
// request to the scheduler in `slot` to leave is seen. Raises nothing: a sweep that fails is noted.
SweepResult sweep_queue(WatchedQueue *queue, const Work &work, Oid extension, int slot);

// Returns the owner of the queue that is being swept, or in whose sweep the session was spoilt;
// else InvalidOid.
Oid owner_in_sweep();

} // namespace ecto_job
