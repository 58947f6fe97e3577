// The keys of unique jobs. See unique_jobs.hpp.
#include "queue/unique_jobs.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "pg/text.hpp"
#include "queue/pending_changes.hpp"
#include "queue/skipped_jobs.hpp"
#include "queue/subtransaction.hpp"

namespace ecto_job {

namespace {

enum class Waiting {
    nothing,
    job,        // for all to see, or let wait by this transaction
    uncommitted // another transaction has let it wait, or ends its waiting, and is open
};

const char *key_column(const Queue *queue) {
    return queue->layout.in_play ? "waiting_key" : "key";
}

// The table's owner may have given the column another type, whose values are no texts.
bool is_key_index(Relation index, AttrNumber column) {
    const FormData_pg_index *const form = index->rd_index;
    return form->indisunique && form->indisready && form->indnkeyatts == 1 &&
           form->indkey.values[0] == column && index->rd_opcintype[0] == TEXTOID;
}

// Returns the index that keeps two jobs from waiting under one key; InvalidOid if there is none.
// The table is locked.
Oid key_index(const Queue *queue) {
    const AttrNumber column = get_attnum(queue->oid, key_column(queue));
    Relation const table = table_open(queue->oid, NoLock);
    List *const indexes = RelationGetIndexList(table);
    Oid found = InvalidOid;
    for (int i = 0; i < list_length(indexes); i++) {
        Relation const index = index_open(list_nth_oid(indexes, i), AccessShareLock);
        if (is_key_index(index, column))
            found = RelationGetRelid(index);
        index_close(index, AccessShareLock);
    }
    table_close(table, NoLock);
    return found;
}

// Returns what waits under the key, without waiting itself. Reads the index with the snapshot that
// unique indexes read with, which shows the rows of open transactions.
Waiting what_waits(const Queue *queue, text *key) {
    const Oid index_oid = key_index(queue);
    if (!OidIsValid(index_oid))
        return Waiting::nothing;
    Relation const table = table_open(queue->oid, NoLock);
    Relation const index = index_open(index_oid, AccessShareLock);
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
        found = TransactionIdIsValid(dirty.xmin) || TransactionIdIsValid(dirty.xmax)
                    ? Waiting::uncommitted
                    : Waiting::job;
    index_endscan(scan);
    ExecDropSingleTupleTableSlot(slot);
    index_close(index, AccessShareLock);
    table_close(table, NoLock);
    return found;
}

// Returns whether an error says that another job waits under the key.
bool is_key_taken(const Queue *queue, const ErrorData *error) {
    const Oid index = key_index(queue);
    const char *const name = OidIsValid(index) ? table_name_or_null(index) : nullptr;
    return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->constraint_name != nullptr &&
           name != nullptr && strcmp(error->constraint_name, name) == 0;
}

// Adds a HINT to the errors of a table that is not made for unique jobs.
void hint_at_table(void *queue) {
    const auto *const table = static_cast<const Queue *>(queue);
    if (table->layout.in_play && geterrcode() == ERRCODE_CHECK_VIOLATION)
        errhint("If the table was created before version 0.3.0, its owner calls "
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

// Reports the job that lock_waiting_job has returned, as its trigger would: while it is locked,
// claims and sweeps skip it.
void report_kept(const Queue *queue) {
    const Rows rows;
    const JobKey key = KeyColumns(rows)[0];
    if (StateColumn(rows)[0] == State::available)
        record_available(queue->oid, key, true);
    else
        record_due(queue->oid, key.schedule);
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
            report_kept(queue);
            return true;
        }
    }
    return false;
}

// Runs a statement on one job with a key. Returns null, or the error, if another job waits under
// the key; raises any other error.
ErrorData *run_alone(Queue *queue, Statement statement, Arguments arguments) {
    arguments.keyed = true;
    ErrorData *const error = in_subtransaction([&] { run(queue, statement, arguments); });
    if (error != nullptr && !is_key_taken(queue, error))
        ReThrowError(error);
    return error;
}

void set_failed(Queue *queue, int64 id, std::optional<Micros> now, const ErrorData *cause) {
    const char *const message = cause->message != nullptr ? cause->message : "unknown error";
    run(queue, Statement::fail_selected_job,
        {.now = now,
         .id = id,
         .error = clipped_text(message, static_cast<int>(strlen(message)), error_bytes)});
}

} // namespace

bool enqueue_unique(Queue *queue, const Arguments &job, OnConflict on_conflict) {
    ErrorContextCallback hint{error_context_stack, hint_at_table, queue};
    error_context_stack = &hint;
    const bool taken = on_conflict == OnConflict::replace
                           ? run(queue, Statement::enqueue_or_replace, job) == 1
                           : add_or_keep(queue, job, on_conflict);
    error_context_stack = hint.previous;
    return taken;
}

uint64 run_return(Queue *queue, Statement statement, Arguments arguments) {
    if (const uint64 changed = run(queue, statement, arguments))
        return changed;
    if (run_alone(queue, statement, arguments) == nullptr)
        return SPI_processed;
    return run(queue, Statement::supersede_job,
               {.id = arguments.id, .attempt = arguments.attempt, .lease = arguments.lease});
}

uint64 run_requeue(Queue *queue, Arguments arguments) {
    if (const uint64 changed = run(queue, Statement::requeue, arguments))
        return changed;
    if (run_alone(queue, Statement::requeue, arguments) == nullptr)
        return SPI_processed;
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("job " INT64_FORMAT " of queue \"%s\" cannot be requeued: another job "
                           "waits under its key",
                           *arguments.id, NameStr(queue->table)),
                    errhint("The other job will do the work. Delete one of the two.")));
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

Returned return_job(Queue *queue, Statement change, const Arguments &sweep, const HeldJob &job,
                    bool guarded) {
    constexpr int64 postponed_ms = 1000;
    const Waiting waiting = what_waits(queue, job.key);
    if (waiting == Waiting::uncommitted) {
        run(queue, Statement::postpone_return,
            {.id = job.id,
             .expires = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), postponed_ms)});
        return Returned::postponed;
    }
    if (waiting == Waiting::nothing) {
        Arguments arguments = sweep;
        Datum id = Int64GetDatum(job.id);
        arguments.ids = bigint_array(&id, 1);
        arguments.keyed = true;
        ErrorData *const error = in_subtransaction([&] { run(queue, change, arguments); });
        if (error == nullptr) {
            if (SPI_processed == 0) // a trigger keeps the job, which may wait for something
                skip_job(queue->oid, job.id, postponed_ms);
            return Returned::changed;
        }
        if (!is_key_taken(queue, error)) {
            if (!guarded)
                ReThrowError(error);
            set_failed(queue, job.id, sweep.now, error);
            return Returned::changed;
        }
    }
    run(queue, Statement::supersede_job, {.id = job.id});
    return Returned::superseded;
}

} // namespace ecto_job
