// The function queue_depth(): how many jobs of each state a queue has, counted up to a limit.
//
// The work does not grow with the number of jobs. The first walk goes along the primary key from
// the oldest job: FAILED jobs, which no other index has, pile up there. If the walk comes to the
// end, it has counted everything. Otherwise the jobs in play and those that wait are counted by
// their indexes. A table without these indexes, such as EctoJob's, is also read from its newest
// job.
#include <algorithm>
#include <initializer_list>

#include "functions/readers.hpp"
#include "pg/row.hpp"
#include "table/job_walk.hpp"

namespace ecto_job {

namespace {

// Entries of finished jobs stay in an index until VACUUM removes them
constexpr int64 entries_of_a_job = 10;

struct Depth {
    int64 jobs;
    std::optional<TimestampTz> oldest; // nullopt: no schedule was read
    bool is_complete;                  // all jobs of the state were counted
};
struct Depths {
    Depth of[all_states.size()];

    Depth &operator[](State state) { return of[static_cast<std::size_t>(state)]; }
};

std::optional<TimestampTz> earlier_of(std::optional<TimestampTz> a, std::optional<TimestampTz> b) {
    return a && b ? std::min(*a, *b) : a ? a : b;
}

void count(Depths *counted, State state, std::optional<TimestampTz> schedule) {
    Depth &depth = (*counted)[state];
    depth.oldest = earlier_of(depth.oldest, schedule);
    depth.jobs++;
}

// How the reading of an index has ended
enum class Reading {
    no_index,
    complete,       // all of its jobs were counted
    cut_by_jobs,    // as many were counted as may be
    cut_by_entries, // too many of its entries are those of finished jobs
};

Reading count_along(const WatchedQueue &queue, Oid index, ScanDirection direction, int64 at_most,
                    Depths *counted) {
    const int schedule = row_of(queue.table, nullptr).columns.number_of<AnyTimestamp>("schedule");
    JobWalk walk = begin_job_walk(queue.table, index, direction, at_most,
                                  entries_for(at_most, entries_of_a_job));
    while (next_job(&walk)) {
        bool is_null = false;
        const Datum due = slot_getattr(walk.slot, schedule, &is_null);
        if (const std::optional<State> state = state_of_job(walk))
            count(counted, *state,
                  is_null ? std::nullopt : std::optional(DatumGetTimestampTz(due)));
    }
    end_job_walk(&walk);
    if (walk.is_complete)
        return Reading::complete;
    return walk.rows_left < 0 ? Reading::cut_by_jobs : Reading::cut_by_entries;
}

// Counts the states that an index has, and keeps what is known of them already where that is more.
Reading count_states(const WatchedQueue &queue, JobIndex wanted,
                     std::initializer_list<State> states, ScanDirection direction, int64 at_most,
                     Depths *known) {
    const Oid index = find_job_index(queue.table, wanted);
    if (!OidIsValid(index))
        return Reading::no_index;
    Depths counted{};
    const Reading reading = count_along(queue, index, direction, at_most, &counted);
    for (const State state : states) {
        Depth &depth = (*known)[state];
        const Depth &more = counted[state];
        depth.oldest = earlier_of(depth.oldest, more.oldest);
        depth.jobs = std::max(depth.jobs, more.jobs);
        depth.is_complete = depth.is_complete || reading == Reading::complete;
    }
    return reading;
}

// Counts from the beginning of an index, and from its end too if the beginning is full of finished
// jobs. Returns false if there is no such index.
bool count_from_both_ends(const WatchedQueue &queue, JobIndex wanted,
                          std::initializer_list<State> states, int64 at_most, Depths *known) {
    const Reading reading =
        count_states(queue, wanted, states, ForwardScanDirection, at_most, known);
    if (reading == Reading::cut_by_entries)
        count_states(queue, wanted, states, BackwardScanDirection, at_most, known);
    return reading != Reading::no_index;
}

Depths count_jobs(const WatchedQueue &queue, int64 at_most) {
    using enum State;
    const auto all = {scheduled, available, reserved, in_progress, retry, failed};
    Depths known{};
    count_from_both_ends(queue, JobIndex::all, all, at_most, &known);
    if (known[failed].is_complete)
        return known;
    const bool in_play = count_from_both_ends(queue, JobIndex::in_play,
                                              {available, reserved, in_progress}, at_most, &known);
    const bool waiting =
        count_from_both_ends(queue, JobIndex::waiting, {scheduled, retry}, at_most, &known);
    if (!in_play || !waiting)
        count_states(queue, JobIndex::all, all, BackwardScanDirection, at_most, &known);
    return known;
}

} // namespace

} // namespace ecto_job

// queue_depth(queue regclass, at_most bigint DEFAULT 10000)
ECTO_JOB_FUNCTION(ecto_job_queue_depth) {
    using namespace ecto_job;
    enum { queue_at, at_most_at };
    enum { state_column, jobs, capped, oldest, column_count };
    InitMaterializedSRF(fcinfo, 0);
    const auto *const result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const WatchedQueue queue = open_watched_queue(fcinfo);
    Depths depths = count_jobs(queue, at_most_argument(fcinfo, at_most_at, queue.queue));
    for (const State state : all_states) {
        const Depth &depth = depths[state];
        Datum values[column_count] = {};
        bool nulls[column_count] = {};
        values[state_column] = text_datum(state);
        values[jobs] = Int64GetDatum(depth.jobs);
        values[capped] = BoolGetDatum(!depth.is_complete);
        values[oldest] = TimestampTzGetDatum(depth.oldest.value_or(0));
        nulls[oldest] = !depth.oldest;
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    table_close(queue.table, AccessShareLock);
    return 0;
}
