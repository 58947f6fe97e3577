// The statements that a queue's plans are made of, one per transition and a few readers.
// Their texts stand in transitions.cpp, beside the code that runs them.
#pragma once

#include <cstddef>

namespace ecto_job {

enum class Statement {
    enqueue,
    activate_scheduled_jobs,
    available_jobs,
    reserve_available_jobs,
    update_job_in_progress,
    start_available_jobs,
    delete_job,
    complete_job,
    complete_jobs,
    holder_of_job,
    job_failed,
    end_expired_leases,
    bound_sessions,
    give_back_jobs,
    requeue,
    next_due,
    next_expiry,
    first_available,
    last_held,
    end_of_head,
};
inline constexpr std::size_t statement_count = static_cast<std::size_t>(Statement::end_of_head) + 1;

} // namespace ecto_job
