// Running statements. See run.hpp.
#include "queue/run_statement.hpp"

#include "queue/own_statement.hpp"
#include "queue/plans.hpp"

namespace ecto_job {

uint64 run(Queue *queue, Statement statement, const Parameter *parameters, int count) {
    Datum values[lengthof(StatementSource::types)];
    char nulls[lengthof(StatementSource::types)];
    Assert(count == source_of(statement).parameters);
    for (int i = 0; i < count; i++) {
        values[i] = parameters[i].value;
        nulls[i] = parameters[i].is_null ? 'n' : ' ';
    }
    SPIPlanPtr const plan = plan_for(queue, statement);
    const int result = execute_own_statement(queue->oid, plan, values, nulls);
    if (result < 0)
        elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
    if (result == SPI_OK_REWRITTEN)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("a rule of queue \"%s\" replaces what ecto_job does to its jobs",
                               NameStr(queue->table)),
                        errhint("Drop the rule; a trigger may do the same.")));
    require_own_table(queue, plan);
    return SPI_processed;
}

int64 bigint_of(uint64 row, const char *column) {
    const int number = SPI_fnumber(SPI_tuptable->tupdesc, column);
    if (SPI_gettypeid(SPI_tuptable->tupdesc, number) != INT8OID)
        ereport(ERROR,
                (errcode(ERRCODE_DATATYPE_MISMATCH),
                 errmsg("column \"%s\" of the queue is not bigint", column),
                 errhint("A queue keeps the columns that ecto_job.create_queue() gave it.")));
    bool is_null;
    return DatumGetInt64(
        SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &is_null));
}

const char *text_of(uint64 row, const char *column) {
    return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
                        SPI_fnumber(SPI_tuptable->tupdesc, column));
}

std::optional<State> state_of(uint64 row) {
    const char *const text = text_of(row, "state");
    return text != nullptr ? state_from(text) : std::nullopt;
}

JobKey key_of_only_row() {
    const auto value = [](int column) {
        bool is_null;
        return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    };
    return {DatumGetInt32(value(1)), DatumGetTimestampTz(value(2)), DatumGetInt64(value(3))};
}

} // namespace ecto_job
