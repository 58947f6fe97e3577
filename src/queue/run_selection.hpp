// Running the selection of a claim or of a sweep's batch: in one statement, or by halves if a row
// is at fault (rows_at_fault.hpp).
#pragma once

#include "queue/rows_at_fault.hpp"

namespace ecto_job {

// Claims jobs, whose rows are in SPI_tuptable then, and returns their number.
uint64 run_claim(Queue *queue, const Selection &selection);

// Runs a batch of a sweep. `isolates_rows`: a row at fault does not end the batch.
Taken run_sweep(Queue *queue, const Selection &selection, bool isolates_rows);

// The numbers of jobs whose leases were ended, by their new states, and of those that were
// superseded (unique_jobs.hpp)
struct EndedLeases {
    int64 available, retried, failed, superseded;

    int64 count() const { return available + retried + failed + superseded; }
    // All but the jobs that became FAILED
    int64 expired() const { return available + retried + superseded; }
};

// Runs a batch of a sweep that ends leases. Sends the jobs' notifications.
EndedLeases sweep_leases(Queue *queue, Selection selection, bool isolates_rows);

} // namespace ecto_job
