// Running selections. See run_selection.hpp.
#include "queue/run_selection.hpp"

#include "queue/notifications.hpp"
#include "queue/unique_jobs.hpp"
#include "shared/queue_records.hpp"
#include "table/triggers.hpp"

namespace ecto_job {

namespace {

// Returns whether a trigger may have kept jobs: a trigger of the table can, and fewer jobs were
// changed than demanded.
bool may_have_missed(const Queue *queue, const Selection &selection, uint64 changed) {
    const std::optional<int64> &limit = selection.arguments.limit;
    return (!limit || static_cast<int64>(changed) < *limit) && may_veto(queue->oid);
}

// A sweep of leases while it runs
struct LeaseSweep {
    const Selection *selection;
    bool isolates_rows;
    EndedLeases ended;
};

// Counts the jobs of the last statement by their new states, and sends their notifications. Jobs
// with a key that the statement has left RESERVED or IN_PROGRESS are not counted.
void count_ended_leases(Queue *queue, EndedLeases *ended) {
    const Rows rows;
    const StateColumn states(rows);
    const Column<Shown> notify(rows, "notify");
    const Column<Shown> key(rows, "key");
    for (uint64 row = 0; row < rows.size(); row++) {
        const std::optional<State> state = states[row];
        if (is_held(state) && key[row]) {
            continue;
        } else if (state == State::failed) {
            ended->failed++;
            send_notification(queue, Notification::failed, notify[row].value_or(nullptr));
        } else if (state == State::retry) {
            ended->retried++;
            send_notification(queue, Notification::retry, notify[row].value_or(nullptr));
        } else {
            ended->available++;
        }
    }
}

// Counts the last statement's jobs, and changes those with a key one by one.
void finish_ended_leases(Queue *queue, void *context) {
    auto *const sweep = static_cast<LeaseSweep *>(context);
    EndedLeases *const ended = &sweep->ended;
    const HeldJobs held = held_jobs();
    count_ended_leases(queue, ended);
    for (int64 i = 0; i < held.count; i++) {
        const WaitAgain done = let_wait_again(queue, *sweep->selection, held.jobs[i]);
        if (done.error != nullptr && !sweep->isolates_rows)
            ReThrowError(done.error);
        if (done.end == WaitAgain::changed)
            count_ended_leases(queue, ended);
        else if (done.end == WaitAgain::superseded)
            ended->superseded++;
        else if (done.end == WaitAgain::at_fault)
            ended->failed += fail_or_skip_job(queue, *sweep->selection, held.jobs[i].id, done.error,
                                              ended->count() > 0);
        SPI_freetuptable(SPI_tuptable);
    }
}

} // namespace

uint64 run_claim(Queue *queue, const Selection &selection) {
    Taken taken_before{};
    ErrorData *cause = nullptr;
    if (!skips_jobs(queue)) {
        const bool isolates_rows = !queue->claims_run_directly;
        if (isolates_rows)
            cause = run_in_subtransaction(queue, selection);
        else
            run_directly(queue, selection);
        queue->claims_run_directly = cause == nullptr;
        if (isolates_rows && cause == nullptr && SPI_processed > 0)
            record_skipped_jobs(queue->oid, {.by_claims = true});
        if (cause == nullptr && !may_have_missed(queue, selection, SPI_processed))
            return SPI_processed;
        if (cause == nullptr)
            taken_before = taken_ids();
    }
    const Taken taken = take_by_halves(queue, selection, taken_before, cause);
    return run(queue, Statement::claimed_jobs, {.ids = bigint_array(taken.ids, taken.count)});
}

Taken run_sweep(Queue *queue, const Selection &selection, bool isolates_rows) {
    Taken taken_before{};
    ErrorData *cause = nullptr;
    // The id of a single job is read before its change, so that skip_slow_job() can skip the job
    // after a timeout
    if (!skips_jobs(queue) && selection.arguments.limit != 1) {
        if (isolates_rows)
            cause = run_in_subtransaction(queue, selection);
        else
            run(queue, selection.whole, selection.arguments);
        if (cause == nullptr) {
            taken_before.count = static_cast<int64>(SPI_processed);
            if (selection.on_change != nullptr)
                selection.on_change(queue, selection.context);
            if (!may_have_missed(queue, selection, static_cast<uint64>(taken_before.count)))
                return taken_before;
        }
    }
    return take_by_halves(queue, selection, taken_before, cause);
}

EndedLeases sweep_leases(Queue *queue, Selection selection, bool isolates_rows) {
    LeaseSweep leases{&selection, isolates_rows, {}};
    selection.on_change = finish_ended_leases;
    selection.context = &leases;
    const Taken taken = run_sweep(queue, selection, isolates_rows);
    leases.ended.failed += taken.failed;
    return leases.ended;
}

} // namespace ecto_job
