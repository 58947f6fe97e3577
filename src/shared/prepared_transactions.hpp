// What prepared transactions have done to queues, kept until they are finished, in whatever
// session.
//
// Every PREPARE TRANSACTION leaves a note, an empty one too: so a COMMIT PREPARED without a note is
// of a transaction that was prepared before a crash or a promotion, and may have done anything. The
// end of a transaction does not say its identifier, so the command's hook passes it on.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// Registers the callback that leaves the notes; while the library is preloaded.
void watch_prepared();

// By the hook, before PREPARE TRANSACTION.
void begin_prepare(const char *gid);

// While the transaction is being prepared, where nothing may fail.
void add_to_prepared(const Change &change);
void add_wake_to_prepared();

// By the hook, after COMMIT or ROLLBACK PREPARED: the note, which is removed. False: there was
// none.
bool take_prepared(const char *gid, PreparedNote *note);

} // namespace ecto_job
