// A scheduler's steps. See scheduler.hpp.
#include "scheduler/scheduler.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/queue.hpp"
#include "scheduler/announce.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/singleton_lock.hpp"
#include "scheduler/stopwatch.hpp"
#include "scheduler/try_transaction.hpp"
#include "server_settings.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

// How soon the next step comes while the extension is being created or dropped, and while
// announcing fails in a scheduler that does not sweep
constexpr int64 retry_ms = 1000;
// How often the registry is read while there is nothing to sweep
constexpr int64 idle_ms = 60'000;
// The longest sleep. Setting the clock does not end a sleep, so the scheduler wakes to read the
// clock
constexpr int64 longest_sleep_ms = 60'000;
constexpr int64 reports_us = 10'000; // between two readings of reports within a step
constexpr int64 step_us = 100'000;   // for how long a step begins batches

TimestampTz in_ms(int64 ms) {
    return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

// Reads postgresql.conf if the server was asked to do so. Returns whether it has read the file.
bool reload_settings() {
    if (!ConfigReloadPending)
        return false;
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    return true;
}

// Stops serving before long work, so that sessions send NOTIFY themselves; but not while NOTIFY
// fails, which would hang or fail their commits.
void stop_serving_unless_notify_fails(int slot) {
    serve(slot, announcements_wait());
}

} // namespace

Scheduler::Scheduler(int slot, bool on_demand)
    : slot_(slot), on_demand_(on_demand),
      context_(AllocSetContextCreate(TopMemoryContext, "ecto_job step", ALLOCSET_DEFAULT_SIZES)) {
    queues_.create();
    prepare_announcing();
}

void Scheduler::run() {
    for (;;) {
        reset_latch();
        CHECK_FOR_INTERRUPTS();
        MemoryContextReset(context_);
        MemoryContextSwitchTo(context_);
        const std::optional<NextStep> next = step();
        if (!next)
            return;
        sleep(*next);
    }
}

// Resets the latch, before the step reads anything, so that no later signal is lost.
void Scheduler::reset_latch() {
    if (!MyLatch->is_set)
        return;
    ResetLatch(MyLatch);
    // Without shared memory a set latch is the only request, so the registry is read whatever has
    // set the latch. A wait within a sweep, for a lock or in a trigger, may reset the latch and
    // swallow the request; then the registry is read after ecto_job.safety_interval
    wants_registry_ = wants_registry_ || !is_state_shared();
}

std::optional<Scheduler::NextStep> Scheduler::step() {
    wants_registry_ = reload_settings() || wants_registry_;
    wants_registry_ = take_rescan_request(slot_) || wants_registry_;
    if (must_leave(slot_)) {
        leave(slot_);
        return std::nullopt;
    }
    const bool announced = announce_pending(slot_);
    notice_step_back();
    if (wants_registry_ || next_read_ <= clock_)
        update_registry();
    if (status_ == RegistryStatus::ready && settings::enabled)
        return sweep_due_queues();

    // Does not sweep: is idle, or leaves
    serve(slot_, false);
    starts_over_ = true;
    if (!announced)
        return NextStep{in_ms(retry_ms), WakeOn::requests};
    if (!has_nothing_to_do())
        return NextStep{next_read_, WakeOn::announcements};
    if (leave_if_idle())
        return std::nullopt;
    wants_registry_ = true; // work has come in the meantime
    return NextStep{DT_NOBEGIN, WakeOn::everything};
}

// Reads the registry. If that fails, the queues that were read before are still swept and served,
// and the next try comes later.
void Scheduler::update_registry() {
    pgstat_report_activity(STATE_RUNNING, "reading the registry of queues");
    stop_serving_unless_notify_fails(slot_); // another session may have the registry locked
    wants_registry_ = false;
    // The session that signalled has committed, but may not have sent its invalidations yet, so
    // cached queues may be old
    outdate_queues();
    RegistrySnapshot snapshot{.extension = extension_};
    const ErrorData *const error = try_transaction([&] {
        // A scheduler on demand ignores ecto_job.databases, which directs the launcher
        if (on_demand_ || settings::lists_database(database_name()))
            snapshot = read_registry(extension_, &queues_);
    });
    if (error != nullptr) {
        record_failed_read(error);
        return;
    }
    read_pause_ms_.reset();
    apply_snapshot(snapshot);
}

void Scheduler::apply_snapshot(const RegistrySnapshot &snapshot) {
    status_ = snapshot.status;
    extension_ = snapshot.extension;
    next_read_ = in_ms(idle_ms);
    switch (status_) {
    case RegistryStatus::ready:
        set_state(slot_, SchedulerState::working);
        next_read_ = in_ms(settings::safety_interval_ms);
        queues_.make_unreported_due();
        break;
    case RegistryStatus::changing:
        next_read_ = in_ms(retry_ms);
        break;
    case RegistryStatus::newer:
        set_state(slot_, SchedulerState::outdated);
        break;
    case RegistryStatus::copy:
    case RegistryStatus::no_queues:
    case RegistryStatus::absent_or_disabled:
        break;
    }
}

void Scheduler::record_failed_read(const ErrorData *error) {
    if (read_pause_ms_.tries() == 0)
        ereport(WARNING, (errcode(error->sqlerrcode),
                          errmsg("reading the queues of database %u failed: %s", MyDatabaseId,
                                 error->message),
                          error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0));
    next_read_ = in_ms(read_pause_ms_.next());
}

bool Scheduler::has_nothing_to_do() const {
    if (read_pause_ms_.tries() > 0)
        return false; // the registry could not be read, so there may be queues
    switch (status_) {
    case RegistryStatus::absent_or_disabled:
    case RegistryStatus::copy:
        return true;
    case RegistryStatus::no_queues:
        return !on_demand_; // create_queue() does not start an on-demand scheduler
    default:
        return false;
    }
}

// Leaves, unless work has come since the registry was read. Returns whether the scheduler leaves.
//
// Without a launcher, new work comes with a new scheduler, which ends at once if it finds the lock
// taken. So this scheduler (1) releases the lock, (2) reads the registry again, and (3) takes the
// lock again or leaves. A scheduler that has come before 1 has ended, and 2 sees the changes for
// which it was started. A scheduler that comes after 1 has the lock, and 3 ends this process.
bool Scheduler::leave_if_idle() {
    if (!on_demand_)
        return try_to_leave(slot_);
    release_advisory_locks();
    update_registry();
    return has_nothing_to_do() || !try_singleton_lock();
}

// Runs batches, each of the queue that is first in turn, until no queue is due or the step's time
// is over. Takes the reports of commits in between. Returns when to do the next step.
Scheduler::NextStep Scheduler::sweep_due_queues() {
    if (starts_over_)
        queues_.for_each([](WatchedQueue *queue) { queue->agenda.start_over(); });
    starts_over_ = false;
    const TimestampTz began = GetCurrentTimestamp();
    TimestampTz next_reports = began;
    for (TimestampTz now = began; now < began + step_us; now = GetCurrentTimestamp()) {
        if (now >= next_reports) {
            take_reports(now);
            next_reports = now + reports_us;
        }
        WatchedQueue *const queue = next_queue(now);
        if (queue == nullptr) {
            serve(slot_, true);
            return next_step(now);
        }
        if (must_leave(slot_))
            break;
        stop_serving_unless_notify_fails(slot_);
        if (continue_sweep(queue, now) == AfterBatch::extension_going) {
            // Sweeps nothing until the registry is read again, in a second at the latest
            next_read_ = DT_NOBEGIN;
            return {in_ms(retry_ms), WakeOn::announcements};
        }
        if (notice_step_back())
            break;
    }
    return {DT_NOBEGIN, WakeOn::everything};
}

// Runs the next batch of the queue's sweep, charges the queue's owner for the time, and announces
// what the batch has made AVAILABLE. Does not return if the process is to end.
AfterBatch Scheduler::continue_sweep(WatchedQueue *queue, TimestampTz now) {
    const Stopwatch watch;
    const AfterBatch next = sweep_batch(queue, queue->agenda.due(now), extension_, slot_);
    shares_.charge(queue->owner, watch.us());
    clean_session();
    announce_pending(slot_);
    if (next == AfterBatch::end_process)
        proc_exit(0); // the owner backs off (process.cpp), and the launcher starts another process
    MemoryContextReset(context_);
    return next;
}

// Returns when the queue is due, which is not before its owner's back-off ends.
TimestampTz Scheduler::due_time(const WatchedQueue *queue) const {
    TimestampTz due = queue->agenda.next();
    for (int i = 0; i < backed_off_count_; i++)
        if (backed_off_[i].owner == queue->owner)
            due = std::max(due, backed_off_[i].until);
    return due;
}

// Returns the queue that is first in turn of those that are due; null: none is due.
WatchedQueue *Scheduler::next_queue(TimestampTz now) const {
    WatchedQueue *first = nullptr;
    Candidate best{};
    queues_.for_each([&](WatchedQueue *queue) {
        const TimestampTz due = due_time(queue);
        if (due > now)
            return;
        const Candidate candidate{queue->owner, shares_.used_by(queue->owner), due};
        if (first == nullptr || goes_before(candidate, best)) {
            first = queue;
            best = candidate;
        }
    });
    return first;
}

Scheduler::NextStep Scheduler::next_step(TimestampTz now) const {
    TimestampTz next = std::min(next_read_, next_announcement(now));
    queues_.for_each([&](WatchedQueue *queue) { next = std::min(next, due_time(queue)); });
    // While NOTIFY fails, a new announcement need not wake the scheduler
    return {next, announcements_wait() ? WakeOn::times : WakeOn::everything};
}

void Scheduler::take_reports(TimestampTz now) {
    queues_.for_each([now](WatchedQueue *queue) {
        queue->agenda.limit_wait(now, full_interval_ms(queue) * 1000);
        queue->agenda.reported(take_report(queue->record));
    });
    backed_off_count_ = read_backed_off_owners(backed_off_, now);
}

// Makes everything due if the clock was set back since the last call, since the known times are
// times of the old clock. Returns whether the clock was set back.
bool Scheduler::notice_step_back() {
    const TimestampTz before = clock_;
    clock_ = GetCurrentTimestamp();
    if (clock_ >= before)
        return false;
    starts_over_ = true;
    next_read_ = DT_NOBEGIN;
    return true;
}

void Scheduler::sleep(const NextStep &next) {
    if (must_leave(slot_))
        return;
    // Waits some milliseconds, so that one announcement covers many commits. A thousand
    // announcements a second are enough, since busy consumers claim without being notified
    pause_after_announcing();
    const TimestampTz now = GetCurrentTimestamp();
    const TimestampTz latest = TimestampTzPlusMilliseconds(now, longest_sleep_ms);
    const TimestampTz until = begin_sleep(slot_, std::min(next.at, latest), next.on);
    if (until > now) {
        pgstat_report_activity(STATE_IDLE, nullptr);
        WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT,
                  TimestampDifferenceMilliseconds(now, until), wait_event());
    }
    end_sleep(slot_);
}

} // namespace ecto_job
