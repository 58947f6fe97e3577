// A pass through a queue's table. See retention.hpp.
#include "queue/retention.hpp"

#include "queue/run_statement.hpp"
#include "queue/subtransaction.hpp"

namespace ecto_job {

namespace {

constexpr int most_windows = 20; // of a batch that finds nothing
constexpr int most_faults = 20;  // of a batch, each of which costs some subtransactions

struct Window {
    int64 rows;
    int64 last; // id
    Datum *old; // ids of jobs to be deleted, ascending
    int64 old_count;
};

Window read_window(Queue *queue, int64 from, TimestampTz failed_before, int64 limit) {
    run(queue, Statement::failed_jobs_of_window,
        {.id = from, .failed_before = failed_before, .limit = limit});
    const Rows rows;
    const Column<Int8> id(rows, "id");
    const Column<Bool> is_old(rows, "is_old");
    Window window{static_cast<int64>(rows.size()), from,
                  static_cast<Datum *>(palloc((rows.size() + 1) * sizeof(Datum))), 0};
    for (uint64 row = 0; row < rows.size(); row++) {
        window.last = id[row].value_or(window.last);
        if (is_old[row].value_or(false))
            window.old[window.old_count++] = Int64GetDatum(window.last);
    }
    SPI_freetuptable(SPI_tuptable);
    return window;
}

struct Removal {
    Queue *queue;
    TimestampTz failed_before;
    int64 deleted = 0;
    int faults = 0;
    int64 last_fault = 0;       // id
    int64 first_fault = 0;      // id
    ErrorData *error = nullptr; // of the first fault
};

// Deletes the jobs, in halves where one of them raises an error.
void remove(Removal *removal, Datum *ids, int64 count) {
    if (count == 0 || removal->faults == most_faults)
        return;
    uint64 deleted = 0;
    ErrorData *const error = in_subtransaction([&] {
        deleted = run(removal->queue, Statement::delete_failed_jobs,
                      {.ids = bigint_array(ids, count), .failed_before = removal->failed_before});
    });
    if (error == nullptr) {
        removal->deleted += static_cast<int64>(deleted);
    } else if (count > 1) {
        FreeErrorData(error);
        remove(removal, ids, count / 2);
        remove(removal, ids + count / 2, count - count / 2);
    } else {
        removal->last_fault = DatumGetInt64(ids[0]);
        if (removal->faults++ == 0) {
            removal->first_fault = removal->last_fault;
            removal->error = error;
        }
    }
}

void warn(const Removal &removal) {
    ereport(WARNING,
            (errcode(removal.error->sqlerrcode),
             errmsg("FAILED job " INT64_FORMAT " of queue \"%s\" is kept beyond failed_retention: "
                    "%s",
                    removal.first_fault, NameStr(removal.queue->table), removal.error->message),
             removal.error->detail != nullptr ? errdetail_internal("%s", removal.error->detail) : 0,
             errhint("Delete what refers to the job, or repair what refuses its DELETE. There may "
                     "be more such jobs; the others are deleted.")));
}

} // namespace

PurgeResult purge_failed_jobs(Queue *queue, PurgePass *pass, TimestampTz now, int64 limit) {
    const std::optional<int64> retention_ms = queue->options.failed_retention_ms;
    if (!retention_ms)
        return {.deleted = 0, .at_end = true};
    const TimestampTz failed_before = TimestampTzPlusMilliseconds(now, -*retention_ms);
    for (int i = 0; i < most_windows; i++) {
        const Window window = read_window(queue, pass->from, failed_before, limit);
        Removal removal{.queue = queue, .failed_before = failed_before};
        remove(&removal, window.old, window.old_count);
        const bool stopped = removal.faults == most_faults;
        pass->from = stopped ? removal.last_fault : window.last;
        if (removal.error != nullptr && !pass->warned) {
            warn(removal);
            pass->warned = true;
        }
        pfree(window.old);
        const bool at_end = window.rows < limit && !stopped;
        if (at_end || window.old_count > 0)
            return {.deleted = removal.deleted, .at_end = at_end};
    }
    return {.deleted = 0, .at_end = false};
}

} // namespace ecto_job
