// ecto_job.queue_settings and ecto_job.scheduler_state: who is a queue, and does this database run.
//
// Everybody may read the registry; nobody but the extension's owner may write it. The functions
// here act as that owner for one statement of ours, after their caller has proved that the table is
// his.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Fills all but the plans. ERROR 42P01: no such table; 42809: not a queue.
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
// Makes a table of the caller's a queue, with EctoJob's default settings. One that is a queue
// already keeps its settings.
void register_queue(const Registration &registration);

// The table is a queue no longer.
void unregister_queue(Oid table);

// Records that this database was restored and waits for enable(), unless it is known whether it
// runs. Whoever may not call enable(), nor became the current role from one who may, has restored
// tables of his own and no database.
void record_restore();

// Runs one statement of ours as the owner of the extension. SPI is connected; result of SPI.
int write_registry(const char *text, int count, Oid *types, Datum *values, const char *nulls);

struct IntervalSetting {
    const char *name; // of the registry's column
    int64 minimum_ms;
};
inline constexpr IntervalSetting interval_settings[] = {{"poll_interval", 1},
                                                        {"reservation_timeout", 1},
                                                        {"execution_timeout", 1},
                                                        {"retry_timeout", 0}};

// The longest interval that configure_queue() takes: ten years. Longer ones, which version 0.2.0
// took and a dump may bring, stay in the registry and count as this.
inline constexpr int64 longest_setting_ms = 3650 * INT64CONST(86'400'000);

// Checks a value for configure_queue(). ERROR 22023, whose HINT names the limits.
void require_within_limits(const Interval *interval, const char *queue,
                           const IntervalSetting &setting);

// An interval setting in whole milliseconds. ERROR 22023 names `setting` and the value, when it has
// months, or lies below `minimum` ms.
int64 interval_in_ms(const Interval *interval, const char *queue, const char *setting,
                     int64 minimum);

// For the scheduler, in its transaction:

// Returns the extension's version; null if the transaction's snapshot does not show the extension.
const char *extension_version(Oid extension);

// What is recorded of this database.
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
// Returns all queues. Takes tables out of the registry that were dropped while the event trigger
// could not see it.
RegisteredQueues read_registered_queues();

} // namespace ecto_job
