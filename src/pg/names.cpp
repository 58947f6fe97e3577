// Names, and what replaces a missing one. See names.hpp.
#include "pg/names.hpp"

namespace ecto_job {

const char *database_name() {
    const char *const name = get_database_name(MyDatabaseId);
    if (name == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_DATABASE),
                        errmsg("database with OID %u does not exist", MyDatabaseId)));
    return name;
}

const char *schema_name(Oid schema) {
    const char *const name = get_namespace_name(schema);
    if (name == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
                        errmsg("schema with OID %u does not exist", schema),
                        errhint("It was dropped just now. Try again.")));
    return name;
}

const char *shown_table_name(Oid table) {
    const char *const name = get_rel_name(table);
    return name != nullptr ? name : psprintf("%u", table);
}

} // namespace ecto_job
