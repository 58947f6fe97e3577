// The columns that versions after the first have given to queues: the attributes of ecto_job.job
// that the first version did not have, under their names and types.
//
// An attribute of a composite type has neither a default nor NOT NULL. So a column that is made
// after one is nullable, and ALTER TABLE adds it without rewriting or reading the table. The
// extension's SQL has the list, not this library: a queue gets the columns of the installed
// version, whether that version was installed afresh or by ALTER EXTENSION UPDATE.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

struct LaterColumn {
    const char *name;
    const char *type; // for DDL and messages
    Oid type_oid;
    const char *comment; // null: none
};

struct LaterColumns {
    const LaterColumn *columns;
    int count;
    const LaterColumn *begin() const { return columns; }
    const LaterColumn *end() const { return columns + count; }
};

// Returns the later columns of the installed version, in their order.
LaterColumns later_columns();

} // namespace ecto_job
