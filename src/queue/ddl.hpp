// What is done to a queue's table as the caller, by plain DDL: its lock, triggers and comments.
// create_queue, configure_queue, adopt_queue and release_queue share it. SPI is connected.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

void execute(const char *text);

// Keeps everybody from the table until the transaction ends. ERROR 55P03 if that lock is not had
// within a moment: behind a long transaction every other user of the table would wait for us.
void lock_briefly(Oid table);

// Comments on a column. The table is given qualified and quoted, as below.
void comment_column(const char *table, const char *column, const char *comment);

struct QueueTriggers {
    const char *inserted; // the name of the one that tells of new jobs
    bool utc_schedule;
    bool watches_priority; // a priority that changes is told of
    bool clears_leases;    // EctoJob's library, which knows of no lease, works on the table too
};
inline constexpr const char *native_inserted_trigger = "ecto_job_inserted";

// Makes a queue's triggers, or makes them anew.
void make_triggers(const char *table, const QueueTriggers &triggers);

// From now on the planner has no statistics of `state`, and believes that one row of 200 is in any
// state. With the true share of AVAILABLE rows it would hash and scan the whole table for EctoJob's
// reserve, whose LIMIT is a parameter, which counts as a tenth of them.
void drop_state_statistics(Oid oid, const char *table);

} // namespace ecto_job
