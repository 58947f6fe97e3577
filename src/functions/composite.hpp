// The one way by which a single row leaves a function of ours.
//
// A row that SPI returns has the type RECORD, with a typmod that only this session knows. Stored
// under the type that the function declares, it would be read in another session by the columns
// that have this typmod there: an interval's bytes as a pointer. So each row is made anew here,
// under the declared type. Sets of rows carry no type of their own: see job_rows.hpp.
#pragma once

#include "pg/boundary.hpp"

namespace ecto_job {

struct DeclaredRow {
    TupleDesc columns;
    MemoryContext context; // the caller's, where the row is made
};

// Looks up what the function declares to return. Before SPI_connect.
DeclaredRow declared_row(FunctionCallInfo fcinfo);

// A row of these values, one for each declared column.
Datum to_row(const DeclaredRow &row, Datum *values, bool *nulls);

// A row from SPI as a declared one. ERROR 42804 if its columns are not those that are declared.
Datum to_row(const DeclaredRow &row, HeapTuple tuple, TupleDesc columns);

} // namespace ecto_job
