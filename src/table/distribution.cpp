// Reading of Citus's catalogs. See distribution.hpp.
#include "table/distribution.hpp"

#include "pg/names.hpp"

namespace ecto_job {

namespace {

// A catalog of Citus that has a row for each distributed object.
struct Catalog {
    const char *table;
    const char *column; // the object's OID
    const char *index;  // on the column
};
constexpr Catalog tables{"pg_dist_partition", "logicalrelid",
                         "pg_dist_partition_logical_relid_index"};
constexpr Catalog schemas{"pg_dist_schema", "schemaid", "pg_dist_schema_pkey"};

// Returns whether the catalog has a row for the object; false if there is no such catalog.
bool has_row(const Catalog &catalog, Oid object) {
    const Oid oid = get_relname_relid(catalog.table, PG_CATALOG_NAMESPACE);
    if (oid == InvalidOid)
        return false;
    const AttrNumber column = get_attnum(oid, catalog.column);
    Relation const table =
        column != InvalidAttrNumber ? try_table_open(oid, AccessShareLock) : nullptr;
    if (table == nullptr) // no catalog of Citus's, or Citus is being dropped
        return false;
    const Oid index = get_relname_relid(catalog.index, PG_CATALOG_NAMESPACE);
    ScanKeyData key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
    SysScanDesc scan = systable_beginscan(table, index, OidIsValid(index), nullptr, 1, &key);
    const bool found = HeapTupleIsValid(systable_getnext(scan));
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return found;
}

} // namespace

bool is_distributed_table(Oid table) {
    return has_row(tables, table);
}

bool is_distributed_schema(Oid schema) {
    return has_row(schemas, schema);
}

void refuse_distributed_table(Oid table, const char *name) {
    if (is_distributed_table(table))
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("\"%s\" cannot be a queue: Citus distributes the table", name),
                 errdetail("Its jobs would be announced by no node, and become due on none."),
                 errhint("A queue is a plain table on one node; distribute the tables that its "
                         "jobs write. See \"Citus\" in docs/operations.md.")));
}

void refuse_distributed_schema(Oid schema, const char *queue) {
    if (is_distributed_schema(schema))
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("queue \"%s\" cannot be created: Citus distributes schema \"%s\"", queue,
                        schema_name(schema)),
                 errdetail("Its table would not be distributed, unlike all others of the schema."),
                 errhint("Choose a schema that is not distributed, by schema_prefix. See \"Citus\" "
                         "in docs/operations.md.")));
}

} // namespace ecto_job
