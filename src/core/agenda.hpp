// The agenda of a queue says when which work is due: a pure function of what commits and ended
// sessions have reported and of what sweeps have found. No clock, no lock, no server.
//
// A chore is never later than reported, and whatever a sweep leaves undone becomes due again; a
// queue has at most half of the scheduler's time; and what cannot be done now is not tried again at
// once. test/unit/agenda_test.cpp states each of these as a property.
#pragma once

#include <cstdint>

#include "core/backoff.hpp"
#include "core/key.hpp"
#include "core/times.hpp"

namespace ecto_job {

inline constexpr Micros at_once = minus_infinity;
inline constexpr Micros never = plus_infinity;

// What commits and ended sessions have done to a queue since the last report.
struct Report {
    Micros due = never;                 // earliest schedule of a SCHEDULED or RETRY job
    Micros expiry = never;              // earliest end of a lease
    JobKey leased_up_to = lowest_key;   // highest key of a job with a new lease; lowest_key: none
    JobKey orphaned_up_to = lowest_key; // highest key claimed by a session that has ended
};

// What a sweep is to do.
struct Work {
    bool activate = false;        // scheduled jobs that are due
    bool expire = false;          // leases that have ended, up to `leases_up_to`
    bool reclaim = false;         // jobs of ended sessions, up to `orphans_up_to`
    bool full = false;            // all of these, and whatever nobody has reported
    bool orphans_in_head = false; // the sweep asks up to where: the end of the queue's head
    JobKey leases_up_to = lowest_key;
    JobKey orphans_up_to = lowest_key;

    bool empty() const { return !activate && !expire && !reclaim; }
    bool only_reclaims() const { return reclaim && !full; }
};

enum class BatchEnd : std::uint8_t {
    looked_ahead, // nothing is left to move, and Found says when there will be
    moved,        // nothing is left to move
    more,         // the batch was full: there may be more to move
    locked,       // another session has the table locked
    gone,         // the table was dropped
    interrupted,  // the extension is being dropped
};

// The earliest time of a job of one kind.
struct Earliest {
    Micros first = never;
    Micros after_sweep = never; // of those later than the sweep, asked if `first` is not
};

enum class Orphans : std::uint8_t {
    unknown, // there are more, or nobody has looked
    none,
    stuck, // all that are left are locked by other sessions
};

// What a sweep has found.
struct Found {
    BatchEnd end = BatchEnd::looked_ahead;
    Micros swept_at = 0; // what was due by then was to be moved
    Earliest due = {};   // `due`, `expiry` and `last_held` only if it has looked ahead
    Earliest expiry = {};
    JobKey last_held = lowest_key; // highest key of a job with a lease, if all were looked at
    Orphans orphans = Orphans::unknown;
};

// How long a sweep took, and what the settings allow.
struct Pace {
    Micros took;
    Micros longest_burst; // of batches without a cool-down between them
    Micros full_interval;
};

class Agenda {
public:
    void reported(const Report &report);

    // Returns when there is work; never: not before something is reported.
    Micros next() const;
    // Returns the work that is due; not empty at next() or later.
    Work due(Micros now) const;

    // Takes what a sweep of this work has found. Interrupted ones leave everything as it is.
    void finished(const Work &work, const Found &found, Micros now, const Pace &pace);
    void failed(Micros now);
    // Takes over from a former scheduler, in which the sweeps failed so often in a row.
    void resume(std::int32_t failures, Micros last_failure);

    // Asks for a full sweep at once, unless the queue waits after a failure.
    void request_full_sweep();
    // Makes everything due, after a start or a step back of the clock: first the orphans in the
    // queue's head, which sessions have left that ended unnoticed.
    void start_over();
    // Shortens a wait that is longer than any should be, after a step back of the clock or a change
    // of the setting.
    void limit_wait(Micros now, Micros full_interval);

    bool is_failing() const { return failures_.tries() > 0; }
    std::int32_t failures() const { return failures_.tries(); }
    Micros next_due() const { return activate_.at; }

private:
    struct Task {
        Micros at = never;
        JobKey up_to = lowest_key;
        Backoff stuck; // what is due does not move: it is locked, or a trigger keeps it
    };

    Micros reclaim_at() const;
    Micros sweep_at() const;
    Micros cool_down_after(BatchEnd end, const Pace &pace);
    void set_next_full_sweep(Micros now, Micros pause);
    void plan_reclaim(const Work &work, const Found &found);
    static void plan(Task *task, const Earliest &earliest, Micros swept_at);

    static constexpr Micros longest_lock_pause = 1'000'000;

    Task activate_{.stuck = {1'000'000, 60'000'000}};
    Task expire_{.stuck = {1'000'000, 60'000'000}};
    // Other connections of the consumer, which may have jobs locked, end at the same time as it
    Task reclaim_{.stuck = {10'000, 60'000'000}};
    bool orphans_in_head_ = false;
    Micros full_sweep_ = at_once; // of a failing queue: the next try
    Micros full_pause_ = 0;       // how long before full_sweep_ it was set
    Micros cools_down_until_ = at_once;
    Micros reclaim_cools_down_until_ = at_once;
    Micros burst_ = 0; // time used by the batches of the current burst
    Backoff failures_ = failure_backoff();
    // The table may be locked by the transaction that woke the scheduler, which is about to end
    Backoff table_lock_{10'000, longest_lock_pause};
};

} // namespace ecto_job
