// timestamps_opts, as EctoJob's migrations take them: which columns keep the times of a job.
#pragma once

#include <optional>

#include "pg/boundary.hpp"

namespace ecto_job {

struct TimestampsOpts {
    // Of a column: its name, a null pointer for no such column, or nothing was said
    std::optional<const char *> inserted_at;
    std::optional<const char *> updated_at;
    bool whole_seconds;
};

// ERROR 22023 names the queue's `table`, the option and what it may be.
TimestampsOpts timestamps_opts_argument(FunctionCallInfo fcinfo, int at, const char *table);

} // namespace ecto_job
