// The state machine, written once. See transitions.hpp.
//
// The texts hold for every shape of table, by placeholders: {table} is the queue's table, {job} the
// row as ecto_job.job has it, {touch} sets updated_at to $1, which is `now` wherever a row changes.
// {as_schedule:time} and {as_expires:time} turn a timestamptz into the column's type, {schedule}
// and {expires} the column into a timestamptz. {priority} is 0 where there is none,
// {with_priority:text} then nothing. {in_play:w} narrows to our index of AVAILABLE, RESERVED and
// IN_PROGRESS where there is one, {down_from_key:w} further to those up to the key of $2, $3, $4,
// read along it, and {waits:w} means SCHEDULED or RETRY.
//
// Operators are qualified, since a caller's search_path may hold others. `now`, expiry and lease
// are parameters and not volatile functions, so that a distributed engine may delegate a statement.
//
// Rows are picked by ARRAY(SELECT id ... LIMIT n FOR UPDATE SKIP LOCKED): the inner query runs
// exactly once whatever the planner believes, so never more than n rows are taken, and locked rows
// are passed by: a transaction that is performing a job keeps nobody waiting.
#include "queue/transitions.hpp"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "core/lease.hpp"
#include "core/state.hpp"
#include "core/times.hpp"
#include "queue/changes.hpp"
#include "queue/claims.hpp"
#include "queue/leases.hpp"
#include "queue/notices.hpp"
#include "queue/plans.hpp"
#include "shared/sessions.hpp"

#define EQ " OPERATOR(pg_catalog.=) "
#define LE " OPERATOR(pg_catalog.<=) "
#define LT " OPERATOR(pg_catalog.<) "
#define GT " OPERATOR(pg_catalog.>) "
#define GE " OPERATOR(pg_catalog.>=) "
#define NEXT_ATTEMPT "j.attempt OPERATOR(pg_catalog.+) 1"
#define HELD(alias)                                                                                \
    alias ".state OPERATOR(pg_catalog.=) ANY ('{RESERVED,IN_PROGRESS}'::pg_catalog.text[])"
// No attempt is left to one whose lease ends
#define EXHAUSTED(alias)                                                                           \
    alias ".state" EQ "'IN_PROGRESS' AND " alias ".attempt" GE "GREATEST(" alias ".max_attempts, " \
          "1)"
// Another attempt is left to one that has failed
#define ATTEMPT_LEFT "j.attempt" LT "GREATEST(j.max_attempts, 1)"
// Bound to a session; its number
#define BOUND(alias) "(" alias ".lease OPERATOR(pg_catalog.&) 1)" EQ "1"
#define SESSION(alias) "(" alias ".lease OPERATOR(pg_catalog.>>) 21)"
// A row comparison, so that the scan of the index starts at the key
#define WAITING(columns, from)                                                                     \
    "SELECT " columns " FROM ONLY {table} AS j WHERE {in_play:j}j.state" EQ "'AVAILABLE'" from     \
    " ORDER BY {with_priority:j.priority, }j.schedule, j.id"
#define FROM_KEY(priority, schedule, id)                                                           \
    " AND ({with_priority:j.priority, }j.schedule, j.id)" GE "({with_priority:" priority           \
    ", }{as_schedule:" schedule "}, " id ")"
#define BACKWARDS(alias)                                                                           \
    " ORDER BY {with_priority:" alias ".priority DESC, }" alias ".schedule DESC"                   \
    ", " alias ".id DESC"
// Backwards, since a scan begins at a row comparison, but goes on behind one to the index's end
#define UP_TO_KEY(alias, priority, schedule, id)                                                   \
    " AND ({with_priority:" alias ".priority, }" alias ".schedule, " alias ".id)" LE               \
    "({with_priority:" priority ", }{as_schedule:" schedule "}, " id ")" BACKWARDS(alias)
#define CLAIM(set)                                                                                 \
    "UPDATE ONLY {table} AS j SET " set "{touch} WHERE j.id" EQ                                    \
    "ANY (ARRAY(" WAITING("j.id", FROM_KEY("$5", "$6", "$7")) " LIMIT $4 FOR UPDATE SKIP LOCKED))" \
                                                              " RETURNING {job}"

namespace ecto_job {

namespace {

constexpr int sqlstate_stale = MAKE_SQLSTATE('J', 'Q', '0', '0', '1');

// In the order of Statement
constexpr StatementSource sources[] = {
    // enqueue; only the columns that the documented grant for enqueuers names
    {"INSERT INTO {table} (params, schedule, max_attempts, {with_priority:priority, }notify, meta)"
     " VALUES ($1, {as_schedule:$2}, $3, {with_priority:$4, }$5, $6) RETURNING id",
     6,
     {JSONBOID, TIMESTAMPTZOID, INT4OID, INT4OID, VARCHAROID, JSONBOID},
     Scan::statistics},
    // activate_scheduled_jobs: ORDER BY makes the plan an index's
    {"UPDATE ONLY {table} AS j SET state = 'AVAILABLE', expires = NULL{touch}"
     " WHERE j.id" EQ "ANY (ARRAY(SELECT w.id FROM ONLY {table} AS w"
     " WHERE {waits:w} AND w.schedule" LE "{as_schedule:$1} ORDER BY w.schedule LIMIT $2"
     " FOR UPDATE SKIP LOCKED))",
     2,
     {TIMESTAMPTZOID, INT8OID},
     Scan::own_index},
    // available_jobs
    {WAITING("{job}", "") " LIMIT $1 FOR UPDATE SKIP LOCKED", 1, {INT8OID}, Scan::index},
    // reserve_available_jobs
    {CLAIM("state = 'RESERVED', expires = {as_expires:$2}, lease = $3"),
     7,
     {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // update_job_in_progress
    {"UPDATE ONLY {table} AS j SET state = 'IN_PROGRESS', attempt = " NEXT_ATTEMPT ","
     " expires = {as_expires:ecto_job.increase_time($1, " NEXT_ATTEMPT ", $2)}{touch}"
     " WHERE j.id" EQ "$3 AND j.attempt" EQ "$4 AND j.state" EQ "'RESERVED'"
     " AND j.expires" GT "{as_expires:$1}"
     " AND ($5 IS NULL OR j.lease" EQ "$5) RETURNING {job}",
     5,
     {TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, INT8OID},
     Scan::index},
    // start_available_jobs
    {CLAIM("state = 'IN_PROGRESS', attempt = " NEXT_ATTEMPT ","
           " expires = {as_expires:ecto_job.increase_time($1, " NEXT_ATTEMPT ", $2)}, lease = $3"),
     7,
     {TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // delete_job: EctoJob's guard, whatever the state
    {"DELETE FROM ONLY {table} AS j WHERE j.id" EQ "$1 AND j.attempt" EQ "$2"
     " AND ($3 IS NULL OR j.lease" EQ "$3) RETURNING j.id, j.notify",
     3,
     {INT8OID, INT4OID, INT8OID},
     Scan::index},
    // complete_job
    {"DELETE FROM ONLY {table} AS j WHERE j.id" EQ "$1 AND j.lease" EQ
     "$2 AND " HELD("j") " RETURNING j.id, j.notify",
     2,
     {INT8OID, INT8OID},
     Scan::index},
    // complete_jobs: j.id = ANY is the index's condition, for a plan of a join may read the whole
    // index if it was made while the table was small; IS TRUE keeps the pairs from becoming a join.
    // $3 is the lease of all, of one claim, which is found without a table of the pairs
    {"DELETE FROM ONLY {table} AS j WHERE j.id" EQ "ANY ($1) AND (j.lease" EQ
     "$3 OR ($3 IS NULL AND ((j.id, j.lease)" EQ "ANY (SELECT h.id, h.lease"
     " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS h (id, lease))) IS TRUE))"
     " AND " HELD("j") " RETURNING j.id, j.lease, j.notify",
     3,
     {INT8ARRAYOID, INT8ARRAYOID, INT8OID},
     Scan::index},
    // holder_of_job
    {"SELECT j.attempt, j.state FROM ONLY {table} AS j WHERE j.id" EQ "$1",
     1,
     {INT8OID},
     Scan::index},
    // job_failed
    {"UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL, error = $3,"
     " state = CASE WHEN " ATTEMPT_LEFT " THEN 'RETRY' ELSE 'FAILED' END,"
     " schedule = CASE WHEN " ATTEMPT_LEFT
     " THEN {as_schedule:ecto_job.increase_time($1, " NEXT_ATTEMPT ", $2)}"
     " ELSE j.schedule END{touch}"
     " WHERE j.id" EQ "$4 AND j.state" EQ "'IN_PROGRESS' AND ($5 IS NULL OR j.attempt" EQ "$5)"
     " AND ($6 IS NULL OR j.lease" EQ "$6) RETURNING {job}",
     6,
     {TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID, INT4OID, INT8OID},
     Scan::index},
    // end_expired_leases: activate_expired_jobs where $6 is false, and where it is true
    // fail_expired_jobs_at_max_attempts; null is both, since each look reads all rows in play up to
    // the key, for no index leads to expires
    {"UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL,"
     " state = CASE WHEN " EXHAUSTED(
         "j") " THEN 'FAILED' ELSE 'AVAILABLE' END{touch}"
              " WHERE j.id" EQ
              "ANY (ARRAY(SELECT w.id FROM ONLY {table} AS w WHERE {in_play:w}" HELD(
                  "w") " AND (w.expires IS NULL OR w.expires" LE "{as_expires:$1})"
                       " AND ($6 IS NULL OR (" EXHAUSTED("w") ")" EQ "$6){down_from_key:w} LIMIT $5"
                                                              " FOR UPDATE SKIP LOCKED))"
                                                              " RETURNING j.id, j.state, j.notify",
     6,
     {TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, BOOLOID},
     Scan::own_index},
    // bound_sessions
    {"SELECT DISTINCT " SESSION("h") " AS session FROM (SELECT j.lease FROM ONLY {table} AS j"
                                     " WHERE {in_play:j}" HELD("j") " AND " BOUND("j")
                                         UP_TO_KEY("j", "$1", "$2", "$3") ") AS h",
     3,
     {INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // give_back_jobs: RESERVED as an expired one, IN_PROGRESS as one that failed
    {"UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL,"
     " state = CASE WHEN j.state" EQ "'RESERVED' THEN 'AVAILABLE'"
     " WHEN " ATTEMPT_LEFT " THEN 'RETRY' ELSE 'FAILED' END,"
     " schedule = CASE WHEN j.state" EQ "'IN_PROGRESS' AND " ATTEMPT_LEFT
     " THEN {as_schedule:ecto_job.increase_time($1, " NEXT_ATTEMPT ", $2)} ELSE j.schedule END,"
     " error = CASE WHEN j.state" EQ "'RESERVED' THEN j.error ELSE $3 END{touch}"
     " WHERE j.id" EQ "ANY (ARRAY(SELECT w.id FROM ONLY {table} AS w WHERE {in_play:w}" HELD(
         "w") " AND " BOUND("w") " AND " SESSION("w") EQ
     "ANY ($4)" UP_TO_KEY("w", "$5", "$6", "$7") " LIMIT $8 FOR UPDATE SKIP LOCKED))"
                                                 " RETURNING j.id, j.state, j.notify",
     8,
     {TIMESTAMPTZOID, INT8OID, TEXTOID, INT8ARRAYOID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID},
     Scan::index},
    // requeue
    {"UPDATE ONLY {table} AS j SET state = 'SCHEDULED', attempt = 0, expires = NULL, lease = "
     "NULL{touch}"
     " WHERE j.id" EQ "$2 AND j.state" EQ "'FAILED' RETURNING {job}",
     2,
     {TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // next_due; the cast, since the table's owner may have given the column another type
    {"SELECT {schedule}::pg_catalog.timestamptz FROM ONLY {table} AS j"
     " WHERE {waits:j} AND j.schedule" GE "{as_schedule:$1} ORDER BY j.schedule LIMIT 1",
     1,
     {TIMESTAMPTZOID},
     Scan::own_index},
    // next_expiry: a lease without an end counts as ended; OFFSET 0 keeps the order
    {"SELECT pg_catalog.min(h.expires)::pg_catalog.timestamptz FROM"
     " (SELECT COALESCE({expires}, '-infinity') AS expires FROM ONLY {table} AS j"
     " WHERE {in_play:j}" HELD("j") " AND COALESCE({expires}, '-infinity')" GE "$1"
                                    "{down_from_key:j} OFFSET 0) AS h",
     4,
     {TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::own_index},
    // first_available; the casts as above
    {WAITING("{priority}::pg_catalog.int4, {schedule}::pg_catalog.timestamptz,"
             " j.id::pg_catalog.int8",
             FROM_KEY("$1", "$2", "$3")) " LIMIT 1",
     3,
     {INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // last_held
    {"SELECT {priority}::pg_catalog.int4, {schedule}::pg_catalog.timestamptz,"
     " j.id::pg_catalog.int8 FROM ONLY {table} AS j WHERE {in_play:j}" HELD("j")
         BACKWARDS("j") " LIMIT 1",
     0,
     {},
     Scan::own_index},
    // end_of_head
    {"SELECT {priority}::pg_catalog.int4, {schedule}::pg_catalog.timestamptz,"
     " j.id::pg_catalog.int8 FROM ONLY {table} AS j WHERE {in_play:j}true"
     " ORDER BY {with_priority:j.priority, }j.schedule, j.id OFFSET $1 LIMIT 1",
     1,
     {INT8OID},
     Scan::index},
};
static_assert(std::size(sources) == statement_count);
static_assert(lease_session_shift == 21, "as in SESSION()");

// A parameter: a value, or SQL's NULL
struct Parameter {
    Datum value;
    bool is_null;

    Parameter(Datum given) : value(given), is_null(false) {}
    Parameter(std::nullopt_t) : value(0), is_null(true) {}
    Parameter(std::optional<int64> given)
        : value(given ? Int64GetDatum(*given) : 0), is_null(!given) {}
    Parameter(std::optional<int32> given)
        : value(given ? Int32GetDatum(*given) : 0), is_null(!given) {}
};

Parameter reference_or_null(Datum given) {
    return given == 0 ? Parameter(std::nullopt) : Parameter(given);
}

uint64 run(Queue *queue, Statement statement, std::initializer_list<Parameter> parameters) {
    Datum values[lengthof(sources[0].types)];
    char nulls[lengthof(sources[0].types)];
    int count = 0;
    for (const Parameter &parameter : parameters) {
        values[count] = parameter.value;
        nulls[count++] = parameter.is_null ? 'n' : ' ';
    }
    const StatementSource &source = sources[static_cast<std::size_t>(statement)];
    SPIPlanPtr const plan = plan_for(queue, statement, source);
    const int result = SPI_execute_plan(plan, values, nulls, false, 0);
    if (result < 0)
        elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
    if (result == SPI_OK_REWRITTEN)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("a rule of queue \"%s\" replaces what ecto_job does to its jobs",
                               NameStr(queue->table)),
                        errhint("Drop the rule; a trigger may do the same.")));
    require_own_table(queue, plan);
    return SPI_processed;
}

// A bigint of the last statement's row
int64 bigint_of(uint64 row, const char *column) {
    const int number = SPI_fnumber(SPI_tuptable->tupdesc, column);
    if (SPI_gettypeid(SPI_tuptable->tupdesc, number) != INT8OID)
        ereport(ERROR,
                (errcode(ERRCODE_DATATYPE_MISMATCH),
                 errmsg("column \"%s\" of the queue is not bigint", column),
                 errhint("A queue keeps the columns that ecto_job.create_queue() gave it.")));
    bool is_null;
    return DatumGetInt64(
        SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &is_null));
}

// The text of a column of the last statement's row; null pointer for NULL
const char *text_of(uint64 row, const char *column) {
    return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
                        SPI_fnumber(SPI_tuptable->tupdesc, column));
}

// As it is after the statement: a trigger of the owner's may have had its say
std::optional<State> state_of(uint64 row) {
    const char *const text = text_of(row, "state");
    return text != nullptr ? state_from(text) : std::nullopt;
}

void notice_each(Queue *queue, Notice notice) {
    const uint64 rows = SPI_processed;
    for (uint64 row = 0; row < rows; row++)
        send_notice(queue, notice, text_of(row, "notify"));
}

// A whole queue's worth for 0; LIMIT NULL has no end
Parameter limit_of(int64 limit) {
    return limit == 0 ? Parameter(std::nullopt) : Parameter(Int64GetDatum(limit));
}

[[noreturn]] void raise_stale(Queue *queue, int64 id) {
    const char *found = "It is gone.";
    if (run(queue, Statement::holder_of_job, {Int64GetDatum(id)}) > 0)
        found = psprintf("It is %s, under another lease or none, at attempt %s.",
                         text_of(0, "state"), text_of(0, "attempt"));
    ereport(ERROR, (errcode(sqlstate_stale),
                    errmsg("job " INT64_FORMAT " of queue \"%s\" is no longer yours", id,
                           NameStr(queue->table)),
                    errdetail("%s", found),
                    errhint("Roll back; do not retry: another consumer has it or has done it.")));
}

void warn_if_started_here(Queue *queue, int64 lease) {
    if (drawn_in_this_transaction(lease))
        ereport(WARNING,
                (errmsg("a job of queue \"%s\" is completed in the transaction that started it",
                        NameStr(queue->table)),
                 errhint("Commit after starting; else a rollback uncounts the attempt.")));
}

struct Held {
    int64 id;
    int64 lease;
};

int compare_held(const void *a, const void *b) {
    const auto &left = *static_cast<const Held *>(a);
    const auto &right = *static_cast<const Held *>(b);
    if (left.id != right.id)
        return left.id < right.id ? -1 : 1;
    return left.lease < right.lease ? -1 : left.lease > right.lease ? 1 : 0;
}

const int64 *elements_of(ArrayType *array) {
    return reinterpret_cast<const int64 *>(ARR_DATA_PTR(array));
}

// The one that all are; nothing if they differ, or are none
std::optional<int64> only_lease(ArrayType *leases) {
    const int64 *const first = elements_of(leases);
    const int count = ArrayGetNItems(ARR_NDIM(leases), ARR_DIMS(leases));
    return count > 0 && std::equal(first + 1, first + count, first) ? std::optional(*first)
                                                                    : std::nullopt;
}

// ERROR with those jobs that the last statement did not return; a repeated pair is no fault
void raise_if_stale(Queue *queue, ArrayType *ids, ArrayType *leases) {
    const auto done_count = static_cast<Size>(SPI_processed);
    auto *done = static_cast<Held *>(palloc((done_count + 1) * sizeof(Held)));
    for (Size row = 0; row < done_count; row++)
        done[row] = {bigint_of(row, "id"), bigint_of(row, "lease")};
    qsort(done, done_count, sizeof(Held), compare_held);

    const int count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
    constexpr int shown_at_most = 100;
    int stale = 0;
    StringInfoData list;
    initStringInfo(&list);
    for (int i = 0; i < count; i++) {
        const Held wanted{elements_of(ids)[i], elements_of(leases)[i]};
        if (bsearch(&wanted, done, done_count, sizeof(Held), compare_held) != nullptr)
            continue;
        if (stale++ < shown_at_most)
            appendStringInfo(&list, "%s" INT64_FORMAT, stale == 1 ? "" : ", ", wanted.id);
    }
    if (stale == 0)
        return;
    if (stale > shown_at_most)
        appendStringInfo(&list, " and %d more", stale - shown_at_most);
    ereport(ERROR, (errcode(sqlstate_stale),
                    errmsg("%d of %d jobs of queue \"%s\" are no longer yours", stale, count,
                           NameStr(queue->table)),
                    errdetail("Stale: %s.", list.data),
                    errhint("Roll back; do not retry these: others have them or have done them.")));
}

// Expiry of a lease that is the same for all rows
TimestampTz expiry(Queue *queue, TimestampTz now, int64 timeout_ms) {
    const std::optional<Micros> expires = reservation_expiry(now, timeout_ms);
    if (!expires)
        ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
                        errmsg("timeout of queue \"%s\" is out of range: " INT64_FORMAT " ms",
                               NameStr(queue->table), timeout_ms),
                        errhint("Give a shorter timeout.")));
    return *expires;
}

// Of a row that has nothing but the three columns of a key
JobKey key_of_only_row() {
    const auto value = [](int column) {
        bool is_null;
        return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    };
    return {DatumGetInt32(value(1)), DatumGetTimestampTz(value(2)), DatumGetInt64(value(3))};
}

// The last job of a claim, in the queue's order, which the rows are not in yet. Unless the owner
// has given a column another type, which is told when the rows are returned
JobKey last_key() {
    const TupleDesc row = SPI_tuptable->tupdesc;
    const int priority = SPI_fnumber(row, "priority");
    const int schedule = SPI_fnumber(row, "schedule");
    const int id = SPI_fnumber(row, "id");
    if (SPI_gettypeid(row, priority) != INT4OID || SPI_gettypeid(row, schedule) != TIMESTAMPTZOID ||
        SPI_gettypeid(row, id) != INT8OID)
        return highest_key;
    const auto value = [row](uint64 at, int column) {
        bool is_null;
        return SPI_getbinval(SPI_tuptable->vals[at], row, column, &is_null);
    };
    JobKey last = lowest_key;
    for (uint64 at = 0; at < SPI_processed; at++)
        last = std::max(last, JobKey{DatumGetInt32(value(at, priority)),
                                     DatumGetTimestampTz(value(at, schedule)),
                                     DatumGetInt64(value(at, id))});
    return last;
}

// When the first lease of a claim ends. A trigger of the owner's may have sent a job elsewhere, of
// which ours tells; or he has given the column another type.
TimestampTz first_expiry() {
    const TupleDesc row = SPI_tuptable->tupdesc;
    const int expires = SPI_fnumber(row, "expires");
    if (SPI_gettypeid(row, expires) != TIMESTAMPTZOID)
        return DT_NOBEGIN;
    TimestampTz first = DT_NOEND;
    for (uint64 at = 0; at < SPI_processed; at++) {
        const std::optional<State> state = state_of(at);
        if (state != State::reserved && state != State::in_progress)
            continue;
        bool is_null;
        const Datum value = SPI_getbinval(SPI_tuptable->vals[at], row, expires, &is_null);
        first = std::min(first, is_null ? DT_NOBEGIN : DatumGetTimestampTz(value));
    }
    return first;
}

uint64 claim_from(Queue *queue, Statement statement, TimestampTz now, Datum timeout, int64 demand,
                  const JobKey &from) {
    const int64 lease = draw_lease();
    const uint64 claimed = run(queue, statement,
                               {TimestampTzGetDatum(now), timeout, Int64GetDatum(lease),
                                Int64GetDatum(demand), Int32GetDatum(from.priority),
                                TimestampTzGetDatum(from.schedule), Int64GetDatum(from.id)});
    if (claimed == 0)
        return 0;
    const JobKey last = last_key();
    note_lease(queue->oid, last, first_expiry()); // once, where the trigger would for each job
    if (is_bound(lease))
        remember_claim(queue->oid, last);
    return claimed;
}

// Whoever gets a job shall not wait until all is looked through for one that the mark may hide
uint64 claim(Queue *queue, Statement statement, TimestampTz now, Datum timeout, int64 demand) {
    const uint64 claimed = claim_from(queue, statement, now, timeout, demand, claim_start(queue));
    if (claimed > 0)
        return claimed;
    const std::optional<JobKey> again = claim_start_again(queue);
    return again ? claim_from(queue, statement, now, timeout, demand, *again) : 0;
}

// What became of the last statement's jobs
EndedLeases ended_leases(Queue *queue) {
    EndedLeases ended{};
    const uint64 rows = SPI_processed;
    for (uint64 row = 0; row < rows; row++) {
        const std::optional<State> state = state_of(row);
        if (state == State::failed) {
            ended.failed++;
            send_notice(queue, Notice::failed, text_of(row, "notify"));
        } else if (state == State::retry) {
            ended.retried++;
            send_notice(queue, Notice::retry, text_of(row, "notify"));
        } else {
            ended.available++;
        }
    }
    return ended;
}

// `exhausted`: true for those alone that have no attempt left, false for those that have
EndedLeases end_leases(Queue *queue, const JobKey &to, TimestampTz now, int64 limit,
                       Parameter exhausted) {
    run(queue, Statement::end_expired_leases,
        {TimestampTzGetDatum(now), Int32GetDatum(to.priority), TimestampTzGetDatum(to.schedule),
         Int64GetDatum(to.id), limit_of(limit), exhausted});
    return ended_leases(queue);
}

// The only column of the only row, if there is one
std::optional<TimestampTz> only_time() {
    if (SPI_processed == 0)
        return std::nullopt;
    bool is_null;
    const Datum time = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    return is_null ? std::nullopt : std::optional(DatumGetTimestampTz(time));
}

} // namespace

int64 enqueue(Queue *queue, const NewJob &job) {
    run(queue, Statement::enqueue,
        {job.params, TimestampTzGetDatum(job.schedule), Int32GetDatum(job.max_attempts),
         Int32GetDatum(job.priority), reference_or_null(job.notify), reference_or_null(job.meta)});
    if (SPI_processed != 1)
        ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
                        errmsg("queue \"%s\" did not take the job", NameStr(queue->table)),
                        errhint("A trigger or rule of the table suppressed the INSERT.")));
    return bigint_of(0, "id");
}

uint64 activate_scheduled_jobs(Queue *queue, TimestampTz now, int64 limit) {
    return run(queue, Statement::activate_scheduled_jobs,
               {TimestampTzGetDatum(now), limit_of(limit)});
}

uint64 available_jobs(Queue *queue, int64 demand) {
    return run(queue, Statement::available_jobs, {Int64GetDatum(demand)});
}

uint64 reserve_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms) {
    return claim(queue, Statement::reserve_available_jobs, now,
                 TimestampTzGetDatum(expiry(queue, now, timeout_ms)), demand);
}

uint64 update_job_in_progress(Queue *queue, int64 id, int32 attempt, TimestampTz now,
                              int64 timeout_ms, std::optional<int64> lease) {
    expiry(queue, now, timeout_ms); // a timeout out of range is told with the queue's name
    return run(queue, Statement::update_job_in_progress,
               {TimestampTzGetDatum(now), Int64GetDatum(timeout_ms), Int64GetDatum(id),
                Int32GetDatum(attempt), lease});
}

uint64 start_available_jobs(Queue *queue, int64 demand, TimestampTz now, int64 timeout_ms) {
    expiry(queue, now, timeout_ms);
    return claim(queue, Statement::start_available_jobs, now, Int64GetDatum(timeout_ms), demand);
}

void delete_job(Queue *queue, int64 id, int32 attempt, std::optional<int64> lease,
                bool with_notice) {
    if (run(queue, Statement::delete_job, {Int64GetDatum(id), Int32GetDatum(attempt), lease}) != 1)
        raise_stale(queue, id);
    if (lease)
        warn_if_started_here(queue, *lease);
    if (with_notice)
        notice_each(queue, Notice::completed);
}

void complete_job(Queue *queue, int64 id, int64 lease) {
    if (run(queue, Statement::complete_job, {Int64GetDatum(id), Int64GetDatum(lease)}) != 1)
        raise_stale(queue, id);
    warn_if_started_here(queue, lease);
    notice_each(queue, Notice::completed);
}

uint64 complete_jobs(Queue *queue, ArrayType *ids, ArrayType *leases) {
    const auto count = static_cast<uint64>(ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)));
    const uint64 deleted = run(queue, Statement::complete_jobs,
                               {PointerGetDatum(ids), PointerGetDatum(leases), only_lease(leases)});
    if (deleted != count)
        raise_if_stale(queue, ids, leases);
    if (count > 0)
        warn_if_started_here(queue, elements_of(leases)[0]);
    notice_each(queue, Notice::completed);
    return deleted;
}

uint64 job_failed(Queue *queue, int64 id, std::optional<int32> attempt, std::optional<int64> lease,
                  TimestampTz now, int64 retry_timeout_ms, Datum error) {
    expiry(queue, now, retry_timeout_ms);
    const uint64 changed = run(queue, Statement::job_failed,
                               {TimestampTzGetDatum(now), Int64GetDatum(retry_timeout_ms),
                                reference_or_null(error), Int64GetDatum(id), attempt, lease});
    if (changed > 0)
        notice_each(queue, state_of(0) == State::failed ? Notice::failed : Notice::retry);
    return changed;
}

uint64 activate_expired_jobs(Queue *queue, TimestampTz now, int64 limit) {
    return static_cast<uint64>(
        end_leases(queue, highest_key, now, limit, BoolGetDatum(false)).count());
}

uint64 fail_expired_jobs_at_max_attempts(Queue *queue, TimestampTz now, int64 limit) {
    return static_cast<uint64>(
        end_leases(queue, highest_key, now, limit, BoolGetDatum(true)).count());
}

EndedLeases end_expired_leases(Queue *queue, const JobKey &to, TimestampTz now, int64 limit) {
    return end_leases(queue, to, now, limit, std::nullopt);
}

ArrayType *ended_sessions(Queue *queue, const JobKey &to) {
    const uint64 count =
        run(queue, Statement::bound_sessions,
            {Int32GetDatum(to.priority), TimestampTzGetDatum(to.schedule), Int64GetDatum(to.id)});
    if (count == 0)
        return nullptr;
    // Not before the rows were read: who holds one of them was living by then, or has ended
    auto *const living =
        static_cast<int64 *>(palloc(static_cast<Size>(max_sessions()) * sizeof(int64)));
    int64 *const living_end = living + living_sessions(living);
    auto *const ended = static_cast<Datum *>(palloc(count * sizeof(Datum)));
    int ended_count = 0;
    for (uint64 row = 0; row < count; row++)
        if (const int64 session = bigint_of(row, "session");
            std::find(living, living_end, session) == living_end)
            ended[ended_count++] = Int64GetDatum(session);
    return ended_count == 0 ? nullptr
                            : construct_array(ended, ended_count, INT8OID, sizeof(int64),
                                              FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

EndedLeases give_back_jobs(Queue *queue, ArrayType *sessions, const JobKey &to, TimestampTz now,
                           int64 limit) {
    expiry(queue, now, queue->retry_timeout_ms);
    run(queue, Statement::give_back_jobs,
        {TimestampTzGetDatum(now), Int64GetDatum(queue->retry_timeout_ms),
         CStringGetTextDatum("the consumer's connection ended"), PointerGetDatum(sessions),
         Int32GetDatum(to.priority), TimestampTzGetDatum(to.schedule), Int64GetDatum(to.id),
         Int64GetDatum(limit)});
    return ended_leases(queue);
}

uint64 requeue(Queue *queue, int64 id, TimestampTz now) {
    return run(queue, Statement::requeue, {TimestampTzGetDatum(now), Int64GetDatum(id)});
}

std::optional<TimestampTz> next_due(Queue *queue, TimestampTz from) {
    run(queue, Statement::next_due, {TimestampTzGetDatum(from)});
    return only_time();
}

std::optional<TimestampTz> next_expiry(Queue *queue, const JobKey &to, TimestampTz from) {
    run(queue, Statement::next_expiry,
        {TimestampTzGetDatum(from), Int32GetDatum(to.priority), TimestampTzGetDatum(to.schedule),
         Int64GetDatum(to.id)});
    return only_time();
}

JobKey last_held(Queue *queue) {
    if (!queue->shape.in_play)
        return highest_key;
    return run(queue, Statement::last_held, {}) == 0 ? lowest_key : key_of_only_row();
}

std::optional<JobKey> first_available(Queue *queue, const JobKey &from) {
    if (run(queue, Statement::first_available,
            {Int32GetDatum(from.priority), TimestampTzGetDatum(from.schedule),
             Int64GetDatum(from.id)}) == 0)
        return std::nullopt;
    return key_of_only_row();
}

JobKey end_of_head(Queue *queue) {
    constexpr int64 head = 10'000;
    return run(queue, Statement::end_of_head, {Int64GetDatum(head - 1)}) == 0 ? highest_key
                                                                              : key_of_only_row();
}

} // namespace ecto_job
