// Whether this database runs its queues: a durable record, which the scheduler reads in each round.
//
// Only the database's owner and superusers write it. A copy of the database does not inherit it:
// see queue/registry.
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "queue/registry.hpp"
#include "shared/wakeup.hpp"

namespace ecto_job {
namespace {

void require_database_owner() {
    if (!owns_database(MyDatabaseId, GetUserId()))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("must be owner of database \"%s\"", get_database_name(MyDatabaseId)),
                        errhint("Ask its owner or a superuser.")));
}

Datum set_enabled(bool enabled) {
    require_database_owner();
    SPI_connect();
    Oid types[] = {OIDOID, BOOLOID};
    Datum values[] = {ObjectIdGetDatum(MyDatabaseId), BoolGetDatum(enabled)};
    write_registry("INSERT INTO ecto_job.scheduler_state (database, enabled) VALUES ($1, $2)"
                   " ON CONFLICT (only_row) DO UPDATE"
                   " SET database = excluded.database, enabled = excluded.enabled",
                   2, types, values, nullptr);
    SPI_finish();
    wake_scheduler_at_commit();
    return 0;
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_enable) {
    return set_enabled(true);
}

ECTO_JOB_FUNCTION(ecto_job_disable) {
    return set_enabled(false);
}
