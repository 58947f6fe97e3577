// Building rows. See rows.hpp.
#include "functions/rows.hpp"

namespace ecto_job {

namespace {

// A table's owner may have changed a column's type; its values must not be read as the job's
void require_type(Form_pg_attribute attribute, TupleDesc source, int column) {
    const Oid type = SPI_gettypeid(source, column);
    if (!IsBinaryCoercible(type, attribute->atttypid))
        ereport(ERROR,
                (errcode(ERRCODE_DATATYPE_MISMATCH),
                 errmsg("column \"%s\" of the queue is %s, not %s", NameStr(attribute->attname),
                        format_type_be(type), format_type_be(attribute->atttypid)),
                 errhint("A queue keeps the columns that ecto_job.create_queue() gave it.")));
}

} // namespace

void prepare_jobs(FunctionCallInfo fcinfo) {
    InitMaterializedSRF(fcinfo, 0);
}

void return_jobs(FunctionCallInfo fcinfo) {
    auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const TupleDesc job = result->setDesc;
    const TupleDesc source = SPI_tuptable->tupdesc;
    const auto columns = static_cast<Size>(job->natts);

    auto *const from = static_cast<int *>(palloc(columns * sizeof(int)));
    for (int i = 0; i < job->natts; i++) {
        from[i] = SPI_fnumber(source, NameStr(TupleDescAttr(job, i)->attname));
        if (from[i] != SPI_ERROR_NOATTRIBUTE)
            require_type(TupleDescAttr(job, i), source, from[i]);
    }

    auto *const values = static_cast<Datum *>(palloc(columns * sizeof(Datum)));
    auto *const nulls = static_cast<bool *>(palloc(columns * sizeof(bool)));
    const uint64 rows = SPI_processed;
    for (uint64 row = 0; row < rows; row++) {
        for (int i = 0; i < job->natts; i++) {
            nulls[i] = true;
            values[i] = 0;
            if (from[i] != SPI_ERROR_NOATTRIBUTE)
                values[i] = SPI_getbinval(SPI_tuptable->vals[row], source, from[i], &nulls[i]);
        }
        tuplestore_putvalues(result->setResult, job, values, nulls);
    }
}

} // namespace ecto_job
