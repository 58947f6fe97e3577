// timestamps_opts, as EctoJob's migrations take them: which columns keep the times of a job.
#pragma once

#include "pg/boundary.hpp"
#include "table/check.hpp"

namespace ecto_job {

struct TimestampsOpts {
    TimestampNames names;
    bool whole_seconds;
};

// Returns the columns and the precision; ERROR 22023 names the queue's `table` and the option.
TimestampsOpts timestamps_opts_argument(FunctionCallInfo fcinfo, int at, const char *table);

} // namespace ecto_job
