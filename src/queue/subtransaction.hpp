// Work in a subtransaction of its own. Either the work is done, or the error of a row is returned
// as a value and the work is undone.
#pragma once

#include "pg/boundary.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// Returns whether an error may be the fault of a single row: of its data, a constraint, or a
// trigger, whatever SQLSTATE the trigger has chosen. False only for the classes of errors of the
// session and the server: connections, transactions and their conflicts, resources, locks,
// cancellation, corruption.
bool is_row_error(int sqlstate);

// Returns whether an error concerns a row's data or a constraint, so that the row is at fault
// whoever runs the statement.
bool is_data_error(int sqlstate);

// Rolls the failed subtransaction back. Returns the error, in `context`, if a row may be at fault,
// and raises any other error again.
ErrorData *roll_back(MemoryContext context, ResourceOwner owner);

// Runs the body in a subtransaction. Returns null, or the error, in the caller's memory context.
template <typename F> ErrorData *in_subtransaction(F body) {
    MemoryContext const context = CurrentMemoryContext;
    ResourceOwner const owner = CurrentResourceOwner;
    ErrorData *volatile error = nullptr;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        at_boundary(body);
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    { error = roll_back(context, owner); }
    PG_END_TRY();
    return error;
}

} // namespace ecto_job
