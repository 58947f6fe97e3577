// Notes and the callbacks that tell them. See changes.hpp.
//
// The notes live in the transaction's own memory. Those of a subtransaction are freed at its end,
// since there may be very many. The callbacks at commit and abort can fail in nothing: they take
// locks, set flags and latches.
#include "queue/changes.hpp"

#include <algorithm>

#include "pg/boundary.hpp"
#include "pg/names.hpp"
#include "queue/notifications.hpp"
#include "shared/mailbox.hpp"
#include "shared/prepared_transactions.hpp"
#include "shared/sessions.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

namespace {

struct Note {
    Change change;
    SubTransactionId made_in;
    bool sent; // this transaction notifies
    Note *next;
};

Note *notes = nullptr; // in TopTransactionContext; the latest first

void merge(Change *into, const Change &change) {
    into->available = into->available || change.available;
    if (change.lowers)
        into->lowest = into->lowers ? std::min(into->lowest, change.lowest) : change.lowest;
    into->lowers = into->lowers || change.lowers;
    into->due = std::min(into->due, change.due);
    into->expiry = std::min(into->expiry, change.expiry);
    into->leased_to = std::max(into->leased_to, change.leased_to);
}

Note *find_note(Oid queue, SubTransactionId made_in) {
    for (Note *note = notes; note != nullptr; note = note->next)
        if (note->change.queue == queue && note->made_in == made_in)
            return note;
    return nullptr;
}

void notify(const Change &change) {
    const char *const table = table_name_or_null(change.queue);
    if (table != nullptr)
        send_notice(change.queue, table, Notice::available, "");
}

// While something can still fail. A scheduler that goes after this leaves the ring to the next.
void decide_who_notifies() {
    for (Note *note = notes; note != nullptr; note = note->next)
        if (note->change.available && !note->sent && !is_served(note->change.queue)) {
            notify(note->change);
            note->sent = true;
        }
}

void tell_scheduler() {
    for (Note *note = notes; note != nullptr; note = note->next) {
        note->change.available = note->change.available && !note->sent;
        report(note->change);
    }
}

void leave_to_prepared() {
    for (const Note *note = notes; note != nullptr; note = note->next)
        add_to_prepared(note->change);
}

void at_transaction_end(XactEvent event, void *) {
    if (notes == nullptr)
        return;
    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
        at_boundary([] { decide_who_notifies(); });
        return;
    case XACT_EVENT_PRE_PREPARE:
        // Without shared memory nobody could tell it later; PostgreSQL then refuses to prepare
        if (segment() == nullptr)
            at_boundary([] { decide_who_notifies(); });
        return;
    case XACT_EVENT_COMMIT:
        tell_scheduler();
        break;
    case XACT_EVENT_PREPARE:
        leave_to_prepared();
        break;
    case XACT_EVENT_ABORT:
        break;
    default: // a parallel worker writes nothing
        return;
    }
    notes = nullptr;
}

void free_note(Note **link) {
    Note *const note = *link;
    *link = note->next;
    pfree(note);
}

void forget_those_of(SubTransactionId subtransaction) {
    for (Note **link = &notes; *link != nullptr;)
        if ((*link)->made_in == subtransaction)
            free_note(link);
        else
            link = &(*link)->next;
}

void give_those_of(SubTransactionId subtransaction, SubTransactionId parent) {
    for (Note **link = &notes; *link != nullptr;) {
        Note *const note = *link;
        Note *const parents =
            note->made_in == subtransaction ? find_note(note->change.queue, parent) : nullptr;
        if (parents != nullptr) {
            merge(&parents->change, note->change);
            free_note(link);
            continue;
        }
        if (note->made_in == subtransaction)
            note->made_in = parent;
        link = &note->next;
    }
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId subtransaction,
                           SubTransactionId parent, void *) {
    if (event == SUBXACT_EVENT_COMMIT_SUB)
        give_those_of(subtransaction, parent);
    else if (event == SUBXACT_EVENT_ABORT_SUB)
        forget_those_of(subtransaction);
}

void watch_transactions() {
    static bool watching = false;
    if (watching)
        return;
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
    watching = true;
}

void note(const Change &change) {
    const SubTransactionId here = GetCurrentSubTransactionId();
    // A statement of many rows finds its note first
    Note *found = find_note(change.queue, here);
    if (found == nullptr) {
        watch_transactions();
        found = static_cast<Note *>(MemoryContextAlloc(TopTransactionContext, sizeof(Note)));
        *found = Note{Change{.queue = change.queue}, here, false, notes};
        notes = found;
    }
    merge(&found->change, change);
}

} // namespace

void note_available(Oid queue, const JobKey &key, bool rings) {
    note({.queue = queue, .available = rings, .lowers = true, .lowest = key});
}

void note_due(Oid queue, TimestampTz schedule) {
    note({.queue = queue, .due = schedule});
}

void note_lease(Oid queue, const JobKey &key, TimestampTz expires) {
    note({.queue = queue, .expiry = expires, .leased_to = key});
}

void tell_prepared(const char *gid) {
    PreparedNote prepared{};
    const bool found = take_prepared(gid, &prepared);
    if (!found || prepared.overflow)
        report_all();
    if (prepared.wakes)
        call_scheduler();
    // What cannot fail comes first: the transaction is committed, whatever becomes of its notices
    bool unanswered[max_prepared_changes];
    for (int i = 0; i < prepared.count; i++) {
        Change change = prepared.changes[i];
        unanswered[i] = change.available && !is_served(change.queue);
        change.available = change.available && !unanswered[i];
        report(change);
        // Which session has started these is not known, nor whether it is still there
        if (change.expiry != DT_NOEND)
            report_orphans(change.queue, highest_key);
    }
    for (int i = 0; i < prepared.count; i++)
        if (unanswered[i])
            notify(prepared.changes[i]);
}

} // namespace ecto_job
