// The statements that a queue's plans are made of, one per transition and a few readers.
// Their texts stand in statements.cpp. A transition that changes many rows has three: it picks and
// changes them at once, picks them, and changes those picked (rows_at_fault.hpp says when).
#pragma once

#include <cstddef>

namespace ecto_job {

enum class Statement {
    enqueue,
    enqueue_scheduled,
    activate_scheduled_jobs,
    pick_scheduled_jobs,
    pick_scheduled_behind,
    activate_picked_jobs,
    available_jobs,
    reserve_available_jobs,
    pick_for_reserve,
    reserve_picked_jobs,
    update_job_in_progress,
    start_available_jobs,
    pick_for_start,
    start_picked_jobs,
    claimed_jobs,
    fail_picked_job,
    delete_job,
    complete_job,
    complete_jobs,
    kept_jobs,
    holder_of_job,
    job_failed,
    end_expired_leases,
    pick_expired_jobs,
    end_picked_leases,
    bound_sessions,
    give_back_jobs,
    pick_orphaned_jobs,
    give_back_picked_jobs,
    requeue,
    next_due,
    next_expiry,
    first_available,
    last_held,
    end_of_head,
    key_of_job,
};
inline constexpr std::size_t statement_count = static_cast<std::size_t>(Statement::key_of_job) + 1;

} // namespace ecto_job
