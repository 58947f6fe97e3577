// The note of a prepared transaction, and what the commands that finish it do with the note. See
// prepared_changes.hpp.
#include "queue/prepared_changes.hpp"

#include "queue/notifications.hpp"
#include "queue/pending_changes.hpp"
#include "shared/mailbox.hpp"
#include "shared/prepared_notes.hpp"
#include "shared/scheduler_signals.hpp"
#include "shared/session_leases.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {

namespace {

char preparing[GIDSIZE]; // the transaction that this session is preparing; empty: none

} // namespace

void begin_prepare(const char *gid) {
    strlcpy(preparing, gid, sizeof preparing);
}

void end_prepare() {
    preparing[0] = '\0';
}

void leave_prepared_note(bool signals) {
    if (preparing[0] == '\0' || shared_state() == nullptr)
        return;
    const SharedLock lock(LW_EXCLUSIVE);
    PreparedNote *const note = make_prepared_note(preparing);
    if (note == nullptr)
        return;
    note->signals = note->signals || signals;
    add_changes_to(note);
}

void report_prepared(const char *gid) {
    Assert(shared_state() != nullptr);
    PreparedNote prepared{};
    const bool found = take_prepared_note(gid, &prepared);
    // No note, or more queues than a note holds: anything may have happened there
    if (!found || prepared.further.any())
        report_unknown_changes(found ? &prepared : nullptr);
    if (prepared.signals)
        signal_scheduler(Start::yes);
    // First all reports; NOTIFY last, since it may fail, and the transaction is committed already
    bool unserved[max_prepared_changes];
    for (int i = 0; i < prepared.count; i++) {
        Change change = prepared.changes[i];
        unserved[i] = change.available && !is_served(change.queue);
        change.available = change.available && !unserved[i];
        // Started jobs are treated as orphaned, since nobody knows which session has started them
        if (change.report.expiry != DT_NOEND)
            change.report.orphaned_up_to = highest_key;
        report(change);
    }
    for (int i = 0; i < prepared.count; i++)
        if (unserved[i])
            notify_available(prepared.changes[i].queue);
}

void drop_prepared(const char *gid) {
    PreparedNote undone{};
    // No note, or more queues than a note holds: jobs of any queue may have been claimed
    if (!take_prepared_note(gid, &undone) || undone.further.any())
        wake_all();
    for (int i = 0; i < undone.count; i++)
        wake(undone.changes[i].queue, undone.changes[i].claimed);
}

} // namespace ecto_job
