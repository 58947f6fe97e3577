// The rollback of a subtransaction, and the classes of errors. See subtransaction.hpp.
#include "queue/subtransaction.hpp"

#include "pg/compat.hpp"

namespace ecto_job {

bool is_data_error(int sqlstate) {
    const int category = ERRCODE_TO_CATEGORY(sqlstate);
    return category == ERRCODE_DATA_EXCEPTION ||
           category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
           category == ERRCODE_WITH_CHECK_OPTION_VIOLATION;
}

bool is_row_error(int sqlstate) {
    static constexpr int of_session_or_server[] = {
        ERRCODE_CONNECTION_EXCEPTION,
        ERRCODE_INVALID_TRANSACTION_STATE,
        ERRCODE_INVALID_TRANSACTION_TERMINATION,
        ERRCODE_TRANSACTION_ROLLBACK,
        ERRCODE_INSUFFICIENT_RESOURCES,
        ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        ERRCODE_OPERATOR_INTERVENTION,
        ERRCODE_IO_ERROR,
        ERRCODE_SNAPSHOT_TOO_OLD,
        ERRCODE_CONFIG_FILE_ERROR,
        ERRCODE_INTERNAL_ERROR,
    };
    for (const int other : of_session_or_server)
        if (ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TO_CATEGORY(other))
            return false;
    return true;
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
