// What is done to a queue's table as the caller, by plain DDL. SPI is connected.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

void execute(const char *text);

// Keeps everybody from the table until the transaction ends. ERROR 55P03 if that lock is not had
// within a moment: behind a long transaction every other user of the table would wait for us.
void lock_briefly(Oid table);

struct ColumnComment {
    const char *column, *comment;
};
// The columns that a queue has and a table of EctoJob's has not
inline constexpr ColumnComment added_columns[] = {
    {"lease", "which consumer of ecto_job's holds the job; drawn anew at each start"},
    {"key", "reserved for unique jobs"},
    {"error", "why the last attempt failed"},
    {"meta", "what the application says about the job"},
};

// Comments a column. Here and below the table's name is given qualified and quoted.
void comment_column(const char *table, const ColumnComment &comment);

// From now on the planner believes that one row of 20 is in any state, for the sake of EctoJob's
// reserve. Its LIMIT is a parameter: a generic plan takes it for a tenth of the AVAILABLE rows, and
// with more of these than one in 13 hashes and scans the whole table. A plan for a known LIMIT
// sorts the table if there seem to be few, such as the one in 200 that are believed without
// statistics.
void fix_state_statistics(Oid oid, const char *table);
void restore_state_statistics(const char *table);

} // namespace ecto_job
