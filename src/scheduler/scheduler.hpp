// The scheduler of one database: what the scheduler knows between its steps, and what a step does.
// README.md in this directory describes the states of its process.
#pragma once

#include <optional>

#include "core/backoff.hpp"
#include "core/fairness.hpp"
#include "pg/pg.hpp"
#include "scheduler/registry_snapshot.hpp"
#include "scheduler/sweep.hpp"
#include "scheduler/watched_queues.hpp"
#include "shared/mailbox.hpp"
#include "shared/owner_backoff.hpp"

namespace ecto_job {

class Scheduler {
public:
    // Makes the scheduler of this process, which is connected to its database and attached to
    // `slot`; once in a process. `on_demand`: start_scheduler() has started the process, since
    // there is no launcher.
    Scheduler(int slot, bool on_demand);

    // Runs steps until the scheduler leaves.
    void run();

private:
    // When the next step comes: at this time, or earlier, by a report of the kind `on`.
    struct NextStep {
        TimestampTz at;
        WakeOn on;
    };

    void reset_latch();
    // Returns when to do the next step; nullopt: the scheduler leaves.
    std::optional<NextStep> step();
    void update_registry();
    void apply_snapshot(const RegistrySnapshot &snapshot);
    void record_failed_read(const ErrorData *error);
    bool has_nothing_to_do() const;
    bool leave_if_idle();
    NextStep sweep_due_queues();
    AfterBatch continue_sweep(WatchedQueue *queue, TimestampTz now);
    WatchedQueue *next_queue(TimestampTz now) const;
    TimestampTz due_time(const WatchedQueue *queue) const;
    NextStep next_step(TimestampTz now) const;
    void take_reports(TimestampTz now);
    bool notice_step_back();
    void sleep(const NextStep &next);

    int slot_;
    bool on_demand_;
    MemoryContext context_; // of a step
    WatchedQueues queues_;
    Shares shares_;
    BackedOffOwner backed_off_[max_owner_backoffs]; // owners whose code has ended a scheduler
    int backed_off_count_ = 0;

    // Before the first reading the scheduler is idle, as while the extension is changing
    RegistryStatus status_ = RegistryStatus::changing;
    Oid extension_ = InvalidOid;
    bool wants_registry_ = true;          // read it in this step: something may have changed
    TimestampTz next_read_ = DT_NOBEGIN;  // when to read it even if nothing seems to have changed
    Backoff read_pause_ms_{2000, 60'000}; // between tries while reading it fails
    bool starts_over_ = true;             // forget the agendas' times: sweep every queue
    TimestampTz clock_ = DT_NOBEGIN;      // the time when the clock was last read
};

} // namespace ecto_job
