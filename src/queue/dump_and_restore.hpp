// The settings of a queue that are dumped with its table.
//
// The registry is not dumped, since one row of a missing table would fail the COPY of all rows.
// Instead each queue's trigger that calls ecto_job.job_changed() has the settings as its argument,
// so that every dump of the table has them. An event trigger on CREATE TRIGGER writes them into the
// registry again.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Locks a queue's table against ALTER TABLE ... TRIGGER, CREATE TRIGGER and DROP TABLE until the
// transaction ends, and lets claims pass. Taken before the registry is written, as DROP TABLE does.
void lock_triggers(Oid table);

// Writes the settings of a queue, as the registry has them, into its trigger's argument. Catalogs
// only. The caller has called lock_triggers(), or holds a stronger lock on the table. SPI is
// connected.
void carry_settings(Oid table);

// Registers a restored table with the settings in `text`, a JSON object. A missing setting has its
// default; if a setting cannot be read, all have their defaults, with a WARNING. Returns false,
// after a WARNING, for a table that cannot be a queue. The caller has checked that the current role
// owns the table. SPI is connected.
bool register_with_settings(Oid table, const char *text);

} // namespace ecto_job
