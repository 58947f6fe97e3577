// Rows of ecto_job.job, from what a transition returned.
#pragma once

#include "pg/boundary.hpp"

namespace ecto_job {

// Before SPI_connect: the caller wants a set, and gets it whole.
void prepare_jobs(FunctionCallInfo fcinfo);

// Every row in SPI_tuptable becomes a row of the result, in the queue's order. Attributes are found
// by name, so that a newer library serves an older ecto_job.job: what one side lacks is left out or
// null.
void return_jobs(FunctionCallInfo fcinfo);

} // namespace ecto_job
