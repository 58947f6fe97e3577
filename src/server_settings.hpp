// The settings ecto_job.*: for the administrator, what the launcher and the schedulers may do; and
// for a session, whether its leases end with it.
//
// max_queues exists only where the library is preloaded, since it sizes shared memory. The values
// are read directly; a change arrives with the process's next reload. No lock.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job::settings {

extern bool enabled;
extern char *databases;
extern int max_queues;
extern int further_queues; // past max_queues; hidden, for tests of the limit
extern int sweep_timeout_ms;
extern int safety_interval_ms;
extern int log_min_duration_ms;
extern bool session_leases;
extern char *traceparent; // empty: none

// Defines the settings; `preloading`: also those that size shared memory.
void define(bool preloading);

// Returns whether ecto_job.databases names this database.
bool lists_database(const char *name);

} // namespace ecto_job::settings
