// Making rows of the declared type. See composite.hpp.
#include "functions/composite.hpp"

namespace ecto_job {

DeclaredRow declared_row(FunctionCallInfo fcinfo) {
    TupleDesc columns = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "function %u must return a row", fcinfo->flinfo->fn_oid);
    return {BlessTupleDesc(columns), CurrentMemoryContext};
}

Datum to_row(const DeclaredRow &row, Datum *values, bool *nulls) {
    MemoryContext const before = MemoryContextSwitchTo(row.context);
    HeapTuple const tuple = heap_form_tuple(row.columns, values, nulls);
    // Copies once more what is stored out of line, and puts the type into the header
    const Datum result = heap_copy_tuple_as_datum(tuple, row.columns);
    MemoryContextSwitchTo(before);
    Assert(HeapTupleHeaderGetTypeId(DatumGetHeapTupleHeader(result)) == row.columns->tdtypeid);
    Assert(HeapTupleHeaderGetTypMod(DatumGetHeapTupleHeader(result)) == row.columns->tdtypmod);
    return result;
}

Datum to_row(const DeclaredRow &row, HeapTuple tuple, TupleDesc columns) {
    const auto count = static_cast<Size>(columns->natts);
    bool fits = columns->natts == row.columns->natts;
    for (int i = 0; fits && i < columns->natts; i++)
        fits = TupleDescAttr(columns, i)->atttypid == TupleDescAttr(row.columns, i)->atttypid;
    if (!fits)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("the row has not the columns of type %s",
                               format_type_be(row.columns->tdtypeid)),
                        errhint("Run ALTER EXTENSION ecto_job UPDATE in this database.")));
    auto *const values = static_cast<Datum *>(palloc(count * sizeof(Datum)));
    auto *const nulls = static_cast<bool *>(palloc(count * sizeof(bool)));
    heap_deform_tuple(tuple, columns, values, nulls);
    return to_row(row, values, nulls);
}

} // namespace ecto_job
