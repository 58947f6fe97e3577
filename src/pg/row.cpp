// Reading columns of types that vary, and refusing others. See row.hpp.
#include "pg/row.hpp"

namespace ecto_job {

bool AnyInteger::fits(Oid found) {
    return found == INT8OID || found == INT4OID || found == INT2OID;
}

int64 AnyInteger::from(Datum value, Oid found) {
    return found == INT8OID   ? DatumGetInt64(value)
           : found == INT4OID ? DatumGetInt32(value)
                              : DatumGetInt16(value);
}

const char *Shown::from(Datum value, Oid found) {
    if (found == TEXTOID || found == VARCHAROID)
        return TextDatumGetCString(value);
    Oid output = InvalidOid;
    bool is_varlena = false;
    getTypeOutputInfo(found, &output, &is_varlena);
    return OidOutputFunctionCall(output, value);
}

void Columns::raise_misfit(const char *name, Oid wanted) const {
    ereport(ERROR,
            (errcode(table != nullptr ? ERRCODE_UNDEFINED_COLUMN : ERRCODE_DATATYPE_MISMATCH),
             table != nullptr
                 ? errmsg("table \"%s\" has no column \"%s\" of type %s", table, name,
                          format_type_be(wanted))
                 : errmsg("column \"%s\" of the queue is not %s", name, format_type_be(wanted)),
             errhint("A queue keeps the columns that ecto_job.create_queue() gave it.")));
}

} // namespace ecto_job
