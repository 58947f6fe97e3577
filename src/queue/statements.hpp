// The statements on a queue's table: one for each transition, and some that only read.
//
// statements.cpp has the texts, in the language of template.hpp. A claim and each sweep that moves
// jobs have three statements: one selects and changes the rows, one only selects them (scheduled
// jobs have two of these), and one changes selected rows (rows_at_fault.hpp says when).
// test/unit/statements.expected shows all texts as PostgreSQL receives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "queue/parameters.hpp"
#include "queue/template.hpp"

namespace ecto_job {

enum class Statement {
    enqueue,
    enqueue_scheduled,
    enqueue_unless_waiting,
    enqueue_or_replace,
    lock_waiting_job,
    activate_scheduled_jobs,
    select_scheduled_jobs,
    select_scheduled_after,
    activate_selected_jobs,
    available_jobs,
    reserve_available_jobs,
    select_available_jobs,
    reserve_selected_jobs,
    update_job_in_progress,
    start_available_jobs,
    start_selected_jobs,
    claimed_jobs,
    fail_selected_job,
    delete_job,
    complete_job,
    complete_jobs,
    kept_jobs,
    holder_of_job,
    job_failed,
    supersede_job,
    postpone_wait_again,
    snooze_job,
    extend_lease,
    cancel_job,
    end_expired_leases,
    select_expired_jobs,
    end_selected_leases,
    bound_sessions,
    give_back_jobs,
    select_orphaned_jobs,
    give_back_selected_jobs,
    requeue,
    failed_jobs_of_window,
    delete_failed_jobs,
    next_due,
    next_expiry,
    first_available,
    last_held,
    end_of_head,
    key_of_job,
};
inline constexpr std::size_t statement_count = static_cast<std::size_t>(Statement::key_of_job) + 1;

// How the planner chooses a statement's scan
enum class Scan {
    statistics, // as for any statement
    // An index wherever there is one. A generic plan that was made while the queue was empty must
    // still be right with a million jobs waiting, so the statistics do not choose.
    index,
    own_index // an index if the table is of create_queue(); EctoJob's tables may have none that
              // fits
};
Scan scan_of(Statement statement);

// Returns the positions in `parameters` of a statement's parameters, in the order of the text.
std::span<const std::uint8_t> parameters_of(Statement statement);

// Writes the text of a statement for a table into `out`, without a zero byte at the end, and
// returns the length. If `out` is null, only the length is returned.
std::size_t write_text(Statement statement, const TableText &table, char *out);

} // namespace ecto_job
