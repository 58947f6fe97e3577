// A reference model of the SQL functions: rows in a map, times as plain numbers.
//
// The model follows the table of transitions in docs/design.md and docs/reference.md, not the
// statements that are tested. A function returns what the server should return: an SQLSTATE, jobs,
// or a number. The server draws random leases, so the caller passes the server's lease.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace model {

using Micros = std::int64_t; // since 2000-01-01 UTC
using Wide = __int128;

constexpr Micros first_time = -211'813'488'000'000'000;
constexpr Micros end_of_time = 9'223'371'331'200'000'000;

struct Job {
    std::int64_t id = 0;
    std::string state = "AVAILABLE";
    std::optional<Micros> expires;
    Micros schedule = 0;
    std::int32_t attempt = 0;
    std::int32_t max_attempts = 5;
    std::int32_t priority = 0;
    std::optional<std::int64_t> lease;
    std::optional<std::string> error;
    std::optional<Micros> updated_at; // unknown until the first transition
    std::optional<std::string> key;

    bool is_held() const { return state == "RESERVED" || state == "IN_PROGRESS"; }
    bool waits() const { return state == "SCHEDULED" || state == "RETRY"; }
    bool may_start() const { return waits() || state == "AVAILABLE"; }
    bool attempts_left() const { return attempt < std::max(max_attempts, 1); }
    bool operator==(const Job &) const = default;
};

template <typename T> std::string text(const std::optional<T> &value) {
    if constexpr (std::is_same_v<T, std::string>)
        return value.value_or("null");
    else
        return value ? std::to_string(*value) : "null";
}

inline std::ostream &operator<<(std::ostream &out, const Job &job) {
    return out << job.id << ' ' << job.state << " expires " << text(job.expires) << " schedule "
               << job.schedule << " attempt " << job.attempt << '/' << job.max_attempts
               << " priority " << job.priority << " lease " << text(job.lease) << " error "
               << text(job.error) << " updated " << text(job.updated_at) << " key "
               << text(job.key);
}

struct Outcome {
    std::string sqlstate; // empty: success
    std::vector<Job> jobs;
    std::optional<std::int64_t> number;
    std::optional<Micros> time = {};

    bool operator==(const Outcome &) const = default;
};

inline std::ostream &operator<<(std::ostream &out, const Outcome &outcome) {
    out << "SQLSTATE '" << outcome.sqlstate << "' number " << text(outcome.number) << " time "
        << text(outcome.time);
    for (const Job &job : outcome.jobs)
        out << "\n    " << job;
    return out;
}

inline Outcome error(const char *sqlstate) {
    return {sqlstate, {}, {}};
}
constexpr const char *stale = "JQ001";
constexpr const char *out_of_range = "22008";
constexpr const char *bad_value = "22023";
constexpr const char *is_null = "22004";
constexpr const char *key_taken = "23505";

// Returns now + times * timeout_ms; null if that is beyond the range of times
inline std::optional<Micros> later(Micros now, std::int64_t times, std::int64_t timeout_ms) {
    const Wide time = Wide{now} + Wide{times} * timeout_ms * 1000;
    if (time < first_time || time >= end_of_time)
        return std::nullopt;
    return static_cast<Micros>(time);
}

class Queue {
public:
    std::map<std::int64_t, Job> jobs;
    std::int64_t retry_timeout_ms = 30'000;

    // A transition is atomic, as in a transaction
    Outcome attempt(const std::function<Outcome()> &transition) {
        const auto before = jobs;
        Outcome outcome = transition();
        if (!outcome.sqlstate.empty())
            jobs = before;
        return outcome;
    }

    std::vector<std::int64_t> first_available(std::int32_t demand) const {
        std::vector<Job> found;
        for (const auto &[id, job] : jobs)
            if (job.state == "AVAILABLE")
                found.push_back(job);
        std::sort(found.begin(), found.end(), [](const Job &a, const Job &b) {
            return std::tie(a.priority, a.schedule, a.id) < std::tie(b.priority, b.schedule, b.id);
        });
        std::vector<std::int64_t> ids;
        for (const Job &job : found)
            if (static_cast<std::int32_t>(ids.size()) < demand)
                ids.push_back(job.id);
        return ids;
    }

    // reserve_available_jobs, or start_available_jobs
    Outcome claim(bool start, std::int32_t demand, Micros now, std::int64_t timeout_ms,
                  std::int64_t lease) {
        Outcome outcome;
        if (timeout_ms < 1 || demand < 0)
            return error(bad_value);
        if (demand == 0)
            return outcome;
        if (!later(now, 1, timeout_ms))
            return error(out_of_range);
        for (const std::int64_t id : first_available(demand)) {
            Job &job = jobs[id];
            job.state = start ? "IN_PROGRESS" : "RESERVED";
            job.attempt += start ? 1 : 0;
            job.expires = later(now, start ? job.attempt : 1, timeout_ms);
            if (!job.expires)
                return error(out_of_range);
            job.lease = lease;
            job.updated_at = now;
            outcome.jobs.push_back(job);
        }
        return outcome;
    }

    Outcome update_job_in_progress(std::int64_t id, std::int32_t attempt, Micros now,
                                   std::int64_t timeout_ms, std::optional<std::int64_t> lease) {
        if (timeout_ms < 1)
            return error(bad_value);
        if (!later(now, 1, timeout_ms))
            return error(out_of_range);
        Job *const job = find(id);
        if (job == nullptr || job->state != "RESERVED" || job->attempt != attempt ||
            !job->expires || *job->expires <= now || (lease && job->lease != lease))
            return {};
        job->state = "IN_PROGRESS";
        job->attempt++;
        job->expires = later(now, job->attempt, timeout_ms);
        job->updated_at = now;
        return job->expires ? Outcome{{}, {*job}, {}} : error(out_of_range);
    }

    // delete_job_changeset, initial_multi
    Outcome delete_job(std::int64_t id, std::int32_t attempt, std::optional<std::int64_t> lease) {
        Job *const job = find(id);
        if (job == nullptr || job->attempt != attempt || (lease && job->lease != lease))
            return error(stale);
        jobs.erase(id);
        return {};
    }

    bool holds(std::int64_t id, std::int64_t lease) {
        Job *const job = find(id);
        return job != nullptr && job->is_held() && job->lease == lease;
    }

    Outcome complete_job(std::int64_t id, std::optional<std::int64_t> lease) {
        if (!lease)
            return error(is_null);
        if (!holds(id, *lease))
            return error(stale);
        jobs.erase(id);
        return {};
    }

    Outcome complete_jobs(const std::vector<std::int64_t> &ids,
                          const std::vector<std::int64_t> &leases) {
        for (std::size_t i = 0; i < ids.size(); i++)
            if (!holds(ids[i], leases[i]))
                return error(stale);
        std::int64_t number = 0;
        for (const std::int64_t id : ids)
            number += static_cast<std::int64_t>(jobs.erase(id));
        return {{}, {}, number};
    }

    // job_failed names the attempt, fail_job the lease; fail_job alone may give up or have a delay
    Outcome job_failed(std::int64_t id, std::optional<std::int32_t> attempt, Micros now,
                       std::int64_t timeout_ms, std::optional<std::int64_t> lease,
                       const std::optional<std::string> &why, bool retry = true,
                       std::optional<std::int64_t> delay_ms = std::nullopt) {
        if (timeout_ms < 0 || delay_ms.value_or(0) < 0)
            return error(bad_value);
        if ((retry && !delay_ms && !later(now, 1, timeout_ms)) ||
            (delay_ms && !later(now, 1, *delay_ms)))
            return error(out_of_range);
        Job *const job = find(id);
        if (job == nullptr || job->state != "IN_PROGRESS" || (attempt && job->attempt != attempt) ||
            (lease && job->lease != lease))
            return {};
        const bool again = retry && job->attempts_left();
        if (again && gives_way(*job) && (delay_ms || later(now, job->attempt + 1, timeout_ms)))
            return superseded(id);
        const auto when =
            delay_ms ? later(now, 1, *delay_ms) : later(now, job->attempt + 1, timeout_ms);
        if (again && !when)
            return error(out_of_range);
        job->schedule = again ? *when : job->schedule;
        end_lease(*job, again ? "RETRY" : "FAILED", now);
        job->error = why;
        return {{}, {*job}, {}};
    }

    Outcome snooze_job(std::int64_t id, std::int64_t lease, std::int64_t delay_ms, Micros now) {
        if (delay_ms < 0)
            return error(bad_value);
        const auto when = later(now, 1, delay_ms);
        if (delay_ms > 0 && !when)
            return error(out_of_range);
        if (!holds(id, lease))
            return {};
        Job *const job = find(id);
        if (gives_way(*job))
            return superseded(id);
        if (job->state == "IN_PROGRESS")
            job->attempt = std::max(job->attempt - 1, 0);
        end_lease(*job, delay_ms > 0 ? "SCHEDULED" : "AVAILABLE", now);
        job->schedule = delay_ms > 0 ? *when : job->schedule;
        return {{}, {*job}, {}};
    }

    // The outcome has the end of the lease
    Outcome extend_lease(std::int64_t id, std::int64_t lease, std::int64_t duration_ms,
                         Micros now) {
        if (duration_ms < 1)
            return error(bad_value);
        const auto end = later(now, 1, duration_ms);
        if (!end)
            return error(out_of_range);
        if (!holds(id, lease) || !find(id)->expires || *find(id)->expires <= now)
            return {};
        Job *const job = find(id);
        job->expires = std::max(*job->expires, *end);
        job->updated_at = now;
        return {{}, {}, {}, job->expires};
    }

    Outcome cancel_job(std::int64_t id, const std::optional<std::string> &why) {
        Job *const job = find(id);
        if (job == nullptr)
            return {};
        Job cancelled = *job;
        cancelled.error = why ? why : job->error;
        jobs.erase(id);
        return {{}, {cancelled}, {}};
    }

    std::int64_t activate_scheduled(Micros now) {
        return sweep(now, "AVAILABLE",
                     [now](const Job &job) { return job.waits() && job.schedule <= now; });
    }

    std::int64_t activate_expired(Micros now) {
        const auto ended = [now](const Job &job) {
            return job.is_held() && (!job.expires || *job.expires <= now) &&
                   (job.state == "RESERVED" || job.attempts_left());
        };
        std::int64_t number = 0;
        // Of the jobs of a key the latest comes back
        std::vector<std::int64_t> gone;
        for (auto job = jobs.rbegin(); job != jobs.rend(); job++)
            if (job->second.key && ended(job->second)) {
                const std::int64_t id = job->first;
                if (gives_way(job->second))
                    gone.push_back(id);
                else
                    sweep(now, "AVAILABLE", [id](const Job &other) { return other.id == id; });
                number++;
            }
        for (const std::int64_t id : gone)
            jobs.erase(id);
        return number + sweep(now, "AVAILABLE", ended);
    }

    // Returns the job that waits under the key.
    Job *waiting(const std::optional<std::string> &key) {
        for (auto &[id, job] : jobs)
            if (key && job.key == key && job.may_start())
                return &job;
        return nullptr;
    }

    // enqueue, when `job` waits under the key; `schedule` is null if none is given
    Outcome keep_or_replace(Job *job, const std::string &on_conflict, const Job &given,
                            std::optional<Micros> schedule, Micros now) {
        if (on_conflict == "error")
            return error(key_taken);
        if (on_conflict == "keep")
            return {{}, {}, job->id};
        job->max_attempts = given.max_attempts;
        job->priority = given.priority;
        const bool was_retry = job->state == "RETRY";
        if (schedule)
            job->state = given.state;
        else if (was_retry)
            job->state = "SCHEDULED";
        job->schedule = schedule.value_or(job->schedule);
        job->attempt = was_retry ? 0 : job->attempt;
        job->updated_at = now;
        return {{}, {}, job->id};
    }

    std::int64_t fail_expired(Micros now) {
        return sweep(now, "FAILED", [now](const Job &job) {
            return job.state == "IN_PROGRESS" && (!job.expires || *job.expires <= now) &&
                   !job.attempts_left();
        });
    }

    Outcome requeue(std::int64_t id, Micros now) {
        Job *const job = find(id);
        if (job == nullptr || job->state != "FAILED")
            return {};
        if (gives_way(*job))
            return error(key_taken);
        end_lease(*job, "SCHEDULED", now);
        job->attempt = 0;
        return {{}, {*job}, {}};
    }

    Job *find(std::int64_t id) {
        const auto found = jobs.find(id);
        return found == jobs.end() ? nullptr : &found->second;
    }

    // Returns whether another job waits under the key.
    bool gives_way(const Job &job) {
        const Job *const other = waiting(job.key);
        return other != nullptr && other->id != job.id;
    }

private:
    Outcome superseded(std::int64_t id) {
        const Job job = *find(id);
        jobs.erase(id);
        return {{}, {job}, {}};
    }

    static void end_lease(Job &job, const char *state, Micros now) {
        job.state = state;
        job.expires.reset();
        job.lease.reset();
        job.updated_at = now;
    }

    // SCHEDULED and RETRY have no lease; one that a user has written stays
    template <typename Due> std::int64_t sweep(Micros now, const char *state, Due due) {
        std::int64_t number = 0;
        for (auto &[id, job] : jobs)
            if (due(job)) {
                const auto lease = job.lease;
                const bool waited = job.waits();
                if (job.state == "IN_PROGRESS")
                    job.error = "the lease of attempt " + std::to_string(job.attempt) + " expired";
                end_lease(job, state, now);
                if (waited)
                    job.lease = lease;
                number++;
            }
        return number;
    }
};

} // namespace model
