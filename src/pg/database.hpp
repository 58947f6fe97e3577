// Properties of a database, from pg_database. One that is gone is connectable and no template.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns whether ALTER DATABASE ... ALLOW_CONNECTIONS lets sessions in.
bool is_connectable(Oid database);

bool is_template(Oid database);

} // namespace ecto_job
