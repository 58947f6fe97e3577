// The notes of prepared transactions. See prepared_transactions.hpp.
#include "shared/prepared_transactions.hpp"

namespace ecto_job {

namespace {

char preparing[GIDSIZE]; // the transaction that this session is preparing; empty: none

PreparedNote *find_note(Oid database, const char *gid) {
    assert_locked_exclusively();
    for (int i = 0; i < segment()->prepared_count; i++) {
        PreparedNote &note = segment()->prepared[i];
        if (note.database == database && (!OidIsValid(database) || strcmp(note.gid, gid) == 0))
            return &note;
    }
    return nullptr;
}

// Of the transaction that is being prepared, made if there was none; null when all are taken
PreparedNote *my_note() {
    PreparedNote *note = find_note(MyDatabaseId, preparing);
    if (note == nullptr && (note = find_note(InvalidOid, "")) != nullptr) {
        *note = PreparedNote{};
        note->database = MyDatabaseId;
        strlcpy(note->gid, preparing, sizeof note->gid);
    }
    return note;
}

template <typename F> void with_my_note(F body) {
    if (preparing[0] == '\0')
        return;
    lock_segment(LW_EXCLUSIVE);
    if (PreparedNote *const note = my_note())
        body(note);
    unlock_segment();
}

// Called last of all callbacks, being the first that was registered
void at_transaction_end(XactEvent event, void *) {
    if (preparing[0] == '\0' ||
        (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
        return;
    if (event == XACT_EVENT_PREPARE)
        with_my_note([](PreparedNote *) {});
    preparing[0] = '\0';
}

} // namespace

void watch_prepared() {
    RegisterXactCallback(at_transaction_end, nullptr);
}

void begin_prepare(const char *gid) {
    strlcpy(preparing, gid, sizeof preparing);
}

void add_to_prepared(const Change &change) {
    with_my_note([&](PreparedNote *note) {
        if (note->count < max_prepared_changes)
            note->changes[note->count++] = change;
        else
            note->overflow = true;
    });
}

void add_wake_to_prepared() {
    with_my_note([](PreparedNote *note) { note->wakes = true; });
}

bool take_prepared(const char *gid, PreparedNote *note) {
    lock_segment(LW_EXCLUSIVE);
    PreparedNote *const found = find_note(MyDatabaseId, gid);
    if (found != nullptr) {
        *note = *found;
        found->database = InvalidOid;
    }
    unlock_segment();
    return found != nullptr;
}

} // namespace ecto_job
