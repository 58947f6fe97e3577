// The jobs that this process leaves out of its claims and sweeps, because what they do to a job
// fails or is undone by a trigger.
//
// Each is tried again after a while, and when the definition of the table has changed. Kept in the
// process's own memory: 256 jobs a queue, of which the one that was left out first goes when there
// is one more.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

constexpr int most_left_out = 256;

int left_out_count(Oid queue);

// Their ids, in an array with room for most_left_out; returns the number.
int left_out_ids(Oid queue, Datum *ids);

// False if it was known already, and so has been told of.
bool leave_out(Oid queue, int64 id, int64 for_ms);

} // namespace ecto_job
