// Names of what may be gone. PostgreSQL's get_..._name() return a null pointer for an object that
// another session has dropped, also in the middle of a statement that has found it a moment ago,
// and whoever goes on with it ends the server. So they are called here alone (tools/includes).
//
// The caller says by the function's name what is to happen then. All names are palloced.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Of this session. ERROR 3D000 if it is gone.
const char *database_name();

// ERROR 3F000 if it is gone.
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

// For messages: a table that is gone has its OID for a name.
const char *shown_table_name(Oid table);

} // namespace ecto_job
