// Properties of a database, from pg_database. A database that is gone counts as connectable and as
// no template.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

template <typename F> bool property_of_database(Oid database, F property, bool if_gone) {
    HeapTuple const row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(row))
        return if_gone;
    const bool result = property(reinterpret_cast<Form_pg_database>(GETSTRUCT(row)));
    ReleaseSysCache(row);
    return result;
}

// Returns whether ALTER DATABASE ... ALLOW_CONNECTIONS permits sessions.
inline bool is_connectable(Oid database) {
    return property_of_database(
        database, [](Form_pg_database row) { return row->datallowconn; }, true);
}

inline bool is_template(Oid database) {
    return property_of_database(
        database, [](Form_pg_database row) { return row->datistemplate; }, false);
}

} // namespace ecto_job
