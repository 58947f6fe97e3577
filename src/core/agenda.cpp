// The rules of a queue's agenda. See agenda.hpp.
#include "core/agenda.hpp"

#include <algorithm>
#include <utility>

namespace ecto_job {

void Agenda::reported(const Report &report) {
    activate_.at = std::min(activate_.at, report.due);
    expire_.at = std::min(expire_.at, report.expiry);
    expire_.up_to = std::max(expire_.up_to, report.leased_up_to);
    if (report.orphaned_up_to == lowest_key)
        return;
    reclaim_.at = at_once;
    reclaim_.up_to = std::max(reclaim_.up_to, report.orphaned_up_to);
}

// Returns when orphans are given back, which is quick and so has a pause of its own.
Micros Agenda::reclaim_at() const {
    return std::max(reclaim_.at, reclaim_not_before_);
}

Micros Agenda::sweep_at() const {
    const Micros first =
        is_failing() ? full_sweep_ : std::min({full_sweep_, activate_.at, expire_.at});
    return std::max(first, not_before_);
}

// Returns when FAILED jobs are deleted, which nobody waits for: never while the queue is failing.
Micros Agenda::purge_at() const {
    return is_failing() ? never : std::max(purge_, purge_not_before_);
}

Micros Agenda::next() const {
    return is_failing() ? sweep_at() : std::min({reclaim_at(), sweep_at(), purge_at()});
}

Work Agenda::due(Micros now) const {
    if (!is_failing() && reclaim_at() <= now)
        return {
            .reclaim = true, .orphans_in_head = orphans_in_head_, .orphans_up_to = reclaim_.up_to};
    if (purge_at() <= now && (swept_since_purge_ || sweep_at() > now))
        return {.purge = true};
    if (sweep_at() > now)
        return {};
    if (full_sweep_ <= now)
        return {.activate = true,
                .expire = true,
                .reclaim = true,
                .full = true,
                .leases_up_to = highest_key,
                .orphans_up_to = highest_key};
    return {.activate = activate_.at <= now,
            .expire = expire_.at <= now,
            .leases_up_to = expire_.up_to};
}

void Agenda::set_next_full_sweep(Micros now, Micros pause) {
    full_pause_ = pause;
    full_sweep_ = now + pause;
}

// Plans the task's next time. Stuck jobs are tried again later and later, and delay no other jobs.
void Agenda::plan(Task *task, const Earliest &earliest, Micros swept_at) {
    if (earliest.first > swept_at) {
        task->stuck.reset();
        task->at = earliest.first;
    } else {
        task->at = std::min(swept_at + task->stuck.next(), earliest.after_sweep);
    }
}

void Agenda::plan_reclaim(const Work &work, const Found &found) {
    if (found.orphans == Orphans::none) {
        reclaim_ = {.stuck = reclaim_.stuck};
        reclaim_.stuck.reset();
        orphans_in_head_ = false;
    } else if (found.orphans == Orphans::stuck) {
        reclaim_.at = found.swept_at + reclaim_.stuck.next();
        if (work.full) {
            reclaim_.up_to = highest_key;
            orphans_in_head_ = false;
        }
    }
}

// Plans the next batch that deletes FAILED jobs. These batches take turns with those of sweeps, so
// that neither waits for the end of the other.
void Agenda::plan_purge(const Work &work, const Found &found, Micros now) {
    swept_since_purge_ = !work.purge;
    const Micros next_pass =
        now + std::clamp(found.retention / 10, shortest_purge_pause, longest_purge_pause);
    if (found.retention == 0)
        purge_ = never;
    else if (purge_ == never)
        purge_ = now;
    else if (work.purge && found.end != BatchEnd::more)
        purge_ = next_pass;
    else
        purge_ = std::min(purge_, next_pass); // the retention may be shorter now
}

// Returns how long the queue pauses: after a sweep for as long as the sweep took, so that a queue's
// sweeps never have more than half of the time. `so_far`: what the batches of the sweep took.
Micros Agenda::pause_after(BatchEnd end, const Pace &pace, Micros *so_far) {
    *so_far += pace.took;
    if (end == BatchEnd::more && *so_far < pace.longest_sweep)
        return 0;
    const Micros took = std::exchange(*so_far, 0);
    if (end == BatchEnd::locked)
        return table_lock_.next();
    if (end == BatchEnd::gone) // the registry will say so
        return longest_lock_pause;
    return took;
}

void Agenda::finished(const Work &work, const Found &found, Micros now, const Pace &pace) {
    if (found.end == BatchEnd::interrupted)
        return;
    // The pauses of a purge delay no due job, and those of sweeps no purge
    if (work.purge)
        purge_not_before_ = now + pause_after(found.end, pace, &purge_took_);
    else
        (work.only_reclaims() ? reclaim_not_before_ : not_before_) =
            now + pause_after(found.end, pace, &sweep_took_);
    if (found.end == BatchEnd::locked)
        return;
    table_lock_.reset();
    failures_.reset();
    plan_purge(work, found, now);
    plan_reclaim(work, found);
    if (found.end != BatchEnd::looked_ahead)
        return;
    if (work.activate)
        plan(&activate_, found.due, found.swept_at);
    if (work.expire) {
        plan(&expire_, found.expiry, found.swept_at);
        expire_.up_to = expire_.at == never                ? lowest_key
                        : work.leases_up_to == highest_key ? found.last_held
                                                           : work.leases_up_to;
    }
    if (work.full)
        set_next_full_sweep(now, pace.full_interval);
}

void Agenda::failed(Micros now) {
    sweep_took_ = purge_took_ = 0;
    // The purge may have failed, and the sweeps that follow may not
    if (purge_ <= now)
        purge_ = now + shortest_purge_pause;
    set_next_full_sweep(now, failures_.next());
}

void Agenda::resume(std::int32_t failures, Micros last_failure) {
    failures_ = failure_backoff(failures);
    set_next_full_sweep(last_failure, failures_.pause());
}

void Agenda::request_full_sweep() {
    if (!is_failing())
        full_sweep_ = at_once;
}

void Agenda::start_over() {
    not_before_ = reclaim_not_before_ = purge_not_before_ = at_once;
    if (is_failing())
        return;
    full_sweep_ = reclaim_.at = at_once;
    orphans_in_head_ = true;
    if (purge_ != never)
        purge_ = at_once;
}

void Agenda::limit_wait(Micros now, Micros full_interval) {
    const Micros longest = is_failing() ? full_pause_ : std::min(full_pause_, full_interval);
    if (full_sweep_ > now + longest)
        full_sweep_ = now;
}

} // namespace ecto_job
