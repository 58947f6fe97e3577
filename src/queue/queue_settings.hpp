// The settings of a queue: its row of ecto_job.queue_settings. SPI is connected.
#pragma once

#include <limits>
#include <optional>

#include "pg/pg.hpp"
#include "pg/row.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Reads a queue, without its plans. ERROR 42P01: no such table; 42809: not a queue.
void read_settings(Oid oid, Queue *queue);

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
    // Sets the keys that the object has; JSON null resets a key. A null pointer changes nothing
    const Jsonb *options;
};
// Changes the settings of a queue and returns its row of the registry. ERROR 42P01 if the queue was
// dropped just now.
Row change_settings(const Queue *queue, const NewSettings &settings);

// Returns whether claims return no jobs; functions/jobs asks before each claim. A queue that is
// paused by the cached settings is read again: resume_queue() announces the queue before the
// invalidation of the settings arrives.
bool is_paused(const Queue *queue);

// Keeps others from changing a queue's settings until the transaction ends.
void lock_settings(Oid queue);

// Pauses or resumes a queue. ERROR 42P01 if the queue was dropped just now.
void set_paused(const Queue *queue, bool paused);

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

} // namespace ecto_job
