// The notes of prepared transactions. See prepared_notes.hpp.
#include "shared/prepared_notes.hpp"

#include <utility>

namespace ecto_job {

namespace {

PreparedNote *find_note(Oid database, const char *gid) {
    assert_locked_exclusively();
    for (PreparedNote &note : shared_state()->prepared)
        if (note.database == database && strcmp(note.gid, gid) == 0)
            return &note;
    return nullptr;
}

uint32 bit_of(Oid queue) {
    return murmurhash32(queue) % prepared_bits;
}

} // namespace

PreparedNote *make_prepared_note(const char *gid) {
    Assert(gid[0] != '\0');
    if (PreparedNote *const known = find_note(MyDatabaseId, gid))
        return known;
    PreparedNote *const note = find_note(InvalidOid, ""); // a free one
    if (note != nullptr) {
        note->database = MyDatabaseId;
        strlcpy(note->gid, gid, sizeof note->gid);
    }
    return note;
}

void add_change(PreparedNote *note, const Change &change) {
    assert_locked_exclusively();
    if (note->count < max_prepared_changes)
        note->changes[note->count++] = change;
    else
        note->further[bit_of(change.queue)] = true;
}

bool may_have_changed(const PreparedNote &note, Oid queue) {
    return note.further[bit_of(queue)];
}

bool take_prepared_note(const char *gid, PreparedNote *note) {
    const SharedLock lock(LW_EXCLUSIVE);
    PreparedNote *const found = find_note(MyDatabaseId, gid);
    if (found != nullptr)
        *note = std::exchange(*found, PreparedNote{});
    return found != nullptr;
}

} // namespace ecto_job
