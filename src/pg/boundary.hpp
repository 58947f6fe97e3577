// Where C++ meets PostgreSQL. An exception that leaves an extern "C" function ends every session
// of the cluster, so each entry (SQL function, trigger, hook, callback, worker) is wrapped here and
// an exception becomes an ordinary ERROR.
//
// The other direction needs no wrapping: PostgreSQL's ERROR is a longjmp, which may cross our
// frames as long as they hold only trivially destructible locals. That is the rule of this tree
// (but for locks, in whose scope nothing may raise), so nothing is caught here that PostgreSQL
// raised. Never throw inside PG_TRY.
#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "pg/pg.hpp"

namespace ecto_job {

class Boundary {
public:
    Boundary() noexcept;
    // Copies the exception's message. Allocates nothing, so that it works when memory is short.
    void describe(int sqlstate, const char *message) noexcept;
    // Raises the ERROR, after the exception object has been destroyed.
    [[noreturn]] void raise();

private:
    MemoryContext context_;
    sigjmp_buf *stack_;
    ErrorContextCallback *callbacks_;
    int sqlstate_ = 0;
    char message_[512] = {};
};
static_assert(std::is_trivially_destructible_v<Boundary>);

template <typename F> auto at_boundary(F body) -> std::invoke_result_t<F> {
    Boundary boundary;
    try {
        return body();
    } catch (const std::bad_alloc &) {
        boundary.describe(ERRCODE_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception &error) {
        boundary.describe(ERRCODE_INTERNAL_ERROR, error.what());
    } catch (...) {
        boundary.describe(ERRCODE_INTERNAL_ERROR, "unknown C++ exception");
    }
    boundary.raise();
}

} // namespace ecto_job

// Defines a function that SQL can call. Its arguments are in `fcinfo`, as in C.
#define ECTO_JOB_FUNCTION(name)                                                                    \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    static Datum name##_body(FunctionCallInfo fcinfo);                                             \
    Datum name(PG_FUNCTION_ARGS) {                                                                 \
        return ecto_job::at_boundary([fcinfo] { return name##_body(fcinfo); });                    \
    }                                                                                              \
    static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
