// The scheduler of one database: what the scheduler knows between its steps, and what a step does.
// README.md in this directory draws its states.
#pragma once

#include <optional>

#include "core/backoff.hpp"
#include "core/fairness.hpp"
#include "pg/pg.hpp"
#include "scheduler/registry_snapshot.hpp"
#include "scheduler/watched_queues.hpp"
#include "shared/mailbox.hpp"
#include "shared/owner_backoff.hpp"

namespace ecto_job {

class Scheduler {
public:
    // Takes a slot that the process is attached to, and whether start_scheduler() and no launcher
    // has started it (`on_demand`). One in a process, which is connected to its database.
    Scheduler(int slot, bool on_demand);

    // Runs steps until there is nothing to do, or the scheduler is asked to leave.
    void run();

private:
    struct WakeUp {
        TimestampTz at;
        WakeOn on;
    };

    void take_latch();
    // Returns when to do the next step; nullopt: the scheduler leaves.
    std::optional<WakeUp> step();
    bool update_registry();
    void take_snapshot(const RegistrySnapshot &snapshot);
    void note_failed_read(const ErrorData *error);
    bool has_nothing_to_do() const;
    bool may_leave();
    WakeUp sweep_due_queues();
    bool sweep(WatchedQueue *queue, TimestampTz now);
    WatchedQueue *next_queue(TimestampTz now) const;
    TimestampTz time_of(const WatchedQueue *queue) const;
    WakeUp next_wake_up(TimestampTz now) const;
    void take_reports(TimestampTz now);
    bool notice_step_back();
    void sleep(const WakeUp &next);

    int slot_;
    bool on_demand_;
    MemoryContext context_; // of a step
    WatchedQueues queues_;
    Shares shares_;
    BackedOffOwner waiting_[max_owner_backoffs]; // owners whose code has ended a scheduler
    int waiting_count_ = 0;

    RegistryStatus status_ = RegistryStatus::changing; // until the registry is read
    Oid extension_ = InvalidOid;
    bool wants_registry_ = true;          // something has changed
    TimestampTz next_read_ = DT_NOBEGIN;  // of the registry, even if nothing has changed
    Backoff read_pause_ms_{2000, 60'000}; // while reading it fails
    bool starts_over_ = true;        // at the start, after a pause, and when the clock was set back
    TimestampTz clock_ = DT_NOBEGIN; // when it was last read
};

} // namespace ecto_job
