// What the registry says of this database, read in a transaction of its own.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

enum class RegistryStatus : uint8_t {
    queues,      // there is work here
    no_queues,   // the first one may come
    nothing,     // no extension, or disabled
    not_enabled, // queues, but nobody said that they run in this database: a copy
    changing,    // the extension is being dropped, or created
    newer,       // the extension's SQL is newer than this library
};

struct RegistrySnapshot {
    RegistryStatus status = RegistryStatus::nothing;
    Oid extension = InvalidOid;
    char version[64] = ""; // of the extension, if there is one
    char database[NAMEDATALEN] = "";
};

// Reads the registry, and has `queues` watch those that it lists. `known_extension` is what the
// last snapshot had. In a transaction.
RegistrySnapshot read_registry(Oid known_extension, WatchedQueues *queues);

// Returns whether the extension is there, the same one, and not being dropped. Locks it until the
// transaction's end.
bool lock_extension(Oid extension);

} // namespace ecto_job
