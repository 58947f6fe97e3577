// Time limits of the scheduler's transactions. PostgreSQL's statement_timeout and lock_timeout
// cannot serve, since they signal by SIGINT, which the scheduler ignores.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers the timeouts; once in a process.
void prepare_limits();

// Has the running transaction cancelled after this time.
void limit_time(int ms);

// Has the process terminated after this time: a trigger may catch a cancellation, but not this.
void limit_process(int ms);

// Lifts both limits. Called after each transaction.
void lift_limits();

// Returns whether the last transaction with a limit was cancelled by the limit.
bool was_over_limit();

} // namespace ecto_job
