// The entries of owners. See owner_backoff.hpp.
#include "shared/owner_backoff.hpp"

namespace ecto_job {

namespace {

// Returns the owner's entry, which replaces the one whose last death is longest ago if needed.
OwnerBackoff *entry_for(Oid owner) {
    assert_locked_exclusively();
    OwnerBackoff *oldest = shared_state()->owner_backoffs;
    for (OwnerBackoff &entry : shared_state()->owner_backoffs) {
        if (entry.database == MyDatabaseId && entry.owner == owner)
            return &entry;
        if (entry.deaths.last < oldest->deaths.last)
            oldest = &entry;
    }
    *oldest = OwnerBackoff{MyDatabaseId, owner, {}};
    return oldest;
}

} // namespace

void back_off_owner(Oid owner) {
    const SharedLock lock(LW_EXCLUSIVE);
    OwnerBackoff *const entry = entry_for(owner);
    entry->deaths = one_more(entry->deaths, GetCurrentTimestamp());
}

int read_backed_off_owners(BackedOffOwner *waiting, TimestampTz now) {
    int count = 0;
    const SharedLock lock(LW_SHARED);
    for (const OwnerBackoff &entry : shared_state()->owner_backoffs) {
        if (entry.database != MyDatabaseId)
            continue;
        const TimestampTz until = wait_until(entry.deaths, now);
        if (until > now)
            waiting[count++] = {entry.owner, until};
    }
    return count;
}

} // namespace ecto_job
