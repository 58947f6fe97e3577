// What a failed sweep comes to: its queue waits, longer each time, the view ecto_job.queues says
// why, and the server's log has one line for the first failure of its kind.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// The sweep's transaction has failed; `in_commit`: its commit, and not the sweep itself.
void note_failure(WatchedQueue *queue, const ErrorData *error, bool in_commit);

// A former scheduler died of the queue's sweep.
void note_death(WatchedQueue *queue);

// The queue's code has left more in this session than is harmless.
void note_excess(WatchedQueue *queue, Excess excess);

} // namespace ecto_job
