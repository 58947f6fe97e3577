// What is done to a queue's table as the caller, by plain DDL. SPI is connected.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

void execute(const char *text);

// Keeps everybody from the table until the transaction ends. ERROR 55P03 if that lock is not had
// within a moment: behind a long transaction every other user of the table would wait for us.
void lock_briefly(Oid table);

// The table is given qualified and quoted, here and below.
void comment_column(const char *table, const char *column, const char *comment);

// From now on the planner has no statistics of `state`, and believes that one row of 200 is in any
// state. With the true share of AVAILABLE rows it would hash and scan the whole table for EctoJob's
// reserve, whose LIMIT is a parameter, which counts as a tenth of them.
void drop_state_statistics(Oid oid, const char *table);
void restore_state_statistics(const char *table);

} // namespace ecto_job
