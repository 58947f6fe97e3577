// The texts of the statements, in the language of template.hpp.
//
// `now`, expiry and lease are parameters and not volatile functions, so that a distributed engine
// can run a statement on another node.
//
// Rows are selected by ARRAY(SELECT id ... LIMIT n FOR UPDATE SKIP LOCKED). This inner query runs
// exactly once whatever the planner estimates, so never more than n rows are taken. Locked rows are
// skipped, so that a transaction that performs a job makes nobody wait.
#include "queue/statements.hpp"

#include <array>
#include <string_view>
#include <utility>

#include "core/lease.hpp"

namespace ecto_job {

namespace {

constexpr Fragment fragments[] = {
    // Columns
    {"priority", "{if_priority j.priority}{unless_priority 0}"},
    {"schedule", "{as_schedule j.schedule}"},
    {"expires", "{as_expires j.expires}"},
    {"inserted_at", R"({if_inserted_at {as_inserted_at j.{column inserted_at}}}
                       {unless_inserted_at NULL::pg_catalog.timestamptz})"},
    {"updated_at", R"({if_updated_at {as_updated_at j.{column updated_at}}}
                      {unless_updated_at NULL::pg_catalog.timestamptz})"},
    // The columns as ecto_job.job names them. The key's columns come first: reading a column behind
    // one of variable length is slower
    {"job", "{job_without_error}, j.error"},
    {"job_without_error",
     R"(j.id, {priority} AS priority, {schedule} AS schedule, {expires} AS expires,
               {inserted_at} AS inserted_at, {updated_at} AS updated_at,
               j.attempt, j.max_attempts, j.lease, j.state, j.notify, j.key, j.meta,
               j.params {if_binary AS params_binary})"},
    // The casts are for tables whose owner has given a column another type
    {"key", R"({priority}::pg_catalog.int4 AS priority,
               {schedule}::pg_catalog.timestamptz AS schedule, j.id::pg_catalog.int8 AS id)"},
    {"changed", "j.id::pg_catalog.int8 AS id, j.state, j.notify, j.key"}, // see rows_at_fault.hpp
    {"touch", "{if_updated_at , {column updated_at} = {as_updated_at :now}}"},

    // States
    {"held", "@.state == ANY ('{RESERVED,IN_PROGRESS}'::pg_catalog.text[])"},
    {"waits_for_time", R"({if_in_play NOT @.in_play}
                          {unless_in_play @.state == ANY ('{SCHEDULED,RETRY}'::pg_catalog.text[])})"},
    // Unique jobs. The index that keeps two jobs from waiting under one key
    {"key_index", R"({if_in_play (waiting_key) WHERE waiting_key IS NOT NULL}
                     {unless_in_play (key) WHERE key IS NOT NULL AND {waiting_state}})"},
    {"waiting_state", "state == ANY ('{SCHEDULED,AVAILABLE,RETRY}'::pg_catalog.text[])"},
    {"waits_under_key", R"({if_in_play j.waiting_key == :key}
                           {unless_in_play j.key == :key AND j.key IS NOT NULL AND j.{waiting_state}})"},
    // Jobs without a key if :keyed is false, else the one with a key that is changed alone
    {"alone", "(j.key IS NOT NULL) == :keyed"},
    // Whether another job waits under the job's key
    {"has_rival", R"(EXISTS (SELECT FROM ONLY {table} AS o
                              WHERE {if_in_play o.waiting_key == j.key}
                                    {unless_in_play o.key == j.key AND o.{waiting_state}}
                                AND o.id <> j.id))"},

    // The predicate of the index of AVAILABLE, RESERVED and IN_PROGRESS jobs, if the table has it
    {"in_play_and", "{if_in_play @.in_play AND}"},

    // The queue's order. A comparison of rows lets the scan of the index start at a key
    {"row", "({if_priority @.priority,} @.schedule, @.id)"},
    {"order", "{if_priority @.priority,} @.schedule, @.id"},
    {"from_key", "({if_priority :from_priority,} {as_schedule :from_schedule}, :from_id)"},
    {"to_key", "({if_priority :to_priority,} {as_schedule :to_schedule}, :to_id)"},
    // Backwards from the key to the index's start: a forward scan does not stop at the key
    {"up_to", R"(AND {row @} <= {to_key} ORDER BY {backwards @})"},
    {"backwards", "{if_priority @.priority DESC,} @.schedule DESC, @.id DESC"},
    {"up_to_in_own_index", "{if_in_play {up_to @}}"},
    {"among", "j.id == ANY (:ids)"},
    {"not_among", "@.id <> ALL (:ids)"},

    // Attempts. The number of the next attempt is limited by the type
    {"next_attempt", "LEAST(j.attempt, 2147483646) + 1"},
    // The end of a lease or a wait, which lasts as many timeouts as the number of the next attempt:
    // at least one; fewer if the time would leave the calendar
    {"next_time", R"(ecto_job.increase_time(:now,
                     GREATEST(LEAST(j.attempt, :attempt_limit), 0) + 1, :timeout))"},
    // Whether the job, when its lease ends, has no attempt left
    {"exhausted", "@.state == 'IN_PROGRESS' AND @.attempt >= GREATEST(@.max_attempts, 1)"},
    // Whether the job, when its attempt has failed, has another attempt left
    {"attempt_left", "j.attempt < GREATEST(j.max_attempts, 1)"},
    // The time of the attempt after one that has failed
    {"retry_time", R"({unless_retry_delay {next_time}}
        {if_retry_delay ecto_job.retry_time(:now, j.attempt, :timeout, :backoff, :longest_delay,
                                            :jitter, :seed, j.id)})"},

    // A lease that is bound to a session; the session's number (core/lease.hpp)
    {"bound", "(@.lease & 1) == 1"},
    {"session", "(@.lease >> 21)"},

    // Shared by the statements of a transition
    {"due", R"(SELECT w.id FROM ONLY {table} AS w
                WHERE {waits_for_time w} AND w.schedule <= {as_schedule :now})"},
    {"activate", "UPDATE ONLY {table} AS j SET state = 'AVAILABLE', expires = NULL {touch}"},
    {"available", "FROM ONLY {table} AS j WHERE {in_play_and j} j.state == 'AVAILABLE'"},
    {"claimable", "SELECT j.id {available} AND {row j} >= {from_key}"},
    {"reserve", R"(UPDATE ONLY {table} AS j
                      SET state = 'RESERVED', expires = {as_expires :expires}, lease = :lease
                          {touch})"},
    {"start", R"(UPDATE ONLY {table} AS j
                    SET state = 'IN_PROGRESS', attempt = {next_attempt},
                        expires = {as_expires {next_time}}, lease = :lease {touch})"},
    // j.id = ANY is the index's condition.
    // IS TRUE keeps the pairs from becoming a join, whose plan might read the whole index if it was
    // made while the table was small.
    // :lease is given if all jobs have one lease, as those of one claim; then no pairs are read
    {"completed", R"(j.id == ANY (:ids)
        AND (j.lease == :lease
             OR (:lease IS NULL
                 AND ((j.id, j.lease) == ANY (
                        SELECT h.id, h.lease
                          FROM ROWS FROM (pg_catalog.unnest(:ids), pg_catalog.unnest(:leases))
                               AS h (id, lease))) IS TRUE))
        AND {held j})"},
    {"expired", R"(SELECT w.id FROM ONLY {table} AS w
                    WHERE {in_play_and w} {held w}
                      AND (w.expires IS NULL OR w.expires <= {as_expires :now})
                      AND (:exhausted IS NULL OR ({exhausted w}) == :exhausted))"},
    // A job that may come back and has a key only loses its lease at first (unique_jobs.hpp)
    {"end_lease", R"(UPDATE ONLY {table} AS j
        SET expires = CASE WHEN {stays_held} THEN j.expires END, lease = NULL,
            error = CASE WHEN j.state == 'IN_PROGRESS'
                         THEN 'the lease of attempt ' || j.attempt::pg_catalog.text || ' expired'
                         ELSE j.error END,
            state = CASE WHEN {stays_held} THEN j.state WHEN {exhausted j} THEN 'FAILED'
                         ELSE 'AVAILABLE' END {touch})"},
    {"stays_held", "j.key IS NOT NULL AND NOT :keyed AND NOT ({exhausted j})"},
    {"orphaned", R"(SELECT w.id FROM ONLY {table} AS w
                     WHERE {in_play_and w} {held w} AND {bound w}
                       AND {session w} == ANY (:sessions))"},
    // A RESERVED job is treated as an expired one, an IN_PROGRESS job as one that failed
    {"give_back", R"(UPDATE ONLY {table} AS j
        SET expires = CASE WHEN {given_held} THEN j.expires END,
            lease = CASE WHEN {given_held} THEN j.lease END,
            state = CASE WHEN {given_held} THEN j.state
                         WHEN j.state == 'RESERVED' THEN 'AVAILABLE'
                         WHEN {attempt_left} THEN 'RETRY' ELSE 'FAILED' END,
            schedule = CASE WHEN j.state == 'IN_PROGRESS' AND {attempt_left}
                                 AND NOT ({given_held})
                            THEN {as_schedule {retry_time}} ELSE j.schedule END,
            error = CASE WHEN j.state == 'RESERVED' THEN j.error ELSE :error END {touch})"},
    {"given_held",
     "j.key IS NOT NULL AND NOT :keyed AND (j.state == 'RESERVED' OR {attempt_left})"},

    {"new_columns", "params, schedule, max_attempts, {if_priority priority,} notify, meta"},
    {"new_values", R"(:params, {as_schedule :schedule}, :max_attempts, {if_priority :priority,}
                      :notify, :meta)"},
};

struct StatementSource {
    Statement statement;
    Scan scan;
    std::string_view text;
};

constexpr StatementSource sources[] = {
    // The statement names only the columns in the documented grant for producers
    {Statement::enqueue, Scan::statistics, R"(
        INSERT INTO {table} ({new_columns}) VALUES ({new_values}) RETURNING id)"},
    // A job for the future in a session whose triggers do not fire (session_replication_role)
    {Statement::enqueue_scheduled, Scan::statistics, R"(
        INSERT INTO {table} ({new_columns}, state) VALUES ({new_values}, 'SCHEDULED')
        RETURNING id)"},
    {Statement::enqueue_unless_waiting, Scan::statistics, R"(
        INSERT INTO {table} ({new_columns}, key) VALUES ({new_values}, :key)
        ON CONFLICT {key_index} DO NOTHING
        RETURNING id)"},
    {Statement::enqueue_or_replace, Scan::statistics, R"(
        INSERT INTO {table} AS j ({new_columns}, key) VALUES ({new_values}, :key)
        ON CONFLICT {key_index} DO UPDATE
           SET params = EXCLUDED.params,
               schedule = COALESCE({as_schedule :due}, j.schedule),
               max_attempts = COALESCE(:new_max_attempts, j.max_attempts),
               {if_priority priority = COALESCE(:new_priority, j.priority),}
               notify = COALESCE(EXCLUDED.notify, j.notify),
               meta = COALESCE(:new_meta, j.meta),
               state = CASE WHEN :due IS NOT NULL THEN EXCLUDED.state
                            WHEN j.state == 'RETRY' THEN 'SCHEDULED' ELSE j.state END,
               attempt = CASE WHEN j.state == 'RETRY' THEN 0 ELSE j.attempt END {touch}
        RETURNING {key}, j.state)"},
    {Statement::lock_waiting_job, Scan::index, R"(
        SELECT {key}, j.state FROM ONLY {table} AS j WHERE {waits_under_key} FOR KEY SHARE)"},

    // ORDER BY makes the planner use the index
    {Statement::activate_scheduled_jobs, Scan::own_index, R"(
        {activate}
         WHERE j.id == ANY (ARRAY(
                 {due} ORDER BY w.schedule LIMIT :limit FOR UPDATE SKIP LOCKED)))"},
    {Statement::select_scheduled_jobs, Scan::own_index, R"(
        {due} AND {not_among w} ORDER BY w.schedule LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    // Jobs with the same schedule are ordered by id
    {Statement::select_scheduled_after, Scan::own_index, R"(
        {due} AND w.schedule >= {as_schedule :schedule}
          AND (w.schedule, w.id) > ({as_schedule :schedule}, :id) AND {not_among w}
        ORDER BY w.schedule, w.id LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    {Statement::activate_selected_jobs, Scan::index, R"(
        {activate} WHERE {among} AND {waits_for_time j} RETURNING {changed})"},

    {Statement::available_jobs, Scan::index, R"(
        SELECT {job} {available} ORDER BY {order j} LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    {Statement::reserve_available_jobs, Scan::index, R"(
        {reserve}
         WHERE j.id == ANY (ARRAY(
                 {claimable} ORDER BY {order j} LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING {job})"},
    {Statement::select_available_jobs, Scan::index, R"(
        {claimable} AND {not_among j} ORDER BY {order j} LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    {Statement::reserve_selected_jobs, Scan::index, R"(
        {reserve} WHERE {among} AND j.state == 'AVAILABLE' RETURNING {changed})"},
    {Statement::update_job_in_progress, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET state = 'IN_PROGRESS', attempt = {next_attempt},
               expires = {as_expires {next_time}} {touch}
         WHERE j.id == :id AND j.attempt == :attempt AND j.state == 'RESERVED'
           AND j.expires > {as_expires :now} AND (:lease IS NULL OR j.lease == :lease)
        RETURNING {job})"},
    {Statement::start_available_jobs, Scan::index, R"(
        {start}
         WHERE j.id == ANY (ARRAY(
                 {claimable} ORDER BY {order j} LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING {job})"},
    {Statement::start_selected_jobs, Scan::index, R"(
        {start} WHERE {among} AND j.state == 'AVAILABLE' RETURNING {changed})"},
    {Statement::claimed_jobs, Scan::index, R"(
        SELECT {job} FROM ONLY {table} AS j WHERE {among})"},
    {Statement::fail_selected_job, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET state = 'FAILED', expires = NULL, lease = NULL, error = :error {touch}
         WHERE j.id == :id AND j.state <> 'FAILED'
        RETURNING {changed})"},

    // Deletes under EctoJob's guard (id and attempt), in any state
    {Statement::delete_job, Scan::index, R"(
        DELETE FROM ONLY {table} AS j
         WHERE j.id == :id AND j.attempt == :attempt AND (:lease IS NULL OR j.lease == :lease)
        RETURNING j.id, j.notify)"},
    {Statement::complete_job, Scan::index, R"(
        DELETE FROM ONLY {table} AS j
         WHERE j.id == :id AND j.lease == :lease AND {held j}
        RETURNING j.id, j.notify)"},
    {Statement::complete_jobs, Scan::index, R"(
        DELETE FROM ONLY {table} AS j WHERE {completed} RETURNING j.id, j.lease, j.notify)"},
    // The rows that complete_jobs should have deleted
    {Statement::kept_jobs, Scan::index, R"(
        SELECT j.id, j.lease FROM ONLY {table} AS j WHERE {completed})"},
    {Statement::holder_of_job, Scan::index, R"(
        SELECT j.attempt, j.state, j.lease FROM ONLY {table} AS j WHERE j.id == :id)"},
    {Statement::job_failed, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET expires = NULL, lease = NULL, error = :error,
               state = CASE WHEN :retry AND {attempt_left} THEN 'RETRY' ELSE 'FAILED' END,
               schedule = CASE WHEN :retry AND {attempt_left}
                               THEN {as_schedule COALESCE(:due, {retry_time})}
                               ELSE j.schedule END {touch}
         WHERE j.id == :id AND j.state == 'IN_PROGRESS'
           AND (:attempt IS NULL OR j.attempt == :attempt)
           AND (:lease IS NULL OR j.lease == :lease) AND {alone}
        RETURNING {job})"},
    {Statement::supersede_job, Scan::index, R"(
        DELETE FROM ONLY {table} AS j
         WHERE j.id == :id AND {held j} AND (:attempt IS NULL OR j.attempt == :attempt)
           AND (:lease IS NULL OR j.lease == :lease) AND {has_rival}
        RETURNING {job})"},
    {Statement::postpone_wait_again, Scan::index, R"(
        UPDATE ONLY {table} AS j SET expires = {as_expires :expires}
         WHERE j.id == :id AND {held j}
        RETURNING {changed})"},

    // The attempt that the job has begun does not count
    {Statement::snooze_job, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET expires = NULL, lease = NULL,
               attempt = CASE WHEN j.state == 'IN_PROGRESS' THEN GREATEST(j.attempt, 1) - 1
                              ELSE j.attempt END,
               state = CASE WHEN :due IS NULL THEN 'AVAILABLE' ELSE 'SCHEDULED' END,
               schedule = COALESCE({as_schedule :due}, j.schedule) {touch}
         WHERE j.id == :id AND j.lease == :lease AND {held j} AND {alone}
        RETURNING {job})"},
    {Statement::extend_lease, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET expires = GREATEST(j.expires, {as_expires :expires}) {touch}
         WHERE j.id == :id AND j.lease == :lease AND {held j} AND j.expires > {as_expires :now}
        RETURNING {expires}::pg_catalog.timestamptz AS time)"},
    {Statement::cancel_job, Scan::index, R"(
        DELETE FROM ONLY {table} AS j
         WHERE j.id == ANY (ARRAY(
                 SELECT w.id FROM ONLY {table} AS w WHERE w.id == :id FOR UPDATE SKIP LOCKED))
        RETURNING {job_without_error}, COALESCE(:error, j.error) AS error)"},

    // :exhausted is false for activate_expired_jobs, true for fail_expired_jobs_at_max_attempts,
    // null for both. Scans all rows in play up to the key, since no index leads to expires
    {Statement::end_expired_leases, Scan::own_index, R"(
        {end_lease}
         WHERE j.id == ANY (ARRAY(
                 {expired} {up_to_in_own_index w} LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING j.id, j.state, j.notify, j.key)"},
    {Statement::select_expired_jobs, Scan::own_index, R"(
        {expired} AND {not_among w} {up_to_in_own_index w} LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    {Statement::end_selected_leases, Scan::index, R"(
        {end_lease} WHERE {among} AND {held j} RETURNING {changed})"},

    {Statement::bound_sessions, Scan::index, R"(
        SELECT DISTINCT {session h} AS session
          FROM (SELECT j.lease FROM ONLY {table} AS j
                 WHERE {in_play_and j} {held j} AND {bound j} {up_to j}) AS h)"},
    {Statement::give_back_jobs, Scan::index, R"(
        {give_back}
         WHERE j.id == ANY (ARRAY({orphaned} {up_to w} LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING j.id, j.state, j.notify, j.key)"},
    {Statement::select_orphaned_jobs, Scan::index, R"(
        {orphaned} AND {not_among w} {up_to w} LIMIT :limit FOR UPDATE SKIP LOCKED)"},
    {Statement::give_back_selected_jobs, Scan::index, R"(
        {give_back} WHERE {among} AND {held j} RETURNING {changed})"},

    {Statement::requeue, Scan::index, R"(
        UPDATE ONLY {table} AS j
           SET state = 'SCHEDULED', attempt = 0, expires = NULL, lease = NULL {touch}
         WHERE j.id == :id AND j.state == 'FAILED' AND {alone}
        RETURNING {job})"},

    // A window is a number of rows in the order of id, the only index that has all jobs
    {Statement::failed_jobs_of_window, Scan::index, R"(
        SELECT h.id::pg_catalog.int8 AS id,
               (h.state == 'FAILED' AND h.updated_at <= :failed_before) AS is_old
          FROM (SELECT j.id, j.state, {updated_at} AS updated_at FROM ONLY {table} AS j
                 WHERE j.id > :id ORDER BY j.id LIMIT :limit) AS h)"},
    // A job that was requeued since the window was read stays
    {Statement::delete_failed_jobs, Scan::index, R"(
        DELETE FROM ONLY {table} AS d
         WHERE d.id == ANY (ARRAY(
                 SELECT j.id FROM ONLY {table} AS j
                  WHERE {among} AND j.state == 'FAILED' AND {updated_at} <= :failed_before
                    FOR UPDATE SKIP LOCKED)))"},

    {Statement::next_due, Scan::own_index, R"(
        SELECT {schedule}::pg_catalog.timestamptz AS time FROM ONLY {table} AS j
         WHERE {waits_for_time j} AND j.schedule >= {as_schedule :now}
         ORDER BY j.schedule LIMIT 1)"},
    // A lease without an end counts as ended. OFFSET 0 keeps the planner from flattening the
    // subquery
    {Statement::next_expiry, Scan::own_index, R"(
        SELECT pg_catalog.min(h.expires)::pg_catalog.timestamptz AS time
          FROM (SELECT COALESCE({expires}, '-infinity') AS expires FROM ONLY {table} AS j
                 WHERE {in_play_and j} {held j} AND COALESCE({expires}, '-infinity') >= :now
                 {up_to_in_own_index j} OFFSET 0) AS h)"},
    {Statement::first_available, Scan::index, R"(
        SELECT {key} {available} AND {row j} >= {from_key} ORDER BY {order j} LIMIT 1)"},
    {Statement::last_held, Scan::own_index, R"(
        SELECT {key} FROM ONLY {table} AS j
         WHERE {in_play_and j} {held j} ORDER BY {backwards j} LIMIT 1)"},
    {Statement::end_of_head, Scan::index, R"(
        SELECT {key} FROM ONLY {table} AS j
         WHERE {in_play_and j} true ORDER BY {order j} OFFSET :limit LIMIT 1)"},
    {Statement::key_of_job, Scan::index, R"(
        SELECT {key} FROM ONLY {table} AS j WHERE j.id == :id)"},
};
static_assert(std::size(sources) == statement_count);
static_assert(lease_session_shift == 21, "as in {session}");

constexpr bool are_in_order() {
    for (std::size_t at = 0; at < statement_count; at++)
        if (sources[at].statement != static_cast<Statement>(at))
            return false;
    return true;
}
static_assert(are_in_order());

// The parameters of each statement. A misspelt word or parameter in a text does not compile. Each
// statement has a constant of its own, since compilers limit the steps that a constant may take.
template <std::size_t at> constexpr Signature signature = signature_of(fragments, sources[at].text);

template <std::size_t... at>
constexpr std::array<Signature, statement_count> all_signatures(std::index_sequence<at...>) {
    return {signature<at>...};
}
constexpr auto signatures = all_signatures(std::make_index_sequence<statement_count>());

} // namespace

Scan scan_of(Statement statement) {
    return sources[static_cast<std::size_t>(statement)].scan;
}

std::span<const std::uint8_t> parameters_of(Statement statement) {
    return signatures[static_cast<std::size_t>(statement)].parameters_used();
}

std::size_t write_text(Statement statement, const TableText &table, char *out) {
    const auto at = static_cast<std::size_t>(statement);
    Signature signature = signatures[at];
    return Expansion(fragments, table, signature, out).expand(sources[at].text);
}

} // namespace ecto_job
