// The changes of a prepared transaction: its note is left in shared memory by PREPARE TRANSACTION
// (shared/prepared_notes.hpp), and reported by COMMIT PREPARED, in whatever session.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Keeps the identifier for leave_prepared_note(). Called before PREPARE TRANSACTION, since the
// callbacks at its end do not receive the identifier.
void begin_prepare(const char *gid);

// Reports what a prepared transaction has done. Called when COMMIT PREPARED has committed it, still
// in the transaction of that command.
void report_prepared(const char *gid);

// Drops the note of a prepared transaction, and wakes sessions for the jobs that it had claimed.
// Called when ROLLBACK PREPARED has rolled it back.
void drop_prepared(const char *gid);

// For the end of the transaction: see transaction_end.cpp. Cannot fail.

// Leaves the note of the transaction that is being prepared; `signals`: COMMIT PREPARED is to
// signal the scheduler. An empty note is left too (shared/prepared_notes.hpp says why). If
// all notes are taken, COMMIT PREPARED finds none and reports that anything may have happened.
void leave_prepared_note(bool signals);
void end_prepare();

} // namespace ecto_job
