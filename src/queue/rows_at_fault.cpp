// The search for rows at fault. See rows_at_fault.hpp.
#include "queue/rows_at_fault.hpp"

#include <algorithm>

#include "pg/text.hpp"
#include "queue/notifications.hpp"
#include "queue/plans.hpp"
#include "queue/subtransaction.hpp"
#include "server_settings.hpp"
#include "shared/queue_records.hpp"

namespace ecto_job {

namespace {

// The job whose single change runs now; 0: none. Stays set if a time limit cancels the change.
int64 single_job = 0;

struct Fault {
    int64 id;
    ErrorData *error; // null: there was no error, but the row is unchanged
};

struct Pass {
    Queue *queue;
    const Selection *selection;
    ErrorData *cause;             // the error of the whole selection; null: there was none
    std::optional<JobKey> behind; // where the walk begins; nullopt: at its start
    Taken taken;
    int fault_count;
    Fault faults[most_skipped];
};

bool is_claim(const Pass *pass) {
    return pass->selection->walk == Walk::claims;
}

bool is_full(const Pass *pass) {
    return pass->fault_count == most_skipped;
}

// Makes the statement begin behind the key. Claims read upwards, so their lower bound moves; leases
// are read downwards, so their upper bound moves.
void begin_statement_behind(Arguments *arguments, Walk walk, const JobKey &key) {
    if (walk == Walk::scheduled) {
        arguments->schedule = key.schedule;
        arguments->id = key.id;
    } else if (walk == Walk::claims) {
        arguments->from = std::max(*arguments->from, key);
    } else {
        arguments->to = std::min(*arguments->to, key);
    }
}

uint64 run_with(const Pass *pass, Statement statement, Datum *ids, int64 count,
                std::optional<int64> limit) {
    Arguments arguments = pass->selection->arguments;
    arguments.ids = bigint_array(ids, count);
    arguments.limit = limit;
    if (pass->behind)
        begin_statement_behind(&arguments, pass->selection->walk, *pass->behind);
    if (pass->behind && statement == Statement::select_scheduled_jobs)
        statement = Statement::select_scheduled_after;
    return run(pass->queue, statement, arguments);
}

void add_fault(Pass *pass, int64 id, ErrorData *error) {
    if (is_full(pass))
        return;
    pass->faults[pass->fault_count++] = {id, error};
}

bool below(Datum a, Datum b) {
    return DatumGetInt64(a) < DatumGetInt64(b);
}

void copy_ids_behind(Taken *taken, const Taken &part) {
    const Size bytes = static_cast<Size>(taken->count + part.count + 1) * sizeof(Datum);
    taken->ids = static_cast<Datum *>(taken->ids == nullptr
                                          ? MemoryContextAllocHuge(CurrentMemoryContext, bytes)
                                          : repalloc_huge(taken->ids, bytes));
    std::copy_n(part.ids, part.count, taken->ids + taken->count);
}

// Adds the jobs that the last statement has changed to those that were taken. The others of `ids`
// are at fault, since a trigger has kept them as they are.
void add_taken(Pass *pass, const Datum *ids, int64 count) {
    const Taken part = taken_ids();
    std::sort(part.ids, part.ids + part.count, below);
    for (int64 i = 0; i < count && part.count < count; i++)
        if (!std::binary_search(part.ids, part.ids + part.count, ids[i], below))
            add_fault(pass, DatumGetInt64(ids[i]), nullptr);
    if (is_claim(pass))
        copy_ids_behind(&pass->taken, part);
    pass->taken.count += part.count;
    if (pass->selection->on_change != nullptr)
        pass->selection->on_change(pass->queue, pass->selection->context);
    pfree(part.ids);
    SPI_freetuptable(SPI_tuptable);
}

void change(Pass *pass, Datum *ids, int64 count) {
    if (count == 0 || is_full(pass))
        return;
    single_job = count == 1 ? DatumGetInt64(ids[0]) : 0;
    ErrorData *const error = in_subtransaction(
        [&] { run_with(pass, pass->selection->change, ids, count, std::nullopt); });
    if (error == nullptr)
        add_taken(pass, ids, count);
    single_job = 0; // the change has ended
    if (error == nullptr)
        return;
    if (count == 1) {
        add_fault(pass, DatumGetInt64(ids[0]), error);
    } else {
        FreeErrorData(error);
        change(pass, ids, count / 2);
        change(pass, ids + count / 2, count - count / 2);
    }
}

// Selects jobs and changes them. Returns false if there are none.
bool select_and_change(Pass *pass, std::optional<int64> limit) {
    Taken selected{};
    Datum skipped[2 * most_skipped];
    int skipped_count = skipped_ids(pass->queue->oid, skipped);
    for (int i = 0; i < pass->fault_count; i++)
        skipped[skipped_count++] = Int64GetDatum(pass->faults[i].id);
    ErrorData *const error = in_subtransaction([&] {
        run_with(pass, pass->selection->select, skipped, skipped_count, limit);
        selected = taken_ids();
        SPI_freetuptable(SPI_tuptable);
    });
    if (error != nullptr) // the selection itself has failed, so the first error counts
        ReThrowError(pass->cause != nullptr ? pass->cause : error);
    change(pass, selected.ids, selected.count);
    return selected.count > 0;
}

// Returns how many more jobs are to be taken; nullopt: all.
std::optional<int64> left_to_take(const Pass *pass) {
    const std::optional<int64> &limit = pass->selection->arguments.limit;
    return limit ? std::optional(*limit - pass->taken.count) : std::nullopt;
}

bool has_room(const Pass *pass) {
    return !is_full(pass) && left_to_take(pass).value_or(1) > 0;
}

void walk_on(Pass *pass) {
    const bool all = !pass->selection->arguments.limit;
    while (has_room(pass))
        if (!select_and_change(pass, left_to_take(pass)) || all)
            break;
}

// Remembers the last job that this pass has tried: the next pass begins behind it.
void remember_end(const Pass *pass, bool in_order) {
    const Walk walk = pass->selection->walk;
    if (run(pass->queue, Statement::key_of_job, {.id = pass->faults[most_skipped - 1].id}) != 1)
        return;
    JobKey key = KeyColumns(Rows())[0];
    // Jobs of the same schedule were tried in no order: begin at the first id of that schedule
    if (walk == Walk::scheduled && !in_order)
        key.id = lowest_key.id;
    // Sweeps keep the position for the safety interval, which by default outlasts the pauses after
    // failures, so that the next pass still finds the position. Claims keep the position for a
    // minute only, since new jobs of a higher priority lie before it
    constexpr int64 claims_ms = 60'000;
    set_walk_start(pass->queue->oid, walk, key,
                   is_claim(pass) ? claims_ms : settings::safety_interval_ms);
}

// Walks from where the last full pass has ended, and then from the start.
void walk(Pass *pass) {
    const Walk walk = pass->selection->walk;
    if (const JobKey *const known = walk_start(pass->queue->oid, walk)) {
        pass->behind = *known;
        walk_on(pass);
        if (is_full(pass))
            return remember_end(pass, true);
        if (!has_room(pass))
            return;
        pass->behind = std::nullopt;
        reset_walk_start(pass->queue->oid, walk);
    }
    walk_on(pass);
    if (is_full(pass))
        remember_end(pass, false);
}

const text *text_of_error(const ErrorData *error) {
    const char *const message = error->message != nullptr ? error->message : "unknown error";
    return clipped_text(message, static_cast<int>(strlen(message)), error_bytes);
}

bool set_failed(Pass *pass, const Fault &fault) {
    bool failed = false;
    ErrorData *const error = in_subtransaction([&] {
        failed = run(pass->queue, Statement::fail_selected_job,
                     {.now = pass->selection->arguments.now,
                      .id = fault.id,
                      .error = text_of_error(fault.error)}) == 1 &&
                 StateColumn(Rows())[0] == State::failed;
    });
    if (error != nullptr || !failed)
        return false;
    send_notification(pass->queue, Notification::failed,
                      Rows().only().get<Shown>("notify").value_or(nullptr));
    return true;
}

const char *reason_of(const Fault &fault) {
    return fault.error != nullptr && fault.error->message != nullptr
               ? fault.error->message
               : "a trigger or policy of the table keeps it as it is";
}

void warn(const Pass *pass, const Fault &first, int count) {
    const char *const table = NameStr(pass->queue->table);
    ereport(WARNING,
            (count == 1 ? errmsg("job " INT64_FORMAT " of queue \"%s\" is skipped: %s", first.id,
                                 table, reason_of(first))
                        : errmsg("%d jobs of queue \"%s\" are skipped; of job " INT64_FORMAT ": %s",
                                 count, table, first.id, reason_of(first)),
             first.error != nullptr && first.error->detail != nullptr
                 ? errdetail_internal("%s", first.error->detail)
                 : 0,
             first.error != nullptr && first.error->context != nullptr
                 ? errcontext("%s", first.error->context)
                 : 0,
             errhint("Repair the job, or what refuses its change. It is tried again when the "
                     "table's definition changes, and from time to time.")));
}

bool is_at_fault_itself(const Pass *pass, const Fault &fault) {
    if (fault.error == nullptr)
        return false;
    return pass->taken.count > 0 ||
           (pass->fault_count == 1 && is_data_error(fault.error->sqlerrcode));
}

// Skips a job for a while. Returns false if the job was skipped already.
bool skip(const Pass *pass, const Fault &fault) {
    int64 for_ms = settings::safety_interval_ms; // other jobs could be changed
    if (fault.error == nullptr)
        for_ms = 1000; // a trigger has kept the job, which may wait for something
    else if (pass->taken.count == 0)
        for_ms = 10'000; // all have raised errors: the cause may lie outside of the table
    return skip_job(pass->queue->oid, fault.id, for_ms);
}

// Returns the first fault with an error, or the last one; null if there is none.
const Fault *fault_with_error(const Pass *pass, bool last) {
    const Fault *found = nullptr;
    for (int i = 0; i < pass->fault_count; i++)
        if (pass->faults[i].error != nullptr && (last || found == nullptr))
            found = &pass->faults[i];
    return found;
}

void fail_or_skip(Pass *pass) {
    const Fault *first = nullptr;
    int newly_skipped = 0;
    for (int i = 0; i < pass->fault_count; i++) {
        const Fault &fault = pass->faults[i];
        if (is_at_fault_itself(pass, fault) && set_failed(pass, fault))
            pass->taken.failed++;
        else if (skip(pass, fault) && newly_skipped++ == 0)
            first = &fault;
    }
    if (newly_skipped > 0)
        warn(pass, *first, newly_skipped);
}

// Returns whether a right or an object is missing, which is the fault of the caller or of the
// table's owner, and of no job.
bool is_missing_something(const ErrorData *error) {
    return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION;
}

void report_pass(const Pass *pass, const char *reason) {
    record_skipped_jobs(pass->queue->oid, {is_claim(pass), skipped_count(pass->queue->oid), reason,
                                           pass->taken.count + pass->taken.failed > 0});
}

// Raises the error of a pass that has changed nothing, if a right or an object is missing, or if
// the pass is full.
void raise_if_hopeless(const Pass *pass) {
    const Fault *const first = fault_with_error(pass, false);
    if (pass->taken.count > 0 || first == nullptr)
        return;
    const bool missing = is_missing_something(first->error);
    if (!missing && !is_full(pass))
        return;
    for (int i = 0; i < pass->fault_count && !missing; i++)
        skip(pass, pass->faults[i]); // so that the next call reaches the next jobs
    if (is_claim(pass))              // a sweep that raises counts as failed itself
        report_pass(pass, reason_of(*first));
    ReThrowError(missing && pass->cause != nullptr ? pass->cause : first->error);
}

} // namespace

void forget_single_job() {
    single_job = 0;
}

void skip_slow_job(Oid queue, const char *name) {
    if (single_job == 0)
        return;
    const char *const reason = "its change took longer than ecto_job.sweep_timeout";
    if (skip_job(queue, single_job, settings::safety_interval_ms))
        ereport(WARNING,
                (errmsg("job " INT64_FORMAT " of queue \"%s\" is skipped: %s", single_job, name,
                        reason),
                 errhint("A trigger of the table may be slow. The job is tried again when the "
                         "table's definition changes, and from time to time.")));
    record_skipped_jobs(queue, {.by_claims = false,
                                .count = skipped_count(queue),
                                .reason = reason,
                                .others_move = false});
}

bool skips_jobs(const Queue *queue) {
    return skipped_count(queue->oid) > 0;
}

void run_directly(Queue *queue, const Selection &selection) {
    MemoryContext const context = CurrentMemoryContext;
    PG_TRY();
    { run(queue, selection.whole, selection.arguments); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData *const error = CopyErrorData();
        // The session or the server is at fault, so the next claim need not isolate rows
        if (!is_row_error(error->sqlerrcode))
            PG_RE_THROW();
        queue->claims_run_directly = false;
        // No job is at fault, so the error gets no HINT to call again
        if (is_missing_something(error))
            PG_RE_THROW();
        FlushErrorState();
        record_skipped_jobs(queue->oid, {.by_claims = true,
                                         .count = skipped_count(queue->oid),
                                         .reason = reason_of({0, error})});
        const char *const hint = "Call again: the next call skips the job at fault.";
        error->hint = error->hint == nullptr ? pstrdup(hint) : psprintf("%s %s", error->hint, hint);
        ReThrowError(error);
    }
    PG_END_TRY();
}

ErrorData *run_in_subtransaction(Queue *queue, const Selection &selection) {
    return in_subtransaction([&] { run(queue, selection.whole, selection.arguments); });
}

Taken take_by_halves(Queue *queue, const Selection &selection, const Taken &taken_before,
                     ErrorData *cause) {
    auto *const pass = static_cast<Pass *>(palloc0(sizeof(Pass)));
    pass->queue = queue;
    pass->selection = &selection;
    pass->taken = taken_before;
    pass->cause = cause;
    walk(pass);
    raise_if_hopeless(pass);
    fail_or_skip(pass);
    const Fault *const last = fault_with_error(pass, true);
    report_pass(pass, last != nullptr ? reason_of(*last) : nullptr);
    return pass->taken;
}

int64 fail_or_skip_job(Queue *queue, const Selection &selection, int64 id, ErrorData *error,
                       bool others_changed) {
    auto *const pass = static_cast<Pass *>(palloc0(sizeof(Pass)));
    pass->queue = queue;
    pass->selection = &selection;
    pass->taken.count = others_changed ? 1 : 0;
    add_fault(pass, id, error);
    fail_or_skip(pass);
    return pass->taken.failed;
}

Taken taken_ids() {
    const Rows rows;
    const Column<Int8> id(rows, "id");
    Taken taken{};
    taken.count = static_cast<int64>(rows.size());
    taken.ids = static_cast<Datum *>(
        MemoryContextAllocHuge(CurrentMemoryContext, (rows.size() + 1) * sizeof(Datum)));
    // Null where the table's owner has dropped NOT NULL
    for (uint64 row = 0; row < rows.size(); row++)
        taken.ids[row] = Int64GetDatum(id[row].value_or(0));
    return taken;
}

} // namespace ecto_job
