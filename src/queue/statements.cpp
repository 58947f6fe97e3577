// The texts of the statements. See statements.hpp.
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
#include "queue/statements.hpp"

#include <iterator>

#include "core/lease.hpp"
#include "queue/plans.hpp"

#define EQ " OPERATOR(pg_catalog.=) "
#define LE " OPERATOR(pg_catalog.<=) "
#define LT " OPERATOR(pg_catalog.<) "
#define GT " OPERATOR(pg_catalog.>) "
#define GE " OPERATOR(pg_catalog.>=) "
#define NE " OPERATOR(pg_catalog.<>) "
// The number of the next attempt, which ends at the type's last
#define NEXT_ATTEMPT "LEAST(j.attempt, 2147483646) OPERATOR(pg_catalog.+) 1"
// The end of a lease or a wait of as many timeouts as the next attempt's number says: of one at
// least, and of no more than fit into the calendar, which are `most` and one
#define NEXT_TIME(timeout, most)                                                                   \
    "ecto_job.increase_time($1, GREATEST(LEAST(j.attempt, " most "), 0) OPERATOR(pg_catalog.+) 1," \
    " " timeout ")"
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
#define PICK_AVAILABLE                                                                             \
    WAITING("j.id", FROM_KEY("$5", "$6", "$7") NOT_AMONG("j", "$9"))                               \
    " LIMIT $4 FOR UPDATE SKIP LOCKED"
#define CLAIM_PICKED(set)                                                                          \
    "UPDATE ONLY {table} AS j SET " set "{touch} WHERE j.id" EQ "ANY ($9) AND j.state" EQ          \
    "'AVAILABLE'" CHANGED
#define RESERVE "state = 'RESERVED', expires = {as_expires:$2}, lease = $3"
#define START                                                                                      \
    "state = 'IN_PROGRESS', attempt = " NEXT_ATTEMPT                                               \
    ", expires = {as_expires:" NEXT_TIME("$2", "$8") "}, lease = $3"
#define CLAIM_TYPES                                                                                \
    {                                                                                              \
        TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID, INT4OID,      \
            INT8ARRAYOID                                                                           \
    }
#define RESERVE_TYPES                                                                              \
    {                                                                                              \
        TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8OID,        \
            INT4OID, INT8ARRAYOID                                                                  \
    }
// What a part of a batch returns: see rows_at_fault.hpp
#define CHANGED " RETURNING j.id::pg_catalog.int8 AS id, j.state, j.notify"
#define NOT_AMONG(alias, ids) " AND " alias ".id" NE "ALL (" ids ")"
#define ACTIVATE                                                                                   \
    "UPDATE ONLY {table} AS j SET state = 'AVAILABLE', expires = NULL{touch} WHERE j.id" EQ
#define DUE(but, then)                                                                             \
    "SELECT w.id FROM ONLY {table} AS w WHERE {waits:w} AND w.schedule" LE "{as_schedule:$1}" but  \
    " ORDER BY w.schedule" then " LIMIT $2 FOR UPDATE SKIP LOCKED"
#define END_LEASE                                                                                  \
    "UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL,"                                   \
    " error = CASE WHEN j.state" EQ "'IN_PROGRESS' THEN 'the lease of attempt '"                   \
    " OPERATOR(pg_catalog.||) j.attempt::pg_catalog.text OPERATOR(pg_catalog.||) ' expired'"       \
    " ELSE j.error END,"                                                                           \
    " state = CASE WHEN " EXHAUSTED("j") " THEN 'FAILED' ELSE 'AVAILABLE' END{touch}"              \
                                         " WHERE j.id" EQ
#define EXPIRED(but)                                                                               \
    "SELECT w.id FROM ONLY {table} AS w WHERE {in_play:w}" HELD(                                   \
        "w") " AND (w.expires IS NULL OR w.expires" LE                                             \
             "{as_expires:$1}) AND ($6 IS NULL OR (" EXHAUSTED(                                    \
                 "w") ")" EQ "$6)" but "{down_from_key:w} LIMIT $5 FOR UPDATE SKIP LOCKED"
#define EXPIRED_TYPES                                                                              \
    { TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, BOOLOID, INT8ARRAYOID }
#define GIVE_BACK                                                                                  \
    "UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL,"                                   \
    " state = CASE WHEN j.state" EQ "'RESERVED' THEN 'AVAILABLE'"                                  \
    " WHEN " ATTEMPT_LEFT " THEN 'RETRY' ELSE 'FAILED' END,"                                       \
    " schedule = CASE WHEN j.state" EQ "'IN_PROGRESS' AND " ATTEMPT_LEFT                           \
    " THEN {as_schedule:" NEXT_TIME(                                                               \
        "$2", "$9") "} ELSE j.schedule END,"                                                       \
                    " error = CASE WHEN j.state" EQ                                                \
                    "'RESERVED' THEN j.error ELSE $3 END{touch} WHERE j.id" EQ
#define ORPHANED(but)                                                                              \
    "SELECT w.id FROM ONLY {table} AS w WHERE {in_play:w}" HELD("w") " AND " BOUND(                \
        "w") " AND " SESSION("w") EQ                                                               \
        "ANY ($4)" but UP_TO_KEY("w", "$5", "$6", "$7") " LIMIT $8 FOR UPDATE SKIP LOCKED"
#define ORPHANED_TYPES                                                                             \
    {                                                                                              \
        TIMESTAMPTZOID, INT8OID, TEXTOID, INT8ARRAYOID, INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, \
            INT4OID, INT8ARRAYOID                                                                  \
    }
#define COMPLETED                                                                                  \
    "j.id" EQ "ANY ($1) AND (j.lease" EQ "$3 OR ($3 IS NULL AND ((j.id, j.lease)" EQ               \
    "ANY (SELECT h.id, h.lease"                                                                    \
    " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS h (id, lease))) IS TRUE))"  \
    " AND " HELD("j")

namespace ecto_job {

namespace {

// In the order of Statement
constexpr StatementSource sources[] = {
    // enqueue; only the columns that the documented grant for enqueuers names
    {"INSERT INTO {table} (params, schedule, max_attempts, {with_priority:priority, }notify, meta)"
     " VALUES ($1, {as_schedule:$2}, $3, {with_priority:$4, }$5, $6) RETURNING id",
     6,
     {JSONBOID, TIMESTAMPTZOID, INT4OID, INT4OID, VARCHAROID, JSONBOID},
     Scan::statistics},
    // enqueue_scheduled: where no trigger makes it so
    {"INSERT INTO {table} (params, schedule, max_attempts, {with_priority:priority, }notify, meta,"
     " state) VALUES ($1, {as_schedule:$2}, $3, {with_priority:$4, }$5, $6, 'SCHEDULED')"
     " RETURNING id",
     6,
     {JSONBOID, TIMESTAMPTZOID, INT4OID, INT4OID, VARCHAROID, JSONBOID},
     Scan::statistics},
    // activate_scheduled_jobs: ORDER BY makes the plan an index's
    {ACTIVATE "ANY (ARRAY(" DUE("", "") "))", 2, {TIMESTAMPTZOID, INT8OID}, Scan::own_index},
    // pick_scheduled_jobs, pick_scheduled_behind (which those of one time need their ids for),
    // activate_picked_jobs
    {DUE(NOT_AMONG("w", "$3"), ""), 3, {TIMESTAMPTZOID, INT8OID, INT8ARRAYOID}, Scan::own_index},
    {DUE(" AND w.schedule" GE "{as_schedule:$4} AND (w.schedule, w.id)" GT
         "({as_schedule:$4}, $5)" NOT_AMONG("w", "$3"),
         ", w.id"),
     5,
     {TIMESTAMPTZOID, INT8OID, INT8ARRAYOID, TIMESTAMPTZOID, INT8OID},
     Scan::own_index},
    {ACTIVATE "ANY ($3) AND {waits:j}" CHANGED,
     3,
     {TIMESTAMPTZOID, INT8OID, INT8ARRAYOID},
     Scan::index},
    // available_jobs
    {WAITING("{job}", "") " LIMIT $1 FOR UPDATE SKIP LOCKED", 1, {INT8OID}, Scan::index},
    // reserve_available_jobs
    {CLAIM(RESERVE), 8, RESERVE_TYPES, Scan::index},
    // pick_for_reserve, reserve_picked_jobs
    {PICK_AVAILABLE, 9, RESERVE_TYPES, Scan::index},
    {CLAIM_PICKED(RESERVE), 9, RESERVE_TYPES, Scan::index},
    // update_job_in_progress
    {"UPDATE ONLY {table} AS j SET state = 'IN_PROGRESS', attempt = " NEXT_ATTEMPT ","
     " expires = {as_expires:" NEXT_TIME(
         "$2", "$6") "}{touch}"
                     " WHERE j.id" EQ "$3 AND j.attempt" EQ "$4 AND j.state" EQ "'RESERVED'"
                     " AND j.expires" GT "{as_expires:$1}"
                     " AND ($5 IS NULL OR j.lease" EQ "$5) RETURNING {job}",
     6,
     {TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, INT8OID, INT4OID},
     Scan::index},
    // start_available_jobs
    {CLAIM(START), 8, CLAIM_TYPES, Scan::index},
    // pick_for_start, start_picked_jobs
    {PICK_AVAILABLE, 9, CLAIM_TYPES, Scan::index},
    {CLAIM_PICKED(START), 9, CLAIM_TYPES, Scan::index},
    // claimed_jobs
    {"SELECT {job} FROM ONLY {table} AS j WHERE j.id" EQ "ANY ($1)",
     1,
     {INT8ARRAYOID},
     Scan::index},
    // fail_picked_job
    {"UPDATE ONLY {table} AS j SET state = 'FAILED', expires = NULL, lease = NULL, error = "
     "$2{touch}"
     " WHERE j.id" EQ "$3 AND j.state" NE "'FAILED'" CHANGED,
     3,
     {TIMESTAMPTZOID, TEXTOID, INT8OID},
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
    {"DELETE FROM ONLY {table} AS j WHERE " COMPLETED " RETURNING j.id, j.lease, j.notify",
     3,
     {INT8ARRAYOID, INT8ARRAYOID, INT8OID},
     Scan::index},
    // kept_jobs: what complete_jobs should have deleted
    {"SELECT j.id, j.lease FROM ONLY {table} AS j WHERE " COMPLETED,
     3,
     {INT8ARRAYOID, INT8ARRAYOID, INT8OID},
     Scan::index},
    // holder_of_job
    {"SELECT j.attempt, j.state, j.lease FROM ONLY {table} AS j WHERE j.id" EQ "$1",
     1,
     {INT8OID},
     Scan::index},
    // job_failed
    {"UPDATE ONLY {table} AS j SET expires = NULL, lease = NULL, error = $3,"
     " state = CASE WHEN " ATTEMPT_LEFT " THEN 'RETRY' ELSE 'FAILED' END,"
     " schedule = CASE WHEN " ATTEMPT_LEFT " THEN {as_schedule:" NEXT_TIME(
         "$2", "$7") "}"
                     " ELSE j.schedule END{touch}"
                     " WHERE j.id" EQ "$4 AND j.state" EQ
                     "'IN_PROGRESS' AND ($5 IS NULL OR j.attempt" EQ "$5)"
                     " AND ($6 IS NULL OR j.lease" EQ "$6) RETURNING {job}",
     7,
     {TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID, INT4OID, INT8OID, INT4OID},
     Scan::index},
    // end_expired_leases: activate_expired_jobs where $6 is false, and where it is true
    // fail_expired_jobs_at_max_attempts; null is both, since each look reads all rows in play up to
    // the key, for no index leads to expires
    {END_LEASE "ANY (ARRAY(" EXPIRED("") ")) RETURNING j.id, j.state, j.notify", 6, EXPIRED_TYPES,
     Scan::own_index},
    // pick_expired_jobs, end_picked_leases
    {EXPIRED(NOT_AMONG("w", "$7")), 7, EXPIRED_TYPES, Scan::own_index},
    {END_LEASE "ANY ($7) AND " HELD("j") CHANGED, 7, EXPIRED_TYPES, Scan::index},
    // bound_sessions
    {"SELECT DISTINCT " SESSION("h") " AS session FROM (SELECT j.lease FROM ONLY {table} AS j"
                                     " WHERE {in_play:j}" HELD("j") " AND " BOUND("j")
                                         UP_TO_KEY("j", "$1", "$2", "$3") ") AS h",
     3,
     {INT4OID, TIMESTAMPTZOID, INT8OID},
     Scan::index},
    // give_back_jobs: RESERVED as an expired one, IN_PROGRESS as one that failed
    {GIVE_BACK "ANY (ARRAY(" ORPHANED("") ")) RETURNING j.id, j.state, j.notify", 9, ORPHANED_TYPES,
     Scan::index},
    // pick_orphaned_jobs, give_back_picked_jobs
    {ORPHANED(NOT_AMONG("w", "$10")), 10, ORPHANED_TYPES, Scan::index},
    {GIVE_BACK "ANY ($10) AND " HELD("j") CHANGED, 10, ORPHANED_TYPES, Scan::index},
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
    // key_of_job
    {"SELECT {priority}::pg_catalog.int4, {schedule}::pg_catalog.timestamptz,"
     " j.id::pg_catalog.int8 FROM ONLY {table} AS j WHERE j.id" EQ "$1",
     1,
     {INT8OID},
     Scan::index},
};
static_assert(std::size(sources) == statement_count);
static_assert(lease_session_shift == 21, "as in SESSION()");

} // namespace

const StatementSource &source_of(Statement statement) {
    return sources[static_cast<std::size_t>(statement)];
}

} // namespace ecto_job
