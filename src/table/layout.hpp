// What one queue's table has and another's has not: ours are all alike, but those that EctoJob's
// migrations made differ from ours and, by version and options, from each other.
//
// Read from the catalog with the rest of the queue and forgotten with it when the table changes, so
// that an application's own migration (which may add the column priority) needs no word to us.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

struct Shape {
    bool in_play;  // our generated column, which our indexes need to be named; else state tells
    bool priority; // else every job has 0
    // Without a zone; the time is UTC
    bool utc_schedule;
    bool utc_expires;
    bool utc_inserted_at;
    bool utc_updated_at;
};

// `inserted_at` and `updated_at` are the names of these columns, empty for none. The caller holds a
// lock on the table, or reads again when he has it.
Shape read_shape(Oid table, const NameData &inserted_at, const NameData &updated_at);

} // namespace ecto_job
