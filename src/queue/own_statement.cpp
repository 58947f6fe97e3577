// The session's memory of the running transition. See own_statement.hpp.
#include "queue/own_statement.hpp"

namespace ecto_job {

namespace {

Oid changed_table = InvalidOid; // the table of the innermost transition that is running

} // namespace

int execute_own_statement(Oid table, SPIPlanPtr plan, Datum *values, const char *nulls) {
    const Oid outer = changed_table; // a trigger of the owner's may have called us
    int result = 0;
    Assert(OidIsValid(table));
    changed_table = table;
    PG_TRY();
    { result = SPI_execute_plan(plan, values, nulls, false, 0); }
    PG_FINALLY();
    { changed_table = outer; }
    PG_END_TRY();
    return result;
}

bool is_own_statement(Oid table) {
    return changed_table == table;
}

} // namespace ecto_job
