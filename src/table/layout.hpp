// Reading a table's layout from the catalog.
//
// The layout is read with the rest of the queue and forgotten with it when the table changes, so
// that an application's own migration (which may add the column priority) needs no word to us.
#pragma once

#include "core/table_layout.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// Returns the layout. `inserted_at` and `updated_at` are the names of these columns, empty for
// none. The caller holds a lock on the table, or reads again when he has it.
TableLayout read_layout(Oid table, const NameData &inserted_at, const NameData &updated_at);

} // namespace ecto_job
