// The registry, ecto_job.queue_settings and ecto_job.scheduler_state: which tables are queues, and
// whether the scheduler is enabled in this database.
//
// Everybody may read the registry; nobody but the extension's owner may write it. The functions
// that write act as the extension's owner for one statement of ours, after their caller has checked
// that the current role owns the table or database. SPI is connected.
#pragma once

#include <limits>
#include <optional>

#include "pg/pg.hpp"
#include "pg/row.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Reads a queue, without its plans. ERROR 42P01: no such table; 42809: not a queue.
void read_registry(Oid oid, Queue *queue);

bool is_registered(Oid oid);

// ERROR 0A000 if the extension, being older than the library, has native queues only.
void require_kinds();

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

struct IntervalSetting {
    const char *name; // of the registry's column
    int64 minimum_ms;
};
inline constexpr IntervalSetting interval_settings[] = {{"poll_interval", 1},
                                                        {"reservation_timeout", 1},
                                                        {"execution_timeout", 1},
                                                        {"retry_timeout", 0}};

struct NewSettings {
    const Interval *intervals[lengthof(interval_settings)]; // null pointer: as it is
    std::optional<int32> max_attempts;
};
// Changes the settings of a queue and returns its row of the registry. ERROR 42P01 if the queue was
// dropped just now.
Row change_settings(const Queue *queue, const NewSettings &settings);

// Returns the settings of a queue as a JSON object, without the queue's OID, which means nothing in
// another database; null: no such queue.
const char *settings_as_json(Oid table);

// Sets the settings that are in the JSON object; the others keep their defaults. A column counts as
// inserted_at or updated_at only if its type is a timestamp.
void set_settings(Oid table, const char *json);

// The longest interval that configure_queue() takes: ten years. A longer one, which version 0.2.0
// took and a dump may bring, stays in the registry and counts as ten years.
inline constexpr int64 longest_setting_ms = 3650 * INT64CONST(86'400'000);

// Returns an interval setting in whole milliseconds. ERROR 22023 for an interval with months, or
// outside of the limits in ms; the maximum is none or longest_setting_ms.
int64 interval_in_ms(const Interval *interval, const char *queue, const char *setting,
                     int64 minimum, int64 maximum = std::numeric_limits<int64>::max());

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
