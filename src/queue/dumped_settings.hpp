// The settings of a queue that travel with its table.
//
// The registry is not dumped, since one row of a table that is missing would fail the whole of it.
// Instead the trigger ecto_job.job_changed of each queue has the settings as its argument, so that
// every dump with the table has them; an event trigger on CREATE TRIGGER puts them into the
// registry again.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Writes the settings of a queue, as the registry has them, into its trigger's argument. Catalogs
// only, without a lock on the table. SPI is connected.
void carry_settings(Oid table);

// Registers a table that a dump has brought, with the settings in `text`, a JSON object: what is
// missing there has its default, and all of it, with a WARNING, if something cannot be read.
// Returns false, after a WARNING, for a table that cannot be a queue. The caller has proved that
// the table is the current role's. SPI is connected.
bool register_carried(Oid table, const char *text);

} // namespace ecto_job
