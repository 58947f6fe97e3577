// The agenda of a queue says when which work of this queue is due: a pure function of what commits
// and ended sessions have reported, and of what the batches of sweeps have found. Which of the
// queues with due work comes next is decided by core/fairness. No clock, no lock, no server.
//
// No work is later than reported, and whatever a batch leaves undone becomes due again; a queue has
// at most half of the scheduler's time; and work that cannot be done now is not tried again at
// once. test/unit/agenda_test.cpp states each of these rules as a property.
#pragma once

#include <cstdint>

#include "core/backoff.hpp"
#include "core/key.hpp"
#include "core/times.hpp"

namespace ecto_job {

inline constexpr Micros at_once = minus_infinity;
inline constexpr Micros never = plus_infinity;

// What commits and ended sessions have reported of a queue since the last Report.
struct Report {
    Micros due = never;                 // earliest schedule of a SCHEDULED or RETRY job
    Micros expiry = never;              // earliest end of a lease
    JobKey leased_up_to = lowest_key;   // highest key of a job with a new lease; lowest_key: none
    JobKey orphaned_up_to = lowest_key; // highest key claimed by a session that has ended
};

// The work of a batch.
struct Work {
    bool activate = false; // scheduled jobs that are due
    bool expire = false;   // leases that have ended, up to `leases_up_to`
    bool reclaim = false;  // orphans, jobs of ended sessions: give back, up to `orphans_up_to`
    bool full = false;     // all of the above, and whatever nobody has reported
    bool purge = false;    // FAILED jobs that the queue keeps no longer; never with others
    bool orphans_in_head = false; // up to the end of the queue's head, which the batch reads
    JobKey leases_up_to = lowest_key;
    JobKey orphans_up_to = lowest_key;

    bool empty() const { return !activate && !expire && !reclaim && !purge; }
    bool only_reclaims() const { return reclaim && !full; }
};

enum class BatchEnd : std::uint8_t {
    looked_ahead, // nothing is left of the work, and Found says when there will be more to move
    moved,        // nothing is left to move; the look-ahead follows
    more,         // the batch was full: more may be left to move
    locked,       // another session has the table locked
    gone,         // the table was dropped
    interrupted,  // the extension is being dropped
};

// The earliest time of a job of one kind.
struct Earliest {
    Micros first = never;
    Micros after_sweep = never; // later than swept_at; read only if `first` is not later
};

enum class Orphans : std::uint8_t {
    unknown, // more are left, or none were searched for
    none,
    stuck, // all that are left are locked by other sessions
};

// The times between two passes that delete FAILED jobs: a tenth of the retention, within these
// limits, since a pass reads the whole table.
inline constexpr Micros shortest_purge_pause = 600'000'000;
inline constexpr Micros longest_purge_pause = 86'400'000'000;

// What a batch has found.
struct Found {
    BatchEnd end = BatchEnd::looked_ahead;
    Micros swept_at = 0; // the batch was to move what was due at this time
    Earliest due = {};   // `due`, `expiry` and `last_held` are set by looking ahead
    Earliest expiry = {};
    JobKey last_held = lowest_key; // highest key of a job with a lease, if all leases were read
    Orphans orphans = Orphans::unknown;
    Micros retention = 0; // how long FAILED jobs are kept; 0: for ever
};

// How long a batch took, and what the settings allow.
struct Pace {
    Micros took;
    Micros longest_sweep; // then the queue pauses, even if more is left to move
    Micros full_interval;
};

class Agenda {
public:
    // Takes a report.
    void reported(const Report &report);

    // Returns when work is due; never: not before something is reported.
    Micros next() const;
    // Returns the work that is due; not empty at next() or later.
    Work due(Micros now) const;

    // Takes what a batch of this work has found. An interrupted batch changes nothing.
    void finished(const Work &work, const Found &found, Micros now, const Pace &pace);
    // Takes that a batch has failed: the queue backs off.
    void failed(Micros now);
    // Takes over the number of failures in a row from a former scheduler.
    void resume(std::int32_t failures, Micros last_failure);

    // Makes a full sweep due at once, unless the queue backs off.
    void request_full_sweep();
    // Makes everything due, after a start or a step back of the clock: first the orphans in the
    // queue's head, left by sessions whose end nobody has reported.
    void start_over();
    // Shortens the time to the next full sweep to its limit, after a step back of the clock or a
    // change of a setting.
    void limit_wait(Micros now, Micros full_interval);

    bool is_failing() const { return failures_.tries() > 0; }
    std::int32_t failures() const { return failures_.tries(); }
    Micros next_due() const { return activate_.at; }

private:
    struct Task {
        Micros at = never;
        JobKey up_to = lowest_key;
        Backoff stuck; // jobs that are due do not move: locked, or kept by a trigger
    };

    Micros reclaim_at() const;
    Micros sweep_at() const;
    Micros purge_at() const;
    Micros pause_after(BatchEnd end, const Pace &pace, Micros *so_far);
    void set_next_full_sweep(Micros now, Micros pause);
    void plan_reclaim(const Work &work, const Found &found);
    void plan_purge(const Work &work, const Found &found, Micros now);
    static void plan(Task *task, const Earliest &earliest, Micros swept_at);

    static constexpr Micros longest_lock_pause = 1'000'000;

    Task activate_{.stuck = {1'000'000, 60'000'000}};
    Task expire_{.stuck = {1'000'000, 60'000'000}};
    // A consumer's other connections may have jobs locked, and end when this one does
    Task reclaim_{.stuck = {10'000, 60'000'000}};
    bool orphans_in_head_ = false;
    Micros full_sweep_ = at_once; // of a failing queue: the next try
    Micros full_pause_ = 0;       // from the time when full_sweep_ was set to full_sweep_
    Micros not_before_ = at_once;
    Micros reclaim_not_before_ = at_once;
    Micros purge_ = never;           // when a pass through the table begins, or goes on
    bool swept_since_purge_ = false; // so it is the turn of the purge
    Micros purge_not_before_ = at_once;
    Micros sweep_took_ = 0; // the batches of the current sweep
    Micros purge_took_ = 0; // the batches of the purge since its last pause
    Backoff failures_ = failure_backoff();
    // The transaction that woke the scheduler may have the table locked, and is about to end
    Backoff table_lock_{10'000, longest_lock_pause};
};

} // namespace ecto_job
