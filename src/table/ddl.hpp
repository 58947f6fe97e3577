// DDL on a queue's table, with the caller's rights. SPI is connected.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Executes a statement. ERROR XX000 if SPI refuses it.
void execute(const char *text);

// Locks the table exclusively until the transaction ends. ERROR 55P03 after 2 seconds, or after
// lock_timeout if that is shorter: behind a long transaction all users of the table would wait.
void lock_briefly(Oid table);

struct ColumnComment {
    const char *column, *comment;
};
// The columns that a queue of every version has and a table of EctoJob's migration lacks
inline constexpr ColumnComment added_columns[] = {
    {"lease", "which consumer of ecto_job's holds the job; drawn anew at each start"},
    {"key", "at most one job of a key waits"},
    {"error", "why the last attempt failed"},
    {"meta", "what the application says about the job"},
};

// Comments a column. Here and below the table's name is given qualified and quoted.
void comment_column(const char *table, const ColumnComment &comment);
// Comments the columns that adoption or a later version adds; if `actions`, of ALTER TABLE, is not
// null, only those that it adds.
void comment_added_columns(const char *table, const char *actions);

// Fixes the statistics of `state`, so that the planner estimates one row of 20 in any state, for
// EctoJob's reserve. Its LIMIT is a parameter, which a generic plan estimates as a tenth of the
// AVAILABLE rows. If these seem more than one in 13, the plan hashes and scans the whole table. A
// plan for a known LIMIT sorts the table if they seem few, such as one in 200, the estimate without
// statistics.
void fix_state_statistics(Oid oid, const char *table);
// Lets ANALYZE collect the statistics of `state` again.
void restore_state_statistics(const char *table);

} // namespace ecto_job
