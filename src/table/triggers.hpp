// The triggers of a queue's table: ours, and the one of EctoJob's migration that ours replaces.
//
// A trigger is found by its function and not by its name, which may be cut or changed.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

inline constexpr const char *native_inserted_trigger = "ecto_job_inserted";
// The trigger function of EctoJob's migration, called for each new row
inline constexpr const char *ectojobs_function = "fn_notify_inserted";

struct QueueTriggers {
    const char *inserted; // the name of the trigger that reports new jobs
    bool utc_schedule;
    bool watches_priority; // a changed priority is reported
    // EctoJob's library works on the table too. It does not know leases, and when it enqueues, it
    // writes the time of its own clock into the column `enqueued_at`, unless that is null
    bool clears_leases;
    const char *enqueued_at;
};

// Makes or replaces a queue's triggers; one that was disabled stays so. SPI is connected. `table`
// is the name, qualified and quoted. The caller holds a lock on the table.
void make_triggers(Oid oid, const char *table, const QueueTriggers &triggers);

// Names of a table's triggers, null pointers for none
struct FoundTriggers {
    const char *schedule;
    const char *inserted;
    const char *changed;
    const char *lease;
    const char *ectojobs; // calls ectojobs_function
};
// Finds the triggers of a table. The caller holds a lock on the table.
FoundTriggers find_triggers(Relation table);

// Returns whether a BEFORE UPDATE trigger of the table's owner may keep rows as they are. The
// caller holds a lock on the table.
bool may_veto(Oid table);

} // namespace ecto_job
