// Reading of the type ecto_job.job. See later_columns.hpp.
#include "table/later_columns.hpp"

namespace ecto_job {

namespace {

// id to params_binary, of which some have other columns in the table, or none
constexpr int first_attributes = 16;

} // namespace

LaterColumns later_columns() {
    const Oid relation = get_relname_relid("job", get_namespace_oid("ecto_job", false));
    const TupleDesc job = lookup_rowtype_tupdesc_copy(get_rel_type_id(relation), -1);
    auto *const columns =
        static_cast<LaterColumn *>(palloc0(static_cast<Size>(job->natts) * sizeof(LaterColumn)));
    int count = 0;
    for (int i = first_attributes; i < job->natts; i++) {
        const FormData_pg_attribute *const attribute = TupleDescAttr(job, i);
        if (attribute->attisdropped)
            continue;
        Assert(get_typtype(attribute->atttypid) !=
               TYPTYPE_DOMAIN); // its CHECK would read the table
        columns[count++] = {
            pstrdup(NameStr(attribute->attname)),
            format_type_extended(attribute->atttypid, attribute->atttypmod,
                                 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY),
            attribute->atttypid, GetComment(relation, RelationRelationId, attribute->attnum)};
    }
    return {columns, count};
}

} // namespace ecto_job
