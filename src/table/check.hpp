// The check whether a table can be a queue, and what the table lacks. The table may be made by
// EctoJob's migrations of any version, with any options.
#pragma once

#include <optional>

#include "pg/pg.hpp"

namespace ecto_job {

// Returns why the table can be no queue, whatever its columns are; null if there is no reason.
const char *fault_of_table(Relation table);

// Returns the name of a column that the table lacks and every queue has, or has with another type;
// null if there is none. Constraints may be missing, since a restore makes them last.
const char *missing_column(Relation table);

// What somebody said about the columns that keep the times of a job: a name, a null pointer for no
// such column, or nothing
struct TimestampNames {
    std::optional<const char *> inserted_at;
    std::optional<const char *> updated_at;
};

struct TableCheck {
    const char *misfits; // what must be changed before it can be a queue, a line each; may be empty
    const char *lacks; // what ALTER TABLE has to do, its actions separated by commas; may be empty
    bool binary;       // params are bytea
    const char *inserted_at; // a null pointer: no such column
    const char *updated_at;
    bool utc_schedule;
    bool has_priority;
    bool has_index;             // in the order of the queue
    bool state_statistics_vary; // they are not those that ddl.hpp fixes
    int32 max_attempts;         // by the column's default
};
// The caller holds a lock on the table.
TableCheck check_table(Relation table, const TimestampNames &given);

} // namespace ecto_job
