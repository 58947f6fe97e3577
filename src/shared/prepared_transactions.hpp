// What prepared transactions have done to queues, kept until they are finished, in whatever
// session.
//
// Every PREPARE TRANSACTION leaves a note, an empty one too: so a COMMIT PREPARED without a note is
// of a transaction that was prepared before a crash or a promotion, and may have done anything.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Returns the note of the transaction that is being prepared, made if there was none; null when all
// are taken. Called under the lock, held exclusively. Cannot fail.
PreparedNote *make_prepared_note(const char *gid);

// Adds to the note. Cannot fail.
void add_change(PreparedNote *note, const Change &change);

// Returns whether the transaction may have done anything to the queue besides the note's changes.
bool may_have_changed(const PreparedNote &note, Oid queue);

// Takes away the note of a transaction that was finished. Returns false if there was none.
bool take_prepared_note(const char *gid, PreparedNote *note);

} // namespace ecto_job
