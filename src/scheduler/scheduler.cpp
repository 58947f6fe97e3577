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
#include "scheduler/sweep.hpp"
#include "scheduler/try_transaction.hpp"
#include "server_settings.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

constexpr int64 retry_ms = 1000;  // while the extension is being dropped
constexpr int64 idle_ms = 60'000; // while there is nothing to sweep
// A step of the clock shortens no sleep, and is noticed after this time at the latest
constexpr int64 longest_sleep_ms = 60'000;
constexpr int64 reports_us = 10'000; // between readings of reports, while queues are swept
constexpr int64 step_us = 100'000;   // between readings of requests, while queues are swept

TimestampTz in_ms(int64 ms) {
    return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

// Reads postgresql.conf if the server was asked to. Returns whether that was done.
bool reload_settings() {
    if (!ConfigReloadPending)
        return false;
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
    return true;
}

// Has sessions send their notifications themselves while the scheduler does what may take long. But
// while the scheduler cannot notify, a session's own NOTIFY would hang or fail its commit: a late
// notification is better.
void stop_serving_unless_stuck(int slot) {
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
        take_latch();
        CHECK_FOR_INTERRUPTS();
        MemoryContextReset(context_);
        MemoryContextSwitchTo(context_);
        const std::optional<WakeUp> next = step();
        if (!next)
            return;
        sleep(*next);
    }
}

// Resets the latch before anything is read, and only if the latch is set, so that a signal during
// the last step counts. Without shared memory the latch is the only signal, and each set latch
// costs a reading of the registry, also one that was set by a time limit of our own. A wait inside
// a sweep, for a lock or in a trigger, may reset the latch: then the registry is read after
// ecto_job.safety_interval at the latest.
void Scheduler::take_latch() {
    if (!MyLatch->is_set)
        return;
    ResetLatch(MyLatch);
    wants_registry_ = wants_registry_ || !is_state_shared();
}

std::optional<Scheduler::WakeUp> Scheduler::step() {
    wants_registry_ = reload_settings() || wants_registry_;
    wants_registry_ = take_rescan_request(slot_) || wants_registry_;
    if (must_leave(slot_)) {
        leave(slot_);
        return std::nullopt;
    }
    const bool announced = announce_pending(slot_);
    notice_step_back();
    const bool known = (!wants_registry_ && next_read_ > clock_) || update_registry();
    // While the registry cannot be read, the queues that were read last are swept and served
    if (status_ == RegistryStatus::queues && settings::enabled)
        return sweep_due_queues();

    serve(slot_, false);
    starts_over_ = true;
    if (!announced)
        return WakeUp{in_ms(retry_ms), WakeOn::requests};
    if (!known || !has_nothing_to_do())
        return WakeUp{next_read_, WakeOn::announcements};
    if (may_leave())
        return std::nullopt;
    wants_registry_ = true; // a request has come in the meantime
    return WakeUp{DT_NOBEGIN, WakeOn::everything};
}

// Reads the registry. Returns false if that failed.
bool Scheduler::update_registry() {
    pgstat_report_activity(STATE_RUNNING, "reading the registry of queues");
    stop_serving_unless_stuck(slot_); // another session may have the registry locked
    wants_registry_ = false;
    // The session that signalled has committed, but may not have sent its invalidations yet
    forget_queues();
    RegistrySnapshot snapshot{.extension = extension_};
    const ErrorData *const error = try_transaction([&] {
        // ecto_job.databases is a setting of the launcher
        if (on_demand_ || settings::lists_database(database_name()))
            snapshot = read_registry(extension_, &queues_);
    });
    if (error != nullptr) {
        note_failed_read(error);
        return false;
    }
    read_pause_ms_.reset();
    take_snapshot(snapshot);
    return true;
}

void Scheduler::take_snapshot(const RegistrySnapshot &snapshot) {
    status_ = snapshot.status;
    extension_ = snapshot.extension;
    next_read_ = in_ms(idle_ms);
    switch (status_) {
    case RegistryStatus::queues:
        set_working(slot_, false);
        next_read_ = in_ms(settings::safety_interval_ms);
        queues_.make_unreported_due();
        break;
    case RegistryStatus::changing:
        next_read_ = in_ms(retry_ms);
        break;
    case RegistryStatus::newer:
        set_working(slot_, true);
        break;
    case RegistryStatus::not_enabled:
    case RegistryStatus::no_queues:
    case RegistryStatus::nothing:
        break;
    }
}

void Scheduler::note_failed_read(const ErrorData *error) {
    if (read_pause_ms_.tries() == 0)
        ereport(WARNING, (errcode(error->sqlerrcode),
                          errmsg("reading the queues of database %u failed: %s", MyDatabaseId,
                                 error->message),
                          error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0));
    next_read_ = in_ms(read_pause_ms_.next());
}

bool Scheduler::has_nothing_to_do() const {
    switch (status_) {
    case RegistryStatus::nothing:
    case RegistryStatus::not_enabled:
        return true;
    case RegistryStatus::no_queues:
        return !on_demand_; // create_queue() does not start an on-demand scheduler
    default:
        return false;
    }
}

// Returns whether the scheduler may leave. An on-demand scheduler that was started meanwhile has
// found the lock taken and has left. So the registry is read once more while the lock is free: then
// the work of the other's starter is seen here, or another scheduler has taken the lock.
bool Scheduler::may_leave() {
    if (!on_demand_)
        return try_to_leave(slot_);
    release_advisory_locks();
    return (update_registry() && has_nothing_to_do()) || !try_singleton_lock();
}

// Runs batches, each of the queue that is next, until nothing is due or the step's time is over.
// Takes reports in between. Returns when to do the next step.
Scheduler::WakeUp Scheduler::sweep_due_queues() {
    if (starts_over_)
        queues_.for_each([](WatchedQueue *queue) { queue->agenda.start_over(); });
    starts_over_ = false;
    const TimestampTz began = GetCurrentTimestamp();
    TimestampTz reported = DT_NOBEGIN;
    for (TimestampTz now = began; now < began + step_us; now = GetCurrentTimestamp()) {
        if (reported == DT_NOBEGIN || now >= reported + reports_us) {
            take_reports(now);
            reported = now;
        }
        WatchedQueue *const queue = next_queue(now);
        if (queue == nullptr) {
            serve(slot_, true);
            return next_wake_up(now);
        }
        if (must_leave(slot_))
            break;
        stop_serving_unless_stuck(slot_);
        if (!sweep(queue, now)) {
            next_read_ = DT_NOBEGIN;
            return {in_ms(retry_ms), WakeOn::announcements};
        }
        if (notice_step_back())
            break;
    }
    return {DT_NOBEGIN, WakeOn::everything};
}

// Runs a batch of the queue, and charges its owner for the time. Returns false if the registry is
// to be read.
bool Scheduler::sweep(WatchedQueue *queue, TimestampTz now) {
    const Stopwatch watch;
    const SweepResult result = sweep_queue(queue, queue->agenda.due(now), extension_, slot_);
    shares_.charge(queue->owner, watch.us());
    clean_session();
    announce_pending(slot_);
    if (result == SweepResult::must_exit)
        proc_exit(0);
    MemoryContextReset(context_);
    return result == SweepResult::done;
}

// Returns when the queue is due and its owner does not back off.
TimestampTz Scheduler::time_of(const WatchedQueue *queue) const {
    TimestampTz next = queue->agenda.next();
    for (int i = 0; i < waiting_count_; i++)
        if (waiting_[i].owner == queue->owner)
            next = std::max(next, waiting_[i].until);
    return next;
}

// Returns the queue, of those whose time has come, that is swept first; null: none is due.
WatchedQueue *Scheduler::next_queue(TimestampTz now) const {
    WatchedQueue *first = nullptr;
    Candidate best{};
    queues_.for_each([&](WatchedQueue *queue) {
        const TimestampTz due = time_of(queue);
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

Scheduler::WakeUp Scheduler::next_wake_up(TimestampTz now) const {
    TimestampTz next = std::min(next_read_, next_announcement(now));
    queues_.for_each([&](WatchedQueue *queue) { next = std::min(next, time_of(queue)); });
    return {next, announcements_wait() ? WakeOn::times : WakeOn::everything};
}

void Scheduler::take_reports(TimestampTz now) {
    queues_.for_each([now](WatchedQueue *queue) {
        queue->agenda.limit_wait(now, full_interval_ms(queue) * 1000);
        queue->agenda.reported(take_report(queue->record));
    });
    waiting_count_ = read_backed_off_owners(waiting_, now);
}

// Notices that the clock was set back since the last call, which makes all known times worthless.
// Returns whether it was.
bool Scheduler::notice_step_back() {
    const TimestampTz before = clock_;
    clock_ = GetCurrentTimestamp();
    if (clock_ >= before)
        return false;
    starts_over_ = true;
    next_read_ = DT_NOBEGIN;
    return true;
}

void Scheduler::sleep(const WakeUp &next) {
    if (must_leave(slot_))
        return;
    // A commit that wakes the scheduler pays for a signal. Consumers at work claim without being
    // notified, so no queue need be announced more often than a thousand times a second
    gather_announcements();
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
