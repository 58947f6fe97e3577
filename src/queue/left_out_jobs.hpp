// The jobs that this process leaves out of its claims and sweeps, because what they do to a job
// fails or is undone by a trigger.
//
// Each is tried again after a while, and when the definition of the table has changed. Kept in the
// process's own memory: 256 jobs a queue, of which the one that was left out first goes when there
// is one more.
#pragma once

#include "core/key.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

constexpr int most_left_out = 256;

int left_out_count(Oid queue);

// Their ids, in an array with room for most_left_out; returns the number.
int left_out_ids(Oid queue, Datum *ids);

// What picks jobs of a queue in an order of its own
enum class Walk { claims, leases, orphans, scheduled };
constexpr int walks = 4;

// Behind which job a walk begins for now, since it has met too many at fault in front of that one;
// null: at its start. The key's priority means nothing where jobs are SCHEDULED.
const JobKey *begins_behind(Oid queue, Walk walk);
void begin_behind(Oid queue, Walk walk, const JobKey &key, int64 for_ms);
void begin_at_start(Oid queue, Walk walk);

// False if it was known already, and so has been told of.
bool leave_out(Oid queue, int64 id, int64 for_ms);

} // namespace ecto_job
