// To act as the owner of a table, in a security-restricted operation.
//
// A sweep runs the table's triggers, index expressions, domain checks and policies, which are its
// owner's code. With the scheduler's own rights, a superuser's, that code could do anything. The
// restricted operation also keeps it from changing the session: roles, settings, temporary tables,
// prepared statements, deferred triggers.
//
// There is no destructor: an ERROR puts user and settings back at abort. The caller holds a lock on
// the table, so that the owner is the present one.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

struct FormerSelf {
    Oid user;
    int context;
    int settings_level;
};

// Deferred constraint triggers become immediate first: at COMMIT they would run with our rights.
FormerSelf become_owner(Oid owner, Oid table);

void become_self(const FormerSelf &self);

// Returns whether this is a sweep of the table as its owner. Its policies do not hide jobs from
// that, even with FORCE ROW LEVEL SECURITY: jobs that they hide would never be due. The flag for it
// would hold for whatever code of the owner reads, too, through functions of other owners as well;
// so it is set only where statements are parsed, which runs no code of theirs (queue/plans).
bool sees_all_jobs(Oid table);

} // namespace ecto_job
