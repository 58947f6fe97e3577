// The jobs that this process skips in its claims and sweeps, because their change fails or a
// trigger undoes it.
//
// Each job is tried again after a while, and when the definition of the table has changed. The list
// is in the process's own memory, with room for 256 jobs of a queue; one more replaces the job that
// would be tried again first.
#pragma once

#include "core/key.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

constexpr int most_skipped = 256;

// Returns the number of a queue's jobs that are skipped.
int skipped_count(Oid queue);

// Writes the ids of these jobs into an array with room for most_skipped. Returns their number.
int skipped_ids(Oid queue, Datum *ids);

// The walks through a queue's jobs, each in an order of its own
enum class Walk { claims, leases, orphans, scheduled };
constexpr int walks = 4;

// Returns where a walk begins: behind this key if an earlier pass has ended there after
// most_skipped jobs at fault; null: at the start. Among scheduled jobs the key's priority means
// nothing.
const JobKey *walk_start(Oid queue, Walk walk);
// Makes walks begin behind the key for a time.
void set_walk_start(Oid queue, Walk walk, const JobKey &key, int64 for_ms);
// Makes walks begin at the start again.
void reset_walk_start(Oid queue, Walk walk);

// Skips a job for a time. Returns false if the job was skipped already, and so has been
// reported.
bool skip_job(Oid queue, int64 id, int64 for_ms);

} // namespace ecto_job
