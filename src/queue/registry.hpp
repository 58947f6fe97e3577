// The registry, ecto_job.queue_settings and ecto_job.scheduler_state: which tables are queues, and
// whether the scheduler is enabled in this database. queue_settings.hpp reads and changes the
// settings of one queue.
//
// Everybody may read the registry; nobody but the extension's owner may write it. The functions
// that write act as the extension's owner for one statement of ours, after their caller has checked
// that the current role owns the table or database. SPI is connected.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Returns whether the table is a queue. If so, its settings are SPI's only row.
bool is_registered(Oid table);

// Runs a query about a queue, $1, on the registry as it is now, and returns whether there is a row.
// `plan`: a static variable, for the saved plan.
bool read_latest(SPIPlanPtr *plan, const char *text, Oid queue);

// The parameters of a statement on the registry
struct RegistryValues {
    int count = 0;
    Oid types[7] = {};
    Datum values[7] = {};
    char nulls[7] = {};

    RegistryValues &add(Oid type, Datum value, bool is_null = false) {
        Assert(count < static_cast<int>(lengthof(types)));
        types[count] = type;
        values[count] = value;
        nulls[count++] = is_null ? 'n' : ' ';
        return *this;
    }
};
// Runs a statement of ours that writes the registry, as the extension's owner.
void write_registry(const char *text, RegistryValues given = {});

// ERROR 0A000 if the extension, being older than the library, has native queues only.
void require_queue_kinds();

// Returns whether the extension has paused queues and the options of queues: it is of version 0.3.0
// or later.
bool has_paused_and_options();

// ERROR 42501 unless the current role owns the table.
void require_owner(Oid table);

struct Registration {
    Oid table;
    QueueKind kind;
    bool binary;
    const char *inserted_at; // the columns' names; null pointers: no such column
    const char *updated_at;
    int32 max_attempts;
};
// Makes a table of the caller's a queue, with EctoJob's default settings. A table that is a queue
// already keeps its settings.
void register_queue(const Registration &registration);

// Makes a table a queue with EctoJob's default settings, which set_settings() may change.
void register_with_defaults(Oid table);

// Makes the table a queue no longer.
void unregister_queue(Oid table);

// Removes the tables that a command has dropped. For the event trigger sql_drop.
void unregister_dropped_queues();

// Records that this database was restored and waits for enable(), unless a record exists. Does
// nothing if neither the current role nor the role that logged in may call enable(): such a role
// has restored its own tables and no database.
void record_restore();

// Records whether this database runs its queues.
void record_enabled(bool enabled);

// For the scheduler, in its transaction:

// Returns the extension's version; null if the transaction's snapshot does not show the extension.
const char *extension_version(Oid extension);

// The record of this database in ecto_job.scheduler_state
enum class DatabaseRecord {
    none, // it is a copy, or was restored
    enabled,
    disabled,
};
DatabaseRecord read_database_record();

struct RegisteredQueue {
    Oid oid;
    Oid owner;
};
struct RegisteredQueues {
    uint64 count;
    RegisteredQueue *queues; // palloced
};
// Returns all queues. Removes tables that were dropped while the event trigger did not fire.
RegisteredQueues read_registered_queues();

} // namespace ecto_job
