// A piece of work in a subtransaction of its own: it is done, or what a row of the table raised
// comes back as a value and nothing has happened.
#pragma once

#include "pg/boundary.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// Returns whether an error may be the fault of a single row: its data, a constraint, a trigger's
// say, with whatever SQLSTATE the trigger has chosen. Only the classes of the session and the
// server are not: connections, transactions and their conflicts, resources, locks, cancellation,
// corruption.
bool is_row_error(int sqlstate);

// Returns whether the error is of a row's data or a constraint, for which the row itself is at
// fault, whoever runs the statement.
bool is_data_error(int sqlstate);

// Ends the subtransaction that fails. Returns the error in `context` if a row may be at fault, and
// raises any other again.
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
