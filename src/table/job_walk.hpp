// A bounded walk along an index of a queue's table, for whoever wants numbers of its jobs and not
// their order of service.
//
// A walk reads the index and the rows by the access methods, without a condition and without a
// plan, so that no code of the table's owner runs: neither an index's function, nor a predicate's,
// nor an operator class's. The number of entries that a walk reads is limited, including those of
// finished jobs that VACUUM has not removed; but not the number of pages: the index skips entries
// that a reader has marked as dead before the walk sees them.
#pragma once

#include "core/job_state.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

enum class JobIndex {
    in_play, // AVAILABLE, RESERVED and IN_PROGRESS jobs, by priority
    waiting, // SCHEDULED and RETRY jobs, by schedule
    all      // all jobs, by id
};

// Returns the index; InvalidOid if the table has none that the current snapshot may use. A table of
// EctoJob's migrations has `all` only.
Oid find_job_index(Relation table, JobIndex wanted);

struct JobWalk {
    Relation table;
    Relation index;
    IndexScanDesc scan;
    TupleTableSlot *slot; // the job that next_job() has reached
    AttrNumber state;     // the column
    ScanDirection direction;
    int64 rows_left; // negative: one job more was found than allowed
    int64 entries_left;
    bool is_complete; // there is no further job
};

// Begins a walk in the active snapshot that returns at most `rows` jobs and reads at most `entries`
// entries. ERROR 42703 if the table has no column `state`.
JobWalk begin_job_walk(Relation table, Oid index, ScanDirection direction, int64 rows,
                       int64 entries);

// Goes to the next job. Returns false at the end, or if a limit forbids to read on: see
// is_complete.
bool next_job(JobWalk *walk);

void end_job_walk(JobWalk *walk);

// Returns the state of the job that the walk has reached; nullopt if it is none of the six.
std::optional<State> state_of_job(const JobWalk &walk);

} // namespace ecto_job
