// Random sequences of calls, with times in any order, on a queue and on the model: each call must
// have the model's result and leave the model's rows. The queues are native ones of both kinds of
// params, one for EctoJob's library, and a table of its migrations. The test needs a server
// (PGHOST, PGDATABASE...) in whose database ecto_job can be created.
//
// Seen to fail within 60 sequences for each of these changes to src/queue/statements.cpp:
// activate_scheduled or activate_expired at `<` for `<=`; a NULL expiry that does not count as
// ended; a start at the very end of the reservation; the order of claims without priority; an
// attempt that a start does not count or requeue keeps; a failure or completion under any lease;
// RETRY that waits for the attempt that has failed; a failure that leaves updated_at; max_attempts
// below 1 that is not taken for 1 (adopted tables alone have it).
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <sstream>
#include <tuple>

#include "session.hpp"

namespace {

using model::Job;
using model::Micros;
using model::Outcome;

enum class Call {
    enqueue,
    insert,
    change_by_hand,
    activate_scheduled_jobs,
    available_jobs,
    reserve_available_jobs,
    update_job_in_progress,
    start_available_jobs,
    delete_job_changeset,
    initial_multi,
    complete_job,
    complete_jobs,
    fail_job,
    job_failed,
    snooze_job,
    extend_lease,
    cancel_job,
    activate_expired_jobs,
    fail_expired_jobs_at_max_attempts,
    sweep,
    requeue,
    count
};

constexpr const char *call_names[] = {"enqueue",
                                      "insert",
                                      "change_by_hand",
                                      "activate_scheduled_jobs",
                                      "available_jobs",
                                      "reserve_available_jobs",
                                      "update_job_in_progress",
                                      "start_available_jobs",
                                      "delete_job_changeset",
                                      "initial_multi",
                                      "complete_job",
                                      "complete_jobs",
                                      "fail_job",
                                      "job_failed",
                                      "snooze_job",
                                      "extend_lease",
                                      "cancel_job",
                                      "activate_expired_jobs",
                                      "fail_expired_jobs_at_max_attempts",
                                      "sweep",
                                      "requeue"};

// The numbers of a step select from the jobs that exist when the step is taken, so that a sequence
// can be shortened
struct Step {
    Call call;
    int job;         // index of a job
    int token;       // index of a claim; the last claim is 0
    int clock;       // index of a time of a job, or another time
    int shift;       // index of the distance from that time
    int timeout;     // index of a timeout
    int number;      // demand, max_attempts and similar arguments
    bool with_lease; // whether an optional lease is given
};

constexpr Micros micros_per_s = 1'000'000;
constexpr Micros base = 631'152'000 * micros_per_s; // 2020: a job enqueued for it is AVAILABLE
constexpr Micros shifts[] = {0,    0,     0,       1,        -1,           999,
                             -999, 1'000, 400'000, -400'000, 60'000'000LL, -3'600'000'000LL};
constexpr std::int64_t timeouts[] = {1, 2, 999, 1'000, 60'000, 0, -1, 1'000'000'000'000, INT64_MAX};
constexpr const char *states[] = {"SCHEDULED",   "AVAILABLE", "RESERVED",
                                  "IN_PROGRESS", "RETRY",     "FAILED"};

void showValue(const Step &step, std::ostream &out) {
    out << '\n'
        << call_names[static_cast<int>(step.call)] << " job " << step.job << " token " << step.token
        << " clock " << step.clock << " shift " << step.shift << " timeout " << step.timeout
        << " number " << step.number << (step.with_lease ? " lease" : "");
}

rc::Gen<Step> any_step() {
    const auto number = [](int end) { return rc::gen::inRange(0, end); };
    // Timeouts are mostly valid, and the claim is mostly the latest
    return rc::gen::construct<Step>(
        rc::gen::map(number(static_cast<int>(Call::count)),
                     [](int call) { return static_cast<Call>(call); }),
        number(8), rc::gen::weightedOneOf<int>({{3, rc::gen::just(0)}, {1, number(8)}}), number(24),
        number(static_cast<int>(std::size(shifts))),
        rc::gen::weightedOneOf<int>(
            {{6, number(5)}, {1, number(static_cast<int>(std::size(timeouts)))}}),
        number(6), rc::gen::weightedElement<bool>({{3, true}, {1, false}}));
}

struct Kind {
    const char *name;
    const char *create;
    bool is_binary;
    bool ends_leases; // by a trigger, since EctoJob's library does not
    bool is_migrated; // by EctoJob: no CHECKs, times of UTC
};

constexpr Kind kinds[] = {
    {"map", "SELECT ecto_job.create_queue('p_map')", false, false, false},
    {"binary", "SELECT ecto_job.create_queue('p_binary', params_type => 'binary')", true, false,
     false},
    {"ectojob", "SELECT ecto_job.create_queue('p_ectojob', ectojob => true)", false, true, false},
    {"adopted",
     "DO $$ BEGIN CREATE TABLE p_adopted (id bigserial PRIMARY KEY, state varchar(255) DEFAULT"
     " 'AVAILABLE' NOT NULL, expires timestamp, schedule timestamp DEFAULT timezone('UTC', now())"
     " NOT NULL, attempt integer DEFAULT 0 NOT NULL, max_attempts integer DEFAULT 5 NOT NULL,"
     " params jsonb NOT NULL, notify varchar(255), priority integer DEFAULT 0 NOT NULL,"
     " inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL);"
     " CREATE INDEX p_adopted_priority_schedule_id_index ON p_adopted (priority, schedule, id);"
     " CREATE FUNCTION fn_notify_inserted() RETURNS trigger LANGUAGE plpgsql AS"
     " 'BEGIN PERFORM pg_notify(TG_TABLE_NAME, ''''); RETURN NEW; END';"
     " CREATE TRIGGER tr_notify_inserted_p_adopted AFTER INSERT ON p_adopted FOR EACH ROW EXECUTE"
     " PROCEDURE fn_notify_inserted(); PERFORM ecto_job.adopt_queue('p_adopted');"
     " CREATE UNIQUE INDEX ON p_adopted (key) WHERE key IS NOT NULL AND state IN"
     " ('SCHEDULED', 'AVAILABLE', 'RETRY'); END $$",
     false, true, true},
};

Session &session() {
    static Session one;
    static bool prepared = false;
    if (!prepared) {
        one.must("SET client_min_messages = error");
        one.must("CREATE EXTENSION IF NOT EXISTS ecto_job");
        for (const Kind &kind : kinds)
            one.must(kind.create);
        one.must("SET TimeZone = 'Asia/Kathmandu'"); // must have no effect on columns of UTC
        prepared = true;
    }
    return one;
}

struct Token {
    std::int64_t id;
    std::int32_t attempt;
    std::int64_t lease;
};

// The queue and the model in one sequence
class Sequence {
public:
    explicit Sequence(const Kind &kind) : kind_(kind), table_(std::string("p_") + kind.name) {
        session().must("TRUNCATE " + table_);
    }

    void take(const Step &step) {
        now_ = clock(step);
        infinite_ = step.clock == 23 && step.shift > 9;
        std::ostringstream what;
        showValue(step, what);
        const Outcome actual = ask(step);
        const Outcome expected = queue_.attempt([&] {
            return infinite_ && takes_now(step.call) ? model::error(model::bad_value)
                                                     : answer(step, actual);
        });
        RC_LOG() << what.str() << "\n  now " << now_ << " is " << actual << "\n  expected "
                 << expected << '\n';
        if (!(actual == expected))
            RC_FAIL("the answer differs: " + session().message());
        compare_rows();
    }

private:
    const Kind &kind_;
    std::string table_;
    model::Queue queue_;
    std::vector<Token> tokens_;
    std::set<std::int64_t> leases_;
    Micros now_ = 0;
    bool infinite_ = false;

    // Generates a time around a time of a job, equality included, or any time
    Micros clock(const Step &step) const {
        std::vector<Micros> times{base, base + 30 * micros_per_s};
        for (const auto &[id, job] : queue_.jobs) {
            times.push_back(job.schedule);
            if (job.expires)
                times.push_back(*job.expires);
        }
        Micros time = times[static_cast<std::size_t>(step.clock) % times.size()];
        if (step.clock == 22)
            time = step.number % 2 == 0 ? model::first_time : model::end_of_time - 1;
        const model::Wide shifted = model::Wide{time} + shifts[step.shift];
        return static_cast<Micros>(
            std::clamp<model::Wide>(shifted, model::first_time, model::end_of_time - 1));
    }

    static bool takes_now(Call call) {
        switch (call) {
        case Call::insert:
        case Call::change_by_hand:
        case Call::available_jobs:
        case Call::delete_job_changeset:
        case Call::initial_multi:
        case Call::complete_job:
        case Call::complete_jobs:
        case Call::cancel_job:
            return false;
        default:
            return true;
        }
    }

    Token token(const Step &step) const {
        Token token{0, 0, 2};
        if (!tokens_.empty())
            token =
                tokens_[tokens_.size() - 1 - static_cast<std::size_t>(step.token) % tokens_.size()];
        if (step.job == 7) // the token of another job
            token.id = id(step);
        if (step.shift == 3)
            token.attempt += 1 - step.number % 3;
        if (step.shift == 4 && !tokens_.empty()) // the lease of another claim
            token.lease = tokens_[static_cast<std::size_t>(step.number) % tokens_.size()].lease;
        return token;
    }

    std::int64_t id(const Step &step) const {
        std::vector<std::int64_t> ids;
        for (const auto &[id, job] : queue_.jobs)
            ids.push_back(id);
        return ids.empty() ? 0 : ids[static_cast<std::size_t>(step.job) % ids.size()];
    }

    std::int64_t timeout(const Step &step) const { return timeouts[step.timeout]; }
    // Returns a timeout that the text of an interval can represent
    std::int64_t short_timeout(const Step &step) const {
        return std::min<std::int64_t>(timeout(step), 1'000'000'000'000);
    }
    // Returns a delay, which is none as often as not
    std::int64_t short_delay(const Step &step) const {
        return step.number % 2 == 0 ? 0 : short_timeout(step);
    }
    std::optional<std::int64_t> delay(const Step &step) const {
        return step.with_lease ? std::nullopt : std::optional(short_delay(step));
    }
    static bool retry(const Step &step) { return step.shift % 4 != 1; }
    std::optional<std::int64_t> lease(const Step &step) const {
        return step.with_lease ? std::optional(token(step).lease) : std::nullopt;
    }
    std::optional<std::string> reason(const Step &step) const {
        return step.job == 0 ? std::nullopt : std::optional("reason " + std::to_string(step.job));
    }
    std::optional<Micros> schedule(const Step &step) const {
        return step.with_lease ? std::optional(now_) : std::nullopt;
    }
    static std::optional<std::string> key(const Step &step) {
        return step.job < 4 ? std::nullopt : std::optional("key " + std::to_string(step.job % 2));
    }
    static const char *on_conflict(const Step &step) {
        constexpr const char *choices[] = {"keep", "keep", "keep", "replace", "error"};
        return choices[static_cast<std::size_t>(step.clock) % std::size(choices)];
    }
    static std::int32_t demand(const Step &step) { return step.number - (step.shift == 2 ? 6 : 0); }
    static std::int32_t priority(const Step &step) { return step.shift % 3 - 1; }
    static std::int32_t max_attempts(const Step &step) { return step.number; }
    // Returns whether a time is in the future by the server's clock, which decides instead of
    // `now`; no time of the test is near that clock
    static bool is_future(Micros time) {
        using namespace std::chrono;
        return time > duration_cast<microseconds>(system_clock::now().time_since_epoch()).count() -
                          946'684'800 * micros_per_s;
    }

    Parameter now() const {
        return Parameter::time(infinite_ ? std::numeric_limits<Micros>::max() : now_);
    }
    std::string params_name() const { return kind_.is_binary ? "params_binary" : "params"; }

    Outcome outcome(const Result &result, bool with_number = false) {
        if (result.failed())
            return model::error(result.sqlstate().c_str());
        if (with_number)
            return {{}, {}, result.number(0, "number")};
        return {};
    }

    // Calls a function that returns jobs
    Outcome jobs(const std::string &call, const std::vector<Parameter> &parameters) {
        const Result result = session().run(
            "SELECT " + job_columns("updated_at") + " FROM ecto_job." + call, parameters);
        Outcome found = outcome(result);
        if (!result.failed())
            found.jobs = jobs_of(result);
        return found;
    }
    Outcome number(const std::string &call, const std::vector<Parameter> &parameters) {
        return outcome(session().run("SELECT ecto_job." + call + " AS number", parameters), true);
    }
    Outcome time(const std::string &call, const std::vector<Parameter> &parameters) {
        const Result result =
            session().run("SELECT " + micros_of("ecto_job." + call) + " AS number", parameters);
        Outcome found = outcome(result);
        if (!result.failed())
            found.time = result.number(0, "number");
        return found;
    }
    Outcome nothing(const std::string &call, const std::vector<Parameter> &parameters) {
        return outcome(session().run("SELECT ecto_job." + call, parameters));
    }

    Outcome ask(const Step &step) {
        const Token held = token(step);
        switch (step.call) {
        case Call::enqueue:
            return number(
                "enqueue($1, " + params_name() +
                    " => '{}', schedule => $2, max_attempts => $3, priority => $4, now => $5,"
                    " key => $6, on_conflict => $7)",
                {table_, Parameter::time(schedule(step)), max_attempts(step), priority(step), now(),
                 key(step), on_conflict(step)});
        case Call::insert:
            return outcome(
                session().run(
                    "INSERT INTO " + table_ +
                        " (params, state, schedule, expires, attempt, max_attempts, lease, "
                        "inserted_at, updated_at)"
                        " VALUES ('{}', $1, " +
                        column_time("$2") + ", " + column_time("$3") +
                        ", $4, $5, $6, '2020-01-01', '2020-01-01') RETURNING id AS number",
                    {states[step.job % 6], Parameter::time(now_),
                     Parameter::time(step.token == 0 ? std::nullopt : std::optional(now_)),
                     step.number, max_attempts(step), lease(step)}),
                true);
        case Call::change_by_hand:
            return outcome(session().run(
                "UPDATE " + table_ + " SET " + change(step) + " WHERE id = $1", {id(step)}));
        case Call::activate_scheduled_jobs:
            return number("activate_scheduled_jobs($1, $2)", {table_, now()});
        case Call::available_jobs:
            return jobs("available_jobs($1, $2)", {table_, demand(step)});
        case Call::reserve_available_jobs:
            return jobs("reserve_available_jobs($1, $2, $3, $4)",
                        {table_, demand(step), now(), timeout(step)});
        case Call::update_job_in_progress:
            return jobs("update_job_in_progress($1, $2, $3, $4, $5, $6)",
                        {table_, held.id, held.attempt, now(), timeout(step), lease(step)});
        case Call::start_available_jobs:
            return jobs("start_available_jobs($1, $2, $3::bigint * interval '1 ms', $4)",
                        {table_, demand(step), short_timeout(step), now()});
        case Call::delete_job_changeset:
            return nothing("delete_job_changeset($1, $2, $3, $4)",
                           {table_, held.id, held.attempt, lease(step)});
        case Call::initial_multi:
            return nothing("initial_multi($1, $2, $3, $4)",
                           {table_, held.id, held.attempt, lease(step)});
        case Call::complete_job:
            return nothing("complete_job($1, $2, $3)", {table_, held.id, lease(step)});
        case Call::complete_jobs:
            return number("complete_jobs($1, $2, $3)",
                          {table_, array(step, &Token::id), array(step, &Token::lease)});
        case Call::fail_job:
            return jobs("fail_job($1, $2, $3, error => $4, retry => $5,"
                        " delay => $6::bigint * interval '1 ms', now => $7)",
                        {table_, held.id, held.lease, reason(step), retry(step) ? "t" : "f",
                         delay(step), now()});
        case Call::job_failed:
            return jobs(
                "job_failed($1, $2, $3, $4, $5, $6, $7)",
                {table_, held.id, held.attempt, now(), timeout(step), lease(step), reason(step)});
        case Call::snooze_job:
            return jobs("snooze_job($1, $2, $3, $4::bigint * interval '1 ms', $5)",
                        {table_, held.id, held.lease, short_delay(step), now()});
        case Call::extend_lease:
            return time("extend_lease($1, $2, $3, $4::bigint * interval '1 ms', $5)",
                        {table_, held.id, held.lease, short_timeout(step), now()});
        case Call::cancel_job:
            return jobs("cancel_job($1, $2, $3)", {table_, id(step), reason(step)});
        case Call::activate_expired_jobs:
            return number("activate_expired_jobs($1, $2)", {table_, now()});
        case Call::fail_expired_jobs_at_max_attempts:
            return number("fail_expired_jobs_at_max_attempts($1, $2)", {table_, now()});
        case Call::sweep:
            // Combines the three results into one number, which differs if one of them does
            return outcome(
                session().run("SELECT activated + 1000 * expired + 1000000 * failed AS number FROM"
                              " ecto_job.sweep($1, $2)",
                              {table_, now()}),
                true);
        case Call::requeue:
            return jobs("requeue($1, $2, $3)", {table_, id(step), now()});
        case Call::count:
            break;
        }
        std::abort();
    }

    Outcome answer(const Step &step, const Outcome &actual) {
        const Token held = token(step);
        switch (step.call) {
        case Call::enqueue:
            if (max_attempts(step) < 1 || (!key(step) && on_conflict(step) != std::string("keep")))
                return model::error(model::bad_value);
            return enqueue(step, actual);
        case Call::insert:
            return insert(step, actual);
        case Call::change_by_hand:
            return change_model(step);
        case Call::activate_scheduled_jobs:
            return {{}, {}, queue_.activate_scheduled(now_)};
        case Call::available_jobs:
            return available(demand(step));
        case Call::reserve_available_jobs:
            return claim(step, actual, false, timeout(step));
        case Call::update_job_in_progress: {
            Outcome started = queue_.update_job_in_progress(held.id, held.attempt, now_,
                                                            timeout(step), lease(step));
            remember(started.jobs);
            return started;
        }
        case Call::start_available_jobs:
            return claim(step, actual, true, short_timeout(step));
        case Call::delete_job_changeset:
        case Call::initial_multi:
            return queue_.delete_job(held.id, held.attempt, lease(step));
        case Call::complete_job:
            return queue_.complete_job(held.id, lease(step));
        case Call::complete_jobs: {
            std::vector<std::int64_t> ids;
            std::vector<std::int64_t> leases;
            for (const Token &one : last_tokens(step)) {
                ids.push_back(one.id);
                leases.push_back(one.lease);
            }
            return queue_.complete_jobs(ids, leases);
        }
        case Call::fail_job:
            return queue_.job_failed(held.id, std::nullopt, now_, queue_.retry_timeout_ms,
                                     held.lease, reason(step), retry(step), delay(step));
        case Call::job_failed:
            return queue_.job_failed(held.id, held.attempt, now_, timeout(step), lease(step),
                                     reason(step));
        case Call::snooze_job:
            return queue_.snooze_job(held.id, held.lease, short_delay(step), now_);
        case Call::extend_lease:
            return queue_.extend_lease(held.id, held.lease, short_timeout(step), now_);
        case Call::cancel_job:
            return queue_.cancel_job(id(step), reason(step));
        case Call::activate_expired_jobs:
            return {{}, {}, queue_.activate_expired(now_)};
        case Call::fail_expired_jobs_at_max_attempts:
            return {{}, {}, queue_.fail_expired(now_)};
        case Call::sweep: {
            const auto failed = queue_.fail_expired(now_);
            const auto activated = queue_.activate_scheduled(now_);
            return {{}, {}, activated + 1000 * queue_.activate_expired(now_) + 1'000'000 * failed};
        }
        case Call::requeue:
            return queue_.requeue(id(step), now_);
        case Call::count:
            break;
        }
        std::abort();
    }

    Outcome enqueue(const Step &step, const Outcome &actual) {
        const char *const state = is_future(now_) ? "SCHEDULED" : "AVAILABLE";
        if (Job *const job = queue_.waiting(key(step))) {
            Job given;
            given.state = state;
            given.max_attempts = max_attempts(step);
            given.priority = priority(step);
            return queue_.keep_or_replace(job, on_conflict(step), given, schedule(step), now_);
        }
        const Outcome added = add(step, actual, state);
        if (Job *const job = queue_.find(actual.number.value_or(0)))
            job->key = key(step);
        return added;
    }

    // Adds a job to the model, with the id that the server has assigned
    Outcome add(const Step &step, const Outcome &actual, const char *state) {
        Job job;
        job.id = actual.number.value_or(0);
        job.state = state;
        job.schedule = now_;
        job.max_attempts = max_attempts(step);
        job.priority = step.call == Call::enqueue ? priority(step) : 0;
        if (queue_.find(job.id) != nullptr || job.id < 1)
            return model::error("an id that is given again");
        queue_.jobs[job.id] = job;
        return {{}, {}, job.id};
    }

    Outcome insert(const Step &step, const Outcome &actual) {
        const char *state = states[step.job % 6];
        if (!kind_.is_migrated && max_attempts(step) < 1)
            return model::error("23514");
        if (std::string(state) == "AVAILABLE" && is_future(now_))
            state = "SCHEDULED";
        const Outcome added = add(step, actual, state);
        if (Job *const job = queue_.find(actual.number.value_or(0))) {
            job->expires = step.token == 0 ? std::nullopt : std::optional(now_);
            job->attempt = step.number;
            job->lease = lease(step);
        }
        return added;
    }

    std::string column_time(const std::string &parameter) const {
        return kind_.is_migrated ? "timezone('UTC', " + parameter + "::timestamptz)" : parameter;
    }

    // Returns a statement as users run it in psql, or of EctoJob's library
    static std::string change(const Step &step) {
        switch (step.number) {
        case 0:
            return "max_attempts = max_attempts - 1";
        case 1:
            return "expires = NULL";
        case 2:
            return "attempt = attempt + 1";
        case 3:
            return "max_attempts = max_attempts + 1";
        default:
            return std::string("state = '") + states[step.shift % 6] + "'";
        }
    }
    Outcome change_model(const Step &step) {
        Job *const job = queue_.find(id(step));
        if (job == nullptr)
            return {};
        switch (step.number) {
        case 0:
            job->max_attempts--;
            return job->max_attempts < 1 && !kind_.is_migrated ? model::error("23514") : Outcome{};
        case 1:
            job->expires.reset();
            return {};
        case 2:
            job->attempt++;
            return {};
        case 3:
            job->max_attempts++;
            return {};
        default:
            const std::string state = states[step.shift % 6];
            Job changed = *job;
            changed.state = state;
            if (changed.may_start() && queue_.gives_way(changed))
                return model::error(model::key_taken);
            if (kind_.ends_leases && state != job->state && !job->waits()) {
                job->lease.reset();
                if (job->state == "IN_PROGRESS" && (state == "RETRY" || state == "FAILED"))
                    job->error = "no reason given; EctoJob's library gives none";
            }
            job->state = state;
            return {};
        }
    }

    Outcome available(std::int32_t demand) {
        if (demand < 0)
            return model::error(model::bad_value);
        Outcome outcome;
        for (const std::int64_t id : queue_.first_available(demand))
            outcome.jobs.push_back(*queue_.find(id));
        return outcome;
    }

    Outcome claim(const Step &step, const Outcome &actual, bool start, std::int64_t timeout_ms) {
        std::int64_t lease = 0;
        if (!actual.jobs.empty())
            lease = actual.jobs[0].lease.value_or(0);
        Outcome claimed = queue_.claim(start, demand(step), now_, timeout_ms, lease);
        if (!claimed.jobs.empty() && claimed.sqlstate.empty()) {
            const bool is_fresh = leases_.insert(lease).second;
            if (!is_fresh || lease < 1 || lease >= (std::int64_t{1} << 53))
                return model::error("a lease that is no lease");
            remember(claimed.jobs);
        }
        return claimed;
    }

    void remember(const std::vector<Job> &claimed) {
        for (const Job &job : claimed)
            tokens_.push_back({job.id, job.attempt, job.lease.value_or(0)});
    }

    // Returns the leases of the last few claims, the last one twice
    std::vector<Token> last_tokens(const Step &step) const {
        std::vector<Token> last;
        const auto count =
            std::min<std::size_t>(tokens_.size(), static_cast<std::size_t>(step.number));
        last.assign(tokens_.end() - static_cast<std::ptrdiff_t>(count), tokens_.end());
        if (!last.empty() && step.job == 6)
            last.push_back(last.back());
        return last;
    }
    template <typename Field> std::string array(const Step &step, Field field) const {
        std::string text = "{";
        for (const Token &one : last_tokens(step))
            text += (text.size() > 1 ? "," : "") + std::to_string(one.*field);
        return text + "}";
    }

    // Compares the rows. updated_at of rows that no transition has changed is from the server's
    // clock, and is copied into the model
    void compare_rows() {
        const Result result = session().run(
            "SELECT " + job_columns("updated_at") + " FROM (SELECT id, state::text, " +
            (kind_.is_migrated
                 ? "expires AT TIME ZONE 'UTC' AS expires, schedule AT TIME ZONE 'UTC' AS schedule"
                 : "expires, schedule") +
            ", attempt, max_attempts, priority, lease, error, key, updated_at AT TIME ZONE 'UTC' "
            "AS "
            "updated_at FROM " +
            table_ + ") AS q ORDER BY id");
        std::vector<Job> actual = jobs_of(result);
        std::vector<Job> expected;
        for (auto &entry : queue_.jobs) {
            Job &job = entry.second;
            const auto row = std::find_if(actual.begin(), actual.end(),
                                          [&](const Job &other) { return other.id == job.id; });
            if (!job.updated_at && row != actual.end())
                job.updated_at = row->updated_at;
            expected.push_back(job);
        }
        if (actual == expected)
            return;
        std::ostringstream text;
        text << "the rows differ; there are\n";
        for (const Job &job : actual)
            text << "    " << job << '\n';
        text << "and should be\n";
        for (const Job &job : expected)
            text << "    " << job << '\n';
        RC_FAIL(text.str());
    }
};

class Transitions : public testing::TestWithParam<Kind> {};

TEST_P(Transitions, agree_with_the_model) {
    EXPECT_TRUE(rc::check(GetParam().name, [] {
        const auto steps = *rc::gen::container<std::vector<Step>>(any_step());
        Sequence sequence(GetParam());
        for (const Step &step : steps)
            sequence.take(step);
    }));
}

INSTANTIATE_TEST_SUITE_P(property, Transitions, testing::ValuesIn(kinds),
                         [](const auto &kind) { return kind.param.name; });

} // namespace
