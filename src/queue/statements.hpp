// The statements that a queue's plans are made of, one per transition and a few readers.
//
// Their texts stand in statements.cpp, in the language of template.hpp. A transition that changes
// many rows has three: it picks and changes them at once, picks them, and changes those picked
// (rows_at_fault.hpp says when). test/unit/statements.expected shows all of them as PostgreSQL gets
// them.
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
    end_expired_leases,
    select_expired_jobs,
    end_selected_leases,
    bound_sessions,
    give_back_jobs,
    select_orphaned_jobs,
    give_back_selected_jobs,
    requeue,
    next_due,
    next_expiry,
    first_available,
    last_held,
    end_of_head,
    key_of_job,
};
inline constexpr std::size_t statement_count = static_cast<std::size_t>(Statement::key_of_job) + 1;

// How a statement finds its rows
enum class Scan {
    statistics, // choose
    // By an index wherever there is one. A generic plan made while the queue was empty must still
    // be right with a million jobs waiting, so claims do not ask the statistics.
    index,
    own_index // the same where the table has our indexes; of others' we know of none that serves
};
Scan scan_of(Statement statement);

// Returns the indexes of a statement's parameters, in the order of their numbers in its text.
std::span<const std::uint8_t> parameters_of(Statement statement);

// Writes the text of a statement for a table, without a zero byte at its end, and returns its
// length. A null pointer for `out`: the length alone.
std::size_t write_text(Statement statement, const TableText &table, char *out);

} // namespace ecto_job
