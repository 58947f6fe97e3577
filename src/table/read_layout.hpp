// Reading of a table's layout from the catalog.
//
// The layout is cached with the queue and read again when the table changes. So an application's
// own migration, which may add the column priority, needs no call of ours.
#pragma once

#include "core/table_layout.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// Returns the layout. `inserted_at` and `updated_at` are the names of these columns, empty for
// none. The caller holds a lock on the table, or reads the layout again under the lock.
TableLayout read_layout(Oid table, const NameData &inserted_at, const NameData &updated_at);

} // namespace ecto_job
