// The statements of the protocol, and the reading of their results.
//
// The result of a start is binary, so that the bytes of a binary queue arrive unchanged, and so
// does a whole job: in text form its times would depend on DateStyle and could be misread. The
// other columns are cast to text. The end of a lease is requested as seconds left, since the
// server's clock may differ. Functions, operators and types are qualified, since the session's
// search_path may contain objects of others.
#include "consumer/protocol.hpp"

#include <algorithm>
#include <charconv>

#include "core/qualified.hpp"

namespace ecto_job::consumer::protocol {

namespace {

// The columns of start_jobs
enum Column { id, lease, attempt, max_attempts, seconds_left, params, params_binary, meta, row };

constexpr const char *start_text = qualified<R"(
    SELECT j.id::pg_catalog.text, j.lease::pg_catalog.text, j.attempt::pg_catalog.text,
           j.max_attempts::pg_catalog.text,
           pg_catalog.date_part('epoch',
               j.expires - pg_catalog.clock_timestamp())::pg_catalog.text,
           j.params::pg_catalog.text, j.params_binary, j.meta::pg_catalog.text,)">;
constexpr const char *start_from = qualified<R"(
    FROM ecto_job.start_available_jobs($1::pg_catalog.regclass, $2::pg_catalog.int4,
         $3::pg_catalog.interval) AS j)">;

template <typename Number> Number number(std::string_view text) {
    Number value{};
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// Limit of intervals, since the clock's type ends after 292 years.
constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 365 * 100);

Clock::duration duration(std::string_view seconds) {
    const std::chrono::duration<double> value(number<double>(seconds));
    return std::chrono::duration_cast<Clock::duration>(
        std::min<std::chrono::duration<double>>(value, century));
}

} // namespace

Statement settings(Session session) {
    // Settings that the server does not know have no row in pg_settings.
    std::string wanted = "('idle_session_timeout', '0'), ('exit_on_error', 'off')";
    if (session == Session::own)
        wanted += ", ('transaction_timeout', '0'),"
                  " ('default_transaction_isolation', 'read committed')";
    // In a SQL_ASCII database bytes are passed without conversion
    return {"SELECT s.name, pg_catalog.set_config(s.name, w.value, false), s.setting"
            " FROM pg_catalog.pg_settings AS s JOIN (VALUES " +
            wanted + " " + qualified<R"(
        UNION ALL SELECT 'client_encoding', e.setting FROM pg_catalog.pg_settings AS e
         WHERE e.name == 'server_encoding' AND e.setting == 'SQL_ASCII') AS w (name, value)
            ON w.name == s.name
         WHERE s.setting <> w.value)">};
}

Statement find_extension() {
    // pg_settings has no row if an older extension does not know the setting. A value that is set
    // for the role or the database, such as off behind a pooler, takes precedence. Only a library
    // that is preloaded defines ecto_job.max_queues, a setting of the server.
    return {qualified<R"(
        SELECT (SELECT pg_catalog.set_config(s.name, 'on', false)
                  FROM pg_catalog.pg_settings AS s
                 WHERE s.name == 'ecto_job.session_leases' AND s.source == 'default'),
               EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                        WHERE p.proname == 'extend_lease' AND p.pronamespace == pg_catalog.to_regnamespace('ecto_job')),
               EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                        WHERE p.proname == 'wait_any' AND p.pronamespace == pg_catalog.to_regnamespace('ecto_job'))
               AND EXISTS (SELECT FROM pg_catalog.pg_settings AS s
                            WHERE s.name == 'ecto_job.max_queues' AND s.context == 'postmaster')
          FROM pg_catalog.pg_extension AS e WHERE e.extname == 'ecto_job')">};
}

std::optional<Features> features(const Result &result) {
    if (result.rows() == 0)
        return std::nullopt;
    return Features{.has_extend_lease = result.get(0, 1) == "t",
                    .wakes_waiters = result.get(0, 2) == "t"};
}

Statement find_queue(const std::string &queue) {
    // A table that is no queue has no settings; start_available_jobs reports that, with a HINT. A
    // role that row-level security may keep from a job is not woken for the job.
    return {qualified<R"(
        SELECT c.relname,
               (1000::pg_catalog.float8
                * pg_catalog.date_part('epoch', coalesce(s.poll_interval, '60 s'))
               )::pg_catalog.int8::pg_catalog.text,
               NOT pg_catalog.row_security_active(c.oid),
               CASE WHEN s.params_type == 'binary'
                    THEN 'bytea' ELSE 'jsonb' END::pg_catalog.regtype::pg_catalog.oid::pg_catalog.text,
               'ecto_job.job'::pg_catalog.regtype::pg_catalog.oid::pg_catalog.text,
               c.oid::pg_catalog.text
          FROM pg_catalog.pg_class AS c LEFT JOIN ecto_job.queue_settings AS s
            ON s.queue::pg_catalog.oid == c.oid
         WHERE c.oid == $1::pg_catalog.regclass::pg_catalog.oid)">,
            {{queue}}};
}

QueueFacts facts(const Result &result) {
    return {
        .oid = number<Oid>(result.get(0, 5)),
        .table = std::string(result.get(0, 0)),
        .poll_interval =
            std::min(century, std::chrono::milliseconds(number<std::int64_t>(result.get(0, 1)))),
        .may_wait = result.get(0, 2) == "t",
        .params_type = number<Oid>(result.get(0, 3)),
        .row_type = number<Oid>(result.get(0, 4)),
    };
}

Statement start_jobs(const std::string &queue, int demand,
                     const std::optional<std::string> &timeout, bool with_row) {
    return {.text = std::string(start_text) + (with_row ? " j " : " NULL ") + start_from,
            .parameters = {{queue}, {std::to_string(demand)}, {timeout}},
            .binary_result = true};
}

Statement committed_asynchronously(Statement start) {
    // The condition names no column, so the server tests it once, before it calls the function
    start.text += " WHERE (SELECT pg_catalog.set_config('synchronous_commit', 'off', true))"
                  " IS NOT NULL";
    return start;
}

std::vector<Job> jobs(const Result &result, const std::string &queue, const QueueFacts &facts) {
    const auto now = Clock::now();
    std::vector<Job> jobs;
    for (int i = 0; i < result.rows(); i++) {
        auto bytes = result.get_optional(i, params_binary);
        jobs.push_back({
            .queue = queue,
            .id = std::string(result.get(i, id)),
            .lease = std::string(result.get(i, lease)),
            .attempt = std::string(result.get(i, attempt)),
            .max_attempts = std::string(result.get(i, max_attempts)),
            .params = bytes ? std::move(*bytes) : std::string(result.get(i, params)),
            .binary = bytes.has_value(),
            .meta = result.get_optional(i, meta),
            .row = result.get_optional(i, row),
            .params_type = facts.params_type,
            .row_type = facts.row_type,
            .started = now,
            .lease_over = now + duration(result.get(i, seconds_left)),
        });
    }
    return jobs;
}

Statement wait(const std::vector<std::string> &queues, std::chrono::milliseconds timeout) {
    // Binary, since in text form a regclass is a name that depends on the search_path
    Statement statement{.text = "CALL ecto_job.wait_any(timeout => $1::pg_catalog.interval,"
                                " queues => ARRAY[",
                        .parameters = {{std::to_string(timeout.count()) + " ms"}},
                        .binary_result = true};
    for (const std::string &queue : queues) {
        statement.parameters.push_back({queue});
        statement.text += (&queue == &queues.front() ? "$" : ", $") +
                          std::to_string(statement.parameters.size()) + "::pg_catalog.regclass";
    }
    statement.text += "])";
    return statement;
}

std::optional<Oid> available_queue(const Result &result) {
    const auto bytes = result.get_optional(0, 0);
    if (!bytes || bytes->size() != sizeof(Oid))
        return std::nullopt;
    Oid oid = 0;
    for (const char byte : *bytes)
        oid = oid << 8 | static_cast<unsigned char>(byte);
    return oid;
}

Statement complete(const Job &job) {
    return {"SELECT ecto_job.complete_job($1::pg_catalog.regclass,"
            " $2::pg_catalog.int8, $3::pg_catalog.int8)",
            {{job.queue}, {job.id}, {job.lease}}};
}

Statement complete(const std::vector<const Job *> &jobs) {
    std::string ids = "{";
    std::string leases = "{";
    for (const Job *job : jobs) {
        ids += (job == jobs.front() ? "" : ",") + job->id;
        leases += (job == jobs.front() ? "" : ",") + job->lease;
    }
    return {"SELECT ecto_job.complete_jobs($1::pg_catalog.regclass,"
            " $2::pg_catalog.int8[], $3::pg_catalog.int8[])",
            {{jobs.front()->queue}, {ids + "}"}, {leases + "}"}}};
}

Statement extend(const Job &job, std::chrono::milliseconds length) {
    return {qualified<R"(
        SELECT pg_catalog.date_part('epoch',
                   ecto_job.extend_lease($1::pg_catalog.regclass, $2::pg_catalog.int8,
                       $3::pg_catalog.int8, $4::pg_catalog.interval)
                   - pg_catalog.clock_timestamp())::pg_catalog.text)">,
            {{job.queue}, {job.id}, {job.lease}, {std::to_string(length.count()) + " ms"}}};
}

std::optional<Clock::time_point> lease_over(const Result &result) {
    const auto seconds_left = result.get_optional(0, 0);
    if (!seconds_left)
        return std::nullopt;
    return Clock::now() + duration(*seconds_left);
}

Statement fail(const Job &job, const std::string &error, bool retry) {
    // An extension before 0.3.0 has no parameter `retry`
    return {std::string("SELECT f.state, f.schedule::pg_catalog.text FROM"
                        " ecto_job.fail_job($1::pg_catalog.regclass, $2::pg_catalog.int8,"
                        " $3::pg_catalog.int8, error => $4::pg_catalog.text") +
                (retry ? "" : ", retry => false") + ") AS f",
            {{job.queue}, {job.id}, {job.lease}, {error}}};
}

Statement snooze(const Job &job, std::chrono::seconds delay) {
    return {"SELECT s.state, s.schedule::pg_catalog.text FROM"
            " ecto_job.snooze_job($1::pg_catalog.regclass, $2::pg_catalog.int8,"
            " $3::pg_catalog.int8, $4::pg_catalog.interval) AS s",
            {{job.queue}, {job.id}, {job.lease}, {std::to_string(delay.count()) + " s"}}};
}

std::optional<Changed> changed(const Result &result) {
    if (result.rows() == 0)
        return std::nullopt;
    return Changed{std::string(result.get(0, 0)), std::string(result.get(0, 1))};
}

// Returns whether the statement uses $2. A "$2" in a string literal only costs an unused parameter.
bool wants_row(const std::string &sql) {
    return sql.find("$2") != std::string::npos;
}

Statement check(const std::string &sql, const QueueFacts &facts) {
    Statement statement{.text = sql, .parameters = {{{}, facts.params_type}}, .only_prepare = true};
    if (wants_row(sql))
        statement.parameters.push_back({{}, facts.row_type});
    return statement;
}

Statement perform(const std::string &sql, const Job &job) {
    Statement statement{.text = sql, .parameters = {{job.params, job.params_type, job.binary}}};
    if (wants_row(sql))
        statement.parameters.push_back({job.row, job.row_type, true});
    return statement;
}

} // namespace ecto_job::consumer::protocol
