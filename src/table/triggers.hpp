// The triggers of a queue's table: ours, and the one of EctoJob's migration that ours replaces.
//
// A trigger is found by its function and not by its name, which may be cut or renamed.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

inline constexpr const char *native_inserted_trigger = "ecto_job_inserted";
// Of EctoJob's migration, which calls it for each new row
inline constexpr const char *ectojobs_function = "fn_notify_inserted";

struct QueueTriggers {
    const char *inserted; // the name of the trigger that reports new jobs
    bool utc_schedule;
    bool watches_priority; // a changed priority is reported
    // EctoJob's library works on the table too: it knows of no lease, and when it enqueues it gives
    // this column, if there is one, the time by its own clock
    bool clears_leases;
    const char *enqueued_at;
};

// Makes a queue's triggers, or makes them anew. SPI is connected; the table is given by its oid,
// and qualified and quoted.
void make_triggers(Oid oid, const char *table, const QueueTriggers &triggers);

// Names of a table's triggers, null pointers for none
struct FoundTriggers {
    const char *schedule;
    const char *inserted;
    const char *changed;
    const char *lease;
    const char *ectojobs; // calls ectojobs_function
};
// The caller holds a lock on the table.
FoundTriggers find_triggers(Relation table);

// May the table's owner have a trigger that keeps rows as they are? The table is locked.
bool may_veto(Oid table);

} // namespace ecto_job
