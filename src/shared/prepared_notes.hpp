// Notes on what prepared transactions have done to queues. A note stays in shared memory until some
// session finishes the transaction.
//
// Every PREPARE TRANSACTION leaves a note, even an empty one. So a COMMIT PREPARED without a note
// belongs to a transaction from before a crash or a promotion, which may have done anything.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Returns the note of the transaction that is being prepared, made if there was none; null if all
// notes are in use. The caller holds the lock of the shared state exclusively. Cannot fail.
PreparedNote *make_prepared_note(const char *gid);

// Adds to the note. Cannot fail.
void add_change(PreparedNote *note, const Change &change);

// Returns whether the transaction may have done anything to the queue besides the note's changes.
bool may_have_changed(const PreparedNote &note, Oid queue);

// Takes the note of a finished transaction. Returns false if there was none.
bool take_prepared_note(const char *gid, PreparedNote *note);

} // namespace ecto_job
