// Building rows. See job_rows.hpp.
#include "functions/job_rows.hpp"

#include <algorithm>

#include "queue/run_statement.hpp"

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

struct Placed {
    JobKey key;
    HeapTuple row;
};

// The queue's order, which an UPDATE's RETURNING does not promise. ORDER BY around it would copy
// the rows three times more.
void sort_by_key(const Rows &rows) {
    const uint64 count = rows.size();
    if (count < 2)
        return;
    const KeyColumns keys(rows);
    HeapTuple *const tuples = rows.tuples();
    auto *const placed =
        static_cast<Placed *>(MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(Placed)));
    for (uint64 i = 0; i < count; i++)
        placed[i] = {keys[i], tuples[i]};
    std::sort(placed, placed + count,
              [](const Placed &a, const Placed &b) { return a.key < b.key; });
    for (uint64 i = 0; i < count; i++)
        tuples[i] = placed[i].row;
}

} // namespace

void return_jobs(FunctionCallInfo fcinfo) {
    auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const TupleDesc job = result->setDesc;
    const Rows rows;
    const TupleDesc source = rows.columns().descriptor;
    const auto columns = static_cast<Size>(job->natts);

    auto *const from = static_cast<int *>(palloc(columns * sizeof(int)));
    for (int i = 0; i < job->natts; i++) {
        from[i] = SPI_fnumber(source, NameStr(TupleDescAttr(job, i)->attname));
        if (from[i] != SPI_ERROR_NOATTRIBUTE)
            require_type(TupleDescAttr(job, i), source, from[i]);
    }
    sort_by_key(rows);

    // All columns of a row at once: one by one, each is looked for from the row's beginning
    const auto source_columns = static_cast<Size>(source->natts);
    auto *const source_values = static_cast<Datum *>(palloc(source_columns * sizeof(Datum)));
    auto *const source_nulls = static_cast<bool *>(palloc(source_columns * sizeof(bool)));
    auto *const values = static_cast<Datum *>(palloc(columns * sizeof(Datum)));
    auto *const nulls = static_cast<bool *>(palloc(columns * sizeof(bool)));
    for (uint64 row = 0; row < rows.size(); row++) {
        heap_deform_tuple(rows.tuples()[row], source, source_values, source_nulls);
        for (int i = 0; i < job->natts; i++) {
            const bool found = from[i] != SPI_ERROR_NOATTRIBUTE;
            values[i] = found ? source_values[from[i] - 1] : 0;
            nulls[i] = !found || source_nulls[from[i] - 1];
        }
        tuplestore_putvalues(result->setResult, job, values, nulls);
    }
}

} // namespace ecto_job
