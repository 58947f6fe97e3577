// How an exception becomes an ERROR. See boundary.hpp.
#include "pg/boundary.hpp"

namespace ecto_job {

Boundary::Boundary() noexcept
    : context_(CurrentMemoryContext), stack_(PG_exception_stack), callbacks_(error_context_stack) {}

void Boundary::describe(int sqlstate, const char *message) noexcept {
    sqlstate_ = sqlstate;
    strlcpy(message_, message, sizeof message_);
}

void Boundary::raise() {
    // A throw may have skipped the code that restores these
    PG_exception_stack = stack_;
    error_context_stack = callbacks_;
    MemoryContextSwitchTo(context_);
    ereport(ERROR, (errcode(sqlstate_), errmsg("%s", message_)));
    pg_unreachable();
}

} // namespace ecto_job
