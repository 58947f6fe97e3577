// The keys of unique jobs. See unique_jobs.hpp.
#include "queue/unique_jobs.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "queue/pending_changes.hpp"
#include "queue/subtransaction.hpp"

namespace ecto_job {

namespace {

enum class Waiting {
    nothing,
    job,        // a committed job, or one of this transaction
    uncommitted // an open transaction has let the job wait, or ends its waiting
};

// Returns whether an index finds the jobs of a key. `column` is 0 if the table's owner has dropped
// the column; an expression's number is 0, too, so 0 is excluded. If the owner has given the column
// a type whose values are no texts, the operator class has another type.
bool is_key_index(Relation index, AttrNumber column) {
    const FormData_pg_index *const form = index->rd_index;
    return AttributeNumberIsValid(column) && form->indisunique && form->indisvalid &&
           form->indnkeyatts == 1 && form->indkey.values[0] == column &&
           index->rd_opcintype[0] == TEXTOID;
}

// Returns whether the row is a job that waits. An index of the owner's own may have other rows,
// too.
bool is_waiting(Relation table, TupleTableSlot *slot) {
    const Row job = row_of(table, ExecFetchSlotHeapTuple(slot, false, nullptr));
    const std::optional<const char *> text = job.find<AnyText>("state");
    const std::optional<State> state = text ? state_from(*text) : std::nullopt;
    return state == State::available || state == State::scheduled || state == State::retry;
}

// Returns what waits under the key by the index. Reads with a dirty snapshot, as unique indexes do,
// which shows the rows of open transactions.
Waiting read_index(Relation table, Relation index, text *key) {
    TupleTableSlot *const slot = table_slot_create(table, nullptr);
    SnapshotData dirty;
    InitDirtySnapshot(dirty);
    ScanKeyData wanted;
    ScanKeyEntryInitialize(&wanted, 0, 1, BTEqualStrategyNumber, TEXTOID, index->rd_indcollation[0],
                           F_TEXTEQ, PointerGetDatum(key));
    IndexScanDesc const scan = begin_index_scan(table, index, &dirty, 1);
    index_rescan(scan, &wanted, 1, nullptr, 0);
    Waiting found = Waiting::nothing;
    while (found != Waiting::uncommitted && index_getnext_slot(scan, ForwardScanDirection, slot))
        if (is_waiting(table, slot))
            found = TransactionIdIsValid(dirty.xmin) || TransactionIdIsValid(dirty.xmax)
                        ? Waiting::uncommitted
                        : Waiting::job;
    index_endscan(scan);
    ExecDropSingleTupleTableSlot(slot);
    return found;
}

// Returns what waits under the key, without waiting itself. The table is locked.
Waiting what_waits(const Queue *queue, text *key) {
    const AttrNumber column = get_attnum(queue->oid, queue->layout.in_play ? "waiting_key" : "key");
    Relation const table = table_open(queue->oid, NoLock);
    List *const indexes = RelationGetIndexList(table);
    Waiting found = Waiting::nothing;
    for (int i = 0; i < list_length(indexes) && found == Waiting::nothing; i++) {
        Relation const index = index_open(list_nth_oid(indexes, i), AccessShareLock);
        if (is_key_index(index, column))
            found = read_index(table, index, key);
        index_close(index, AccessShareLock);
    }
    table_close(table, NoLock);
    return found;
}

// Adds a HINT to the errors of a table that is not made for unique jobs.
void hint_at_table(void *queue) {
    const auto *const table = static_cast<const Queue *>(queue);
    if (table->layout.in_play && geterrcode() == ERRCODE_CHECK_VIOLATION)
        errhint("If it is the constraint that key is null, the table was created before version "
                "0.3.0: after ALTER EXTENSION ecto_job UPDATE its owner calls "
                "ecto_job.upgrade_queue('%s').",
                qualified_name(table));
    else if (geterrcode() == ERRCODE_INVALID_COLUMN_REFERENCE)
        errhint("The table lacks the index of unique jobs: CREATE UNIQUE INDEX CONCURRENTLY ON %s "
                "%s;",
                qualified_name(table),
                table->layout.in_play
                    ? "(waiting_key) WHERE waiting_key IS NOT NULL"
                    : "(key) WHERE key IS NOT NULL AND state IN ('SCHEDULED', 'AVAILABLE', "
                      "'RETRY')");
}

[[noreturn]] void raise_key_taken(const Queue *queue, const text *key) {
    char *const shown = text_to_cstring(key);
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("a job of queue \"%s\" waits under key \"%s\" already",
                           NameStr(queue->table), shown),
                    errhint("It will do the work; on_conflict => 'keep' returns its id.")));
}

// Reports the job of the last statement, as its trigger would. Claims and sweeps may skip the job
// while this transaction has locked the row, so the commit reports the job again. A due job counts
// as AVAILABLE, since EctoJob's library may activate it meanwhile.
void report_waiting_job(const Queue *queue) {
    const Rows rows;
    const JobKey place = KeyColumns(rows)[0];
    const bool available = StateColumn(rows)[0] == State::available;
    if (available || place.schedule <= GetCurrentTimestamp())
        record_available(queue->oid, place, true);
    if (!available)
        record_due(queue->oid, place.schedule);
}

bool add_or_keep(Queue *queue, const Arguments &job, OnConflict on_conflict) {
    // The job that waits may be started, and its successor enqueued, between two statements. Only a
    // job that is hidden from the caller is never found
    constexpr int tries = 1000;
    for (int i = 0; i < tries; i++) {
        CHECK_FOR_INTERRUPTS();
        if (run(queue, Statement::enqueue_unless_waiting, job) == 1)
            return true;
        auto *const key = static_cast<text *>(const_cast<void *>(job.key));
        if (on_conflict == OnConflict::error) {
            if (what_waits(queue, key) != Waiting::nothing)
                raise_key_taken(queue, key);
        } else if (run(queue, Statement::lock_waiting_job, {.key = key}) == 1) {
            report_waiting_job(queue);
            return true;
        }
    }
    return false;
}

// Runs a statement on one job with a key. Returns null, or the error of a unique index.
ErrorData *run_alone(Queue *queue, Statement statement, Arguments arguments) {
    arguments.keyed = true;
    ErrorData *const error = in_subtransaction([&] { run(queue, statement, arguments); });
    if (error != nullptr && error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
        ReThrowError(error);
    return error;
}

// Puts the job off, and returns how that has ended.
WaitAgain postpone(Queue *queue, const Selection &sweep, const HeldJob &job) {
    constexpr int64 postponed_ms = 1000;
    if (sweep.walk == Walk::orphans) // the job has kept its lease, by which it is found again
        return {WaitAgain::postponed, nullptr};
    ErrorData *const error = in_subtransaction([&] {
        run(queue, Statement::postpone_wait_again,
            {.id = job.id,
             .expires = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), postponed_ms)});
    });
    const bool done = error == nullptr && SPI_processed == 1;
    return {done ? WaitAgain::postponed : WaitAgain::at_fault, error};
}

} // namespace

bool enqueue_unique(Queue *queue, const Arguments &job, OnConflict on_conflict) {
    ErrorContextCallback hint{error_context_stack, hint_at_table, queue};
    error_context_stack = &hint;
    bool taken = false;
    if (on_conflict != OnConflict::replace)
        taken = add_or_keep(queue, job, on_conflict);
    else if (run(queue, Statement::enqueue_or_replace, job) == 1) {
        report_waiting_job(queue);
        taken = true;
    }
    error_context_stack = hint.previous;
    return taken;
}

uint64 run_wait_again(Queue *queue, Statement statement, Arguments arguments) {
    if (const uint64 changed = run(queue, statement, arguments))
        return changed;
    // Between the two statements the other job may be started, so that the job can wait after all
    constexpr int tries = 10;
    ErrorData *error = nullptr;
    for (int i = 0; i < tries; i++) {
        error = run_alone(queue, statement, arguments);
        if (error == nullptr)
            return SPI_processed;
        if (run(queue, Statement::supersede_job,
                {.id = arguments.id, .attempt = arguments.attempt, .lease = arguments.lease}) == 1)
            return 1;
    }
    ReThrowError(error); // of an index of the owner's own
}

uint64 run_requeue(Queue *queue, Arguments arguments) {
    if (const uint64 changed = run(queue, Statement::requeue, arguments))
        return changed;
    const ErrorData *const error = run_alone(queue, Statement::requeue, arguments);
    if (error == nullptr)
        return SPI_processed;
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("job " INT64_FORMAT " of queue \"%s\" cannot be requeued: %s",
                           *arguments.id, NameStr(queue->table), error->message),
                    errhint("If another job waits under its key, that job will do the work. Delete "
                            "one of the two.")));
}

HeldJobs held_jobs() {
    const Rows rows;
    const Column<Int8> id(rows, "id");
    const Column<Shown> key(rows, "key");
    const StateColumn state(rows);
    HeldJobs held{};
    for (uint64 row = 0; row < rows.size(); row++) {
        const std::optional<const char *> name = key[row];
        if (!name || !is_held(state[row]) || !id[row])
            continue;
        if (held.jobs == nullptr)
            held.jobs = static_cast<HeldJob *>(MemoryContextAllocHuge(
                CurrentMemoryContext, (rows.size() - row) * sizeof(HeldJob)));
        held.jobs[held.count++] = {*id[row], cstring_to_text(*name)};
    }
    if (held.count > 0)
        std::sort(held.jobs, held.jobs + held.count,
                  [](const HeldJob &a, const HeldJob &b) { return a.id > b.id; });
    return held;
}

WaitAgain let_wait_again(Queue *queue, const Selection &sweep, const HeldJob &job) {
    const Waiting waiting = what_waits(queue, job.key);
    if (waiting == Waiting::uncommitted)
        return postpone(queue, sweep, job);
    ErrorData *error = nullptr;
    if (waiting == Waiting::nothing) {
        Datum id = Int64GetDatum(job.id);
        Arguments arguments = sweep.arguments;
        arguments.ids = bigint_array(&id, 1);
        arguments.keyed = true;
        error = in_subtransaction([&] { run(queue, sweep.change, arguments); });
        if (error == nullptr)
            return {SPI_processed == 1 ? WaitAgain::changed : WaitAgain::at_fault, nullptr};
        if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
            return {WaitAgain::at_fault, error};
    }
    ErrorData *const refused =
        in_subtransaction([&] { run(queue, Statement::supersede_job, {.id = job.id}); });
    if (refused == nullptr && SPI_processed == 1)
        return {WaitAgain::superseded, nullptr};
    return {WaitAgain::at_fault, refused != nullptr ? refused : error};
}

} // namespace ecto_job
