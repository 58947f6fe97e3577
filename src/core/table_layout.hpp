// What differs between the tables of queues. Tables of create_queue() are alike; tables of
// EctoJob's migrations differ from them and, by version and options, from each other.
#pragma once

namespace ecto_job {

// The length of the column notify, in characters
inline constexpr int notify_characters = 255;

// The longest text of the column error, in bytes
inline constexpr int error_bytes = 8192;

// The default of the column max_attempts, EctoJob's
inline constexpr int default_max_attempts = 5;

struct TableLayout {
    bool in_play;  // our generated column, which our indexes need to be named; else state tells
    bool priority; // else every job has 0
    // Without a zone; the time is UTC
    bool utc_schedule;
    bool utc_expires;
    bool utc_inserted_at;
    bool utc_updated_at;
};

} // namespace ecto_job
