// The function held_jobs(), from which running_jobs() makes its rows: which jobs of a queue are
// RESERVED or IN_PROGRESS, which session holds their leases, and which transaction their rows.
//
// Params are not among the columns, since pg_monitor may call the function.
#include <optional>

#include "core/lease.hpp"
#include "functions/readers.hpp"
#include "pg/compat.hpp"
#include "pg/row.hpp"
#include "shared/session_leases.hpp"
#include "table/job_walk.hpp"
#include "table/row_holder.hpp"

namespace ecto_job {

namespace {

// Entries of other jobs, and of finished ones that VACUUM has not removed
constexpr int64 entries_of_a_job = 100;

// The numbers of a table's columns; 0: there is none of that type
struct JobColumns {
    int id, attempt, lease, updated_at, expires;
};

JobColumns columns_of(const WatchedQueue &queue) {
    const Columns columns = row_of(queue.table, nullptr).columns;
    return {columns.number_of<Int8>("id"), columns.number_of<Int4>("attempt"),
            columns.number_of<Int8>("lease"),
            columns.find<AnyTimestamp>(NameStr(queue.queue->updated_at)),
            columns.number_of<AnyTimestamp>("expires")};
}

// Returns the value of a column; null if there is no such column.
NullableDatum value_of(TupleTableSlot *slot, int column) {
    NullableDatum result{0, true};
    if (column != 0)
        result.value = slot_getattr(slot, column, &result.isnull);
    return result;
}

// Returns the pid of the session that a lease is bound to; 0: nobody knows.
int pid_of_lease(NullableDatum lease) {
    return lease.isnull ? 0 : pid_of_session(session_of(DatumGetInt64(lease.value)));
}

struct Listing {
    ReturnSetInfo *result;
    JobColumns columns;
    int64 rows_left;
    int64 last_id; // of the last job that the walk along an index has reached
};

void add_row(const Listing &listing, TupleTableSlot *slot, State state) {
    enum { id, state_column, attempt, lease, since, expires, pid, holder, holder_pid, columns };
    const JobColumns &from = listing.columns;
    const NullableDatum found[columns] = {
        value_of(slot, from.id),         {0, true},
        value_of(slot, from.attempt),    value_of(slot, from.lease),
        value_of(slot, from.updated_at), value_of(slot, from.expires)};
    Datum values[columns] = {};
    bool nulls[columns] = {};
    for (int i = 0; i < pid; i++) {
        values[i] = found[i].value;
        nulls[i] = found[i].isnull;
    }
    values[state_column] = text_datum(state);
    nulls[state_column] = false;
    const int session = pid_of_lease(found[lease]);
    values[pid] = Int32GetDatum(session);
    nulls[pid] = session == 0;
    const TransactionId transaction = row_holder(slot);
    values[holder] = TransactionIdGetDatum(transaction);
    nulls[holder] = !TransactionIdIsValid(transaction);
    const int process = nulls[holder] ? 0 : BackendXidGetPid(transaction);
    values[holder_pid] = Int32GetDatum(process);
    nulls[holder_pid] = process == 0; // prepared, or of the primary
    tuplestore_putvalues(listing.result->setResult, listing.result->setDesc, values, nulls);
}

// Adds jobs along an index until the listing is full, or up to the id `until`, if there is one.
// Returns false if there may be more jobs, of which nothing is known.
bool list_along(const WatchedQueue &queue, Oid index, ScanDirection direction, int64 entries,
                Listing *listing, std::optional<int64> until = std::nullopt) {
    JobWalk walk = begin_job_walk(queue.table, index, direction, entries, entries);
    bool is_complete = false;
    while (!is_complete && listing->rows_left > 0 && next_job(&walk)) {
        const std::optional<State> state = state_of_job(walk);
        const NullableDatum id = value_of(walk.slot, listing->columns.id);
        if (!id.isnull) { // by an index that is not the primary key's it may be
            listing->last_id = DatumGetInt64(id.value);
            is_complete = until && listing->last_id <= *until;
        }
        if (!is_complete && is_held(state)) {
            add_row(*listing, walk.slot, *state);
            listing->rows_left--;
        }
    }
    end_job_walk(&walk);
    return is_complete || walk.is_complete || listing->rows_left == 0;
}

// Adds the jobs. Returns false if there may be more of them, of which nothing is known.
bool list_jobs(const WatchedQueue &queue, int64 entries, Listing *listing) {
    const Oid in_play = find_job_index(queue.table, JobIndex::in_play);
    if (OidIsValid(in_play))
        return list_along(queue, in_play, ForwardScanDirection, entries, listing);
    const Oid all = find_job_index(queue.table, JobIndex::all);
    if (!OidIsValid(all))
        return false;
    // FAILED jobs pile up at one end, and AVAILABLE jobs at the other
    return list_along(queue, all, ForwardScanDirection, entries, listing) ||
           list_along(queue, all, BackwardScanDirection, entries, listing, listing->last_id);
}

} // namespace

} // namespace ecto_job

// held_jobs(queue regclass, at_most bigint)
ECTO_JOB_FUNCTION(ecto_job_held_jobs) {
    using namespace ecto_job;
    enum { queue_at, at_most_at };
    InitMaterializedSRF(fcinfo, 0);
    const WatchedQueue queue = open_watched_queue(fcinfo);
    const int64 at_most = at_most_argument(fcinfo, at_most_at, queue.queue);
    const int64 entries = entries_for(at_most, entries_of_a_job);
    Listing listing{reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), columns_of(queue),
                    at_most, PG_INT64_MIN};
    const bool is_complete = list_jobs(queue, entries, &listing);
    table_close(queue.table, AccessShareLock);
    if (!is_complete) // no WARNING, which each call of a monitor would leave in the log
        ereport(
            NOTICE,
            (errmsg("queue \"%s\" may have more running jobs", NameStr(queue.queue->table)),
             errdetail("The search reads " INT64_FORMAT
                       " entries at most from an end of the index in play, or of the primary key.",
                       entries),
             errhint("Give a higher at_most, of which the search reads a hundred times as "
                     "many.")));
    return 0;
}
