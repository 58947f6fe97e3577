// The statements of the protocol, and the rows that answer them.
//
// The start's result is binary, so that a binary queue's bytes come as they are; the other columns
// are cast to text, whose binary form is the text. The lease's end is asked for as seconds left:
// the server's clock need not be ours. No lock.
#include "consumer/protocol.hpp"

#include <algorithm>
#include <charconv>

namespace ecto_job::consumer::protocol {

namespace {

// The columns of start_jobs
enum Column { id, lease, attempt, max_attempts, seconds_left, params, params_binary, meta, row };

constexpr const char *start_text =
    "SELECT j.id::text, j.lease::text, j.attempt::text, j.max_attempts::text,"
    " pg_catalog.date_part('epoch', j.expires - pg_catalog.clock_timestamp())::text,"
    " j.params::text, j.params_binary, j.meta::text, ";
constexpr const char *start_from =
    " FROM ecto_job.start_available_jobs($1::regclass, $2::integer, $3::interval) AS j";

template <typename Number> Number number(std::string_view text) {
    Number value{};
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// Longer intervals end here: the clock's own type ends after 292 years.
constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 365 * 100);

} // namespace

Statement find_extension() {
    // pg_settings, since an older extension does not know the setting, and so that who has set it
    // for the role or the database, off before a pooler, has the last word
    return {
        "SELECT (SELECT pg_catalog.set_config(s.name, 'on', false) FROM pg_catalog.pg_settings s"
        " WHERE s.name = 'ecto_job.session_leases' AND s.source = 'default')"
        " FROM pg_catalog.pg_extension WHERE extname = 'ecto_job'"};
}

Statement find_queue(const std::string &queue) {
    // A table that is no queue has no settings: start_available_jobs says so, with its HINT
    return {"SELECT c.relname,"
            " (1000 * pg_catalog.date_part('epoch', coalesce(s.poll_interval, '60 s')))"
            "::bigint::text,"
            " CASE s.params_type WHEN 'binary' THEN 'bytea' ELSE 'jsonb' END"
            "::regtype::oid::text,"
            " 'ecto_job.job'::regtype::oid::text"
            " FROM pg_catalog.pg_class c LEFT JOIN ecto_job.queue_settings s ON s.queue = c.oid"
            " WHERE c.oid = $1::regclass",
            {{queue}}};
}

QueueFacts facts(const Result &result) {
    return {
        .table = std::string(result.get(0, 0)),
        .poll_interval =
            std::min(century, std::chrono::milliseconds(number<std::int64_t>(result.get(0, 1)))),
        .params_type = number<Oid>(result.get(0, 2)),
        .row_type = number<Oid>(result.get(0, 3)),
    };
}

Statement start_jobs(const std::string &queue, int demand,
                     const std::optional<std::string> &timeout, bool with_row) {
    return {.text = std::string(start_text) + (with_row ? "j::text" : "NULL::text") + start_from,
            .parameters = {{queue}, {std::to_string(demand)}, {timeout}},
            .binary_result = true};
}

std::vector<Job> jobs(const Result &result, const std::string &queue, const QueueFacts &facts) {
    const auto now = Clock::now();
    std::vector<Job> jobs;
    for (int i = 0; i < result.rows(); i++) {
        auto bytes = result.get_optional(i, params_binary);
        const std::chrono::duration<double> left(number<double>(result.get(i, seconds_left)));
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
            .lease_over = now + std::chrono::duration_cast<Clock::duration>(
                                    std::min<std::chrono::duration<double>>(left, century)),
        });
    }
    return jobs;
}

Statement complete(const Job &job) {
    return {"SELECT ecto_job.complete_job($1::regclass, $2::bigint, $3::bigint)",
            {{job.queue}, {job.id}, {job.lease}}};
}

Statement complete(const std::vector<const Job *> &jobs) {
    std::string ids = "{";
    std::string leases = "{";
    for (const Job *job : jobs) {
        ids += (job == jobs.front() ? "" : ",") + job->id;
        leases += (job == jobs.front() ? "" : ",") + job->lease;
    }
    return {"SELECT ecto_job.complete_jobs($1::regclass, $2::bigint[], $3::bigint[])",
            {{jobs.front()->queue}, {ids + "}"}, {leases + "}"}}};
}

Statement fail(const Job &job, const std::string &error) {
    return {"SELECT state, schedule::text FROM"
            " ecto_job.fail_job($1::regclass, $2::bigint, $3::bigint, error => $4::text)",
            {{job.queue}, {job.id}, {job.lease}, {error}}};
}

std::optional<Failed> failed(const Result &result) {
    if (result.rows() == 0)
        return std::nullopt;
    return Failed{std::string(result.get(0, 0)), std::string(result.get(0, 1))};
}

// In a string literal it costs a row that nobody reads, no more
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
        statement.parameters.push_back({job.row, job.row_type});
    return statement;
}

} // namespace ecto_job::consumer::protocol
