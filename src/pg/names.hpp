// Names of objects that may be gone. PostgreSQL's get_..._name() return a null pointer for an
// object that another session has dropped, even in the middle of a statement that has just found
// it, and a use of that pointer ends the server. So they are called only here (tools/includes
// checks that).
//
// A function's name says what happens if the object is gone. All names are palloced.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns the name of this session's database. ERROR 3D000 if it is gone.
const char *database_name();

// Returns the name of the schema. ERROR 3F000 if it is gone.
const char *schema_name(Oid schema);

inline const char *schema_name_or_null(Oid schema) {
    return get_namespace_name(schema);
}
inline const char *table_name_or_null(Oid table) {
    return get_rel_name(table);
}
inline const char *function_name_or_null(Oid function) {
    return get_func_name(function);
}

// Returns the name of the table for a message; its OID if the table is gone.
const char *shown_table_name(Oid table);

} // namespace ecto_job
