// Reading pg_database. See database.hpp.
#include "pg/database.hpp"

namespace ecto_job {

namespace {

template <typename F> bool ask(Oid database, F property, bool of_none) {
    HeapTuple const row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(row))
        return of_none;
    const bool result = property(reinterpret_cast<Form_pg_database>(GETSTRUCT(row)));
    ReleaseSysCache(row);
    return result;
}

} // namespace

bool is_connectable(Oid database) {
    return ask(
        database, [](Form_pg_database row) { return row->datallowconn; }, true);
}

bool is_template(Oid database) {
    return ask(
        database, [](Form_pg_database row) { return row->datistemplate; }, false);
}

} // namespace ecto_job
