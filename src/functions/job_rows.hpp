// Rows of ecto_job.job, from what a transition returned.
#pragma once

#include "pg/boundary.hpp"

namespace ecto_job {

// Adds each row in SPI_tuptable to the result of a function, in the queue's order. Attributes are
// found by name, so that a newer library serves an older ecto_job.job: a column that one side lacks
// is omitted or null. The function has called InitMaterializedSRF before SPI_connect. ERROR 42804
// if the table's owner has given a column another type.
void return_jobs(FunctionCallInfo fcinfo);

} // namespace ecto_job
