// The options of a queue: the keys of the JSON object in the column `options` of the registry. A
// key that is missing or null has its default.
#pragma once

#include <optional>

#include "core/retry_delay.hpp"
#include "pg/pg.hpp"
#include "queue/parameters.hpp"

namespace ecto_job {

struct QueueOptions {
    RetryDelay retry;
    std::optional<int64> failed_retention_ms; // nullopt: FAILED jobs are kept for ever
};

// Returns the options. Never raises an ERROR for what the object says: a key that this version does
// not know, or a value that it does not take, counts as missing. Null: no options.
QueueOptions read_options(const Jsonb *options);

// ERROR 22023 for an object with a key that does not exist or with a value that its key does not
// take, and for what is no object.
void check_options(const Jsonb *options, const char *queue);

// Adds to the arguments of a statement what the queue's options say about the time of a retry.
// Does nothing without such options. `now` is an argument already.
void add_retry_delay(const RetryDelay &delay, Arguments *arguments);

} // namespace ecto_job
