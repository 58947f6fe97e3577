// Acting as the owner of a table, in a security-restricted operation.
//
// A sweep runs the table's triggers, index expressions, domain checks and policies, which are its
// owner's code. With the scheduler's own rights, a superuser's, that code could do anything. The
// restricted operation also keeps it from changing the session: roles, settings, temporary tables,
// prepared statements, deferred triggers.
//
// After an ERROR the abort restores user and settings, so there is no destructor. `swept` and
// `sweeper` (owner.cpp) keep their values until the next sweep, without harm. The caller holds a
// lock on the table, so that its owner cannot change.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// The search_path of code that runs with another role's rights: of a sweep, and of the scheduler's
// session.
inline constexpr const char *safe_search_path = "pg_catalog, pg_temp";

struct FormerSelf {
    Oid user;
    int context;
    int settings_level;
};

// Switches to the owner. Deferred constraint triggers become immediate before, since at COMMIT they
// would run with the scheduler's rights.
FormerSelf become_owner(Oid owner, Oid table);

// Switches back.
void become_self(const FormerSelf &self);

// Returns whether the table is being swept as its owner. The table's policies do not hide jobs from
// a sweep, even with FORCE ROW LEVEL SECURITY, since a hidden job would never be due. PostgreSQL's
// flag for that would also hold for everything that code of the owner reads, even through functions
// of other owners. So the flag is set only while a statement is parsed, when no such code runs
// (queue/plans).
bool sees_all_jobs(Oid table);

} // namespace ecto_job
