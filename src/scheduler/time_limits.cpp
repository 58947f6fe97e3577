// The timeouts of the two limits. See time_limits.hpp.
#include "scheduler/time_limits.hpp"

namespace ecto_job {

namespace {

TimeoutId soft_limit;
TimeoutId hard_limit;
bool over_limit = false;

void at_soft_limit() {
    over_limit = true;
    QueryCancelPending = true;
    InterruptPending = true;
    SetLatch(MyLatch);
}

void at_hard_limit() {
    kill(MyProcPid, SIGTERM);
}

} // namespace

void prepare_limits() {
    soft_limit = RegisterTimeout(USER_TIMEOUT, at_soft_limit);
    hard_limit = RegisterTimeout(USER_TIMEOUT, at_hard_limit);
}

void limit_time(int ms) {
    over_limit = false;
    enable_timeout_after(soft_limit, ms);
}

void limit_process(int ms) {
    enable_timeout_after(hard_limit, ms);
}

void lift_limits() {
    disable_timeout(soft_limit, false);
    disable_timeout(hard_limit, false);
    QueryCancelPending = false;
}

bool was_over_limit() {
    return over_limit;
}

} // namespace ecto_job
