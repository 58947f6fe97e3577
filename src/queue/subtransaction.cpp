// The slow half of a subtransaction: which errors end it quietly. See subtransaction.hpp.
#include "queue/subtransaction.hpp"

namespace ecto_job {

namespace {

int class_of(int sqlstate) {
    return ERRCODE_TO_CATEGORY(sqlstate);
}

} // namespace

bool is_data_error(int sqlstate) {
    const int category = class_of(sqlstate);
    return category == ERRCODE_DATA_EXCEPTION ||
           category == class_of(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION) ||
           category == ERRCODE_WITH_CHECK_OPTION_VIOLATION;
}

bool is_row_error(int sqlstate) {
    static constexpr int categories[] = {
        ERRCODE_TRIGGERED_ACTION_EXCEPTION,
        ERRCODE_CARDINALITY_VIOLATION,
        ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION,
        ERRCODE_SQL_ROUTINE_EXCEPTION,
        ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
        ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
        ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
        ERRCODE_PLPGSQL_ERROR,
    };
    if (is_data_error(sqlstate))
        return true;
    for (const int category : categories)
        if (class_of(sqlstate) == category)
            return true;
    return false;
}

ErrorData *roll_back(MemoryContext context, ResourceOwner owner) {
    MemoryContextSwitchTo(context);
    ErrorData *const error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    if (!is_row_error(error->sqlerrcode))
        ReThrowError(error);
    return error;
}

} // namespace ecto_job
