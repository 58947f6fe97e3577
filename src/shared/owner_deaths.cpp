// The entries of owners. See owner_deaths.hpp.
#include "shared/owner_deaths.hpp"

namespace ecto_job {

namespace {

// Returns the owner's entry, or the one whose last death is longest ago
OwnerDeaths *entry_for(Oid owner) {
    assert_locked_exclusively();
    OwnerDeaths *oldest = shared_state()->owner_deaths;
    for (OwnerDeaths &entry : shared_state()->owner_deaths) {
        if (entry.database == MyDatabaseId && entry.owner == owner)
            return &entry;
        if (entry.deaths.last < oldest->deaths.last)
            oldest = &entry;
    }
    *oldest = OwnerDeaths{MyDatabaseId, owner, {}};
    return oldest;
}

} // namespace

void note_owners_death(Oid owner) {
    const SharedLock lock(LW_EXCLUSIVE);
    OwnerDeaths *const entry = entry_for(owner);
    entry->deaths = one_more(entry->deaths, GetCurrentTimestamp());
}

int read_waiting_owners(WaitingOwner *waiting, TimestampTz now) {
    int count = 0;
    const SharedLock lock(LW_SHARED);
    for (const OwnerDeaths &entry : shared_state()->owner_deaths) {
        if (entry.database != MyDatabaseId)
            continue;
        const TimestampTz until = wait_until(entry.deaths, now);
        if (until > now)
            waiting[count++] = {entry.owner, until};
    }
    return count;
}

} // namespace ecto_job
