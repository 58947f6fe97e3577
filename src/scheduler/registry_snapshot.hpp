// The registry's state in this database.
#pragma once

#include "pg/pg.hpp"
#include "scheduler/watched_queues.hpp"

namespace ecto_job {

enum class RegistryStatus : uint8_t {
    ready,              // the queues are to be swept
    no_queues,          // no table is a queue yet
    absent_or_disabled, // no extension, or disabled here or by ecto_job.databases
    copy,               // of another database: there are queues, which were not enabled here
    changing,           // the extension is being dropped, or created
    newer,              // the extension's SQL is newer than this library
};

struct RegistrySnapshot {
    RegistryStatus status = RegistryStatus::absent_or_disabled;
    Oid extension = InvalidOid;
};

// Reads the registry, and makes `queues` watch the queues that are listed. Logs why queues are not
// swept. `known_extension`: of the last snapshot. In a transaction, after outdate_queues().
RegistrySnapshot read_registry(Oid known_extension, WatchedQueues *queues);

// Locks the extension until the transaction's end. Returns false if the extension with this oid
// does not exist, or is being dropped.
bool lock_extension(Oid extension);

} // namespace ecto_job
