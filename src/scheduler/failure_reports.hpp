// The failure of a sweep: the queue backs off, the view ecto_job.queues says why, and the server's
// log has one line for the first failure of its kind.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

// Records that a transaction of a sweep has failed; `in_commit`: in its commit.
void record_failure(WatchedQueue *queue, const ErrorData *error, bool in_commit);

// Records that a former scheduler ended in a sweep of the queue.
void record_death(WatchedQueue *queue);

// Records that the queue's code has left more in this session than is harmless.
void record_excess(WatchedQueue *queue, Excess excess);

} // namespace ecto_job
