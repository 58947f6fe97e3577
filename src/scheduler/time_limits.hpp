// Time limits of what the scheduler does. SIGINT is ignored in its process, so that PostgreSQL's
// own statement_timeout and lock_timeout cannot fire there.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers the timeouts; once in a process.
void prepare_limits();

// After this time the running transaction is cancelled.
void limit_time(int ms);

// After this time the process is terminated: a trigger may catch a cancellation, but not this.
void limit_process(int ms);

// No limit any more. Called after each transaction, whatever became of it.
void lift_limits();

// True if the last transaction that was limited has been cancelled by its limit.
bool was_over_limit();

} // namespace ecto_job
