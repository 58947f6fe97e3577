// The check whether a table can be a queue, and what the table lacks. Any version of EctoJob's
// migrations, with any options, may have made the table.
#pragma once

#include <optional>

#include "pg/pg.hpp"

namespace ecto_job {

// Returns why the table cannot be a queue, whatever its columns; null if there is no reason.
const char *fault_of_table(Relation table);

// Returns the name of a column of every queue that the table lacks, or has with another type; null
// if there is none. Constraints may be missing, since a restore makes them last.
const char *missing_column(Relation table);

// The columns that a queue has beside those of EctoJob's migrations
struct AddedColumns {
    const char *misfits; // columns of the application's own under such a name, a line each
    const char *lacks;   // what ALTER TABLE has to do, its actions separated by commas
};
// Returns which of these columns the table lacks, and which other columns have their names. Either
// text may be empty.
AddedColumns check_added_columns(Relation table);

// What the caller has specified about the columns that keep a job's times: a name, a null pointer
// for no such column, or nothing
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
// Checks the table and its columns. The caller holds a lock on the table.
TableCheck check_table(Relation table, const TimestampNames &given);

} // namespace ecto_job
