-- complete_job, complete_jobs, delete_job_changeset, initial_multi: the row is deleted, or the call is an error.
-- psql's lines on notifications go through sed, since they name a process.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('complete_jobs');
LISTEN "complete_jobs.completed";

-- A held job is deleted, and its notification is sent, in one transaction
SELECT ecto_job.enqueue('complete_jobs', '{}', notify => 'first');
SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs') \gset
\o :notifications
BEGIN;
SELECT ecto_job.complete_job('complete_jobs', :id, :lease);
SELECT count(*) FROM complete_jobs;
ROLLBACK;
\o
SELECT count(*) AS back_after_rollback FROM complete_jobs;
\o :notifications
SELECT ecto_job.complete_job('complete_jobs', :id, :lease);
\o
SELECT count(*) FROM complete_jobs;

-- A second completion, an unknown job, no lease, the lease of another job
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''complete_jobs'', %s, %s)', :id, :lease));
SELECT pg_temp.outcome('SELECT ecto_job.complete_job(''complete_jobs'', -9223372036854775808, 9223372036854775807)');
SELECT ecto_job.enqueue('complete_jobs', '{}');
SELECT pg_temp.outcome('SELECT ecto_job.complete_job(''complete_jobs'', 2, 0)');
SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs') \gset
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''complete_jobs'', %s, %s)', :id, :lease + 2));
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''complete_jobs'', %s, %s)', :id, 0));

-- Error JQ001 aborts the transaction of the job's writes
CREATE TABLE complete_writes (id bigint);
BEGIN;
INSERT INTO complete_writes VALUES (1);
SELECT ecto_job.complete_job('complete_jobs', 1, 1);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO complete_writes VALUES (2);
COMMIT;
SELECT count(*) FROM complete_writes;

-- An expired lease stays valid until a sweep clears it
UPDATE complete_jobs SET expires = '2000-01-01';
SELECT ecto_job.complete_job('complete_jobs', :id, :lease);

-- Only RESERVED and IN_PROGRESS jobs can be completed, even under their lease
INSERT INTO complete_jobs (id, params, state, attempt, lease)
SELECT 100 + row_number() OVER (), '{}', state, 1, 44
FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]) AS state;
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''complete_jobs'', %s, 44)', n)) FROM generate_series(101, 106) AS n;
SELECT id, state FROM complete_jobs ORDER BY id;

-- NULL arguments are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(%s)', arguments))
FROM unnest('{"NULL, 1, 1","''complete_jobs'', NULL, 1","''complete_jobs'', 1, NULL"}'::text[]) AS arguments;

-- A completion in the transaction of the start raises a WARNING; after a commit it does not
TRUNCATE complete_jobs RESTART IDENTITY;
SELECT ecto_job.enqueue('complete_jobs', '{}') FROM generate_series(1, 7);
BEGIN;
SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs') \gset
SELECT ecto_job.complete_job('complete_jobs', :id, :lease);
ROLLBACK;
BEGIN;
SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs') \gset
SELECT ecto_job.complete_jobs('complete_jobs', ARRAY[:id]::bigint[], ARRAY[:lease]);
COMMIT;
BEGIN;
SELECT id, lease FROM ecto_job.reserve_available_jobs('complete_jobs', 1) \gset
SELECT ecto_job.initial_multi('complete_jobs', :id, 0, :lease);
ROLLBACK;
BEGIN;
SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs') \gset
COMMIT;
BEGIN;
SELECT ecto_job.complete_job('complete_jobs', :id, :lease);
COMMIT;

-- complete_jobs completes all jobs, in any order, with their notifications (equal ones once)
UPDATE complete_jobs SET notify = CASE WHEN id < 6 THEN 'same' ELSE 'id ' || id END;
CREATE TEMP TABLE held AS SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs', 100);
SELECT count(*) FROM held;
\o :notifications
SELECT ecto_job.complete_jobs('complete_jobs', array_agg(id ORDER BY id DESC), array_agg(lease ORDER BY id DESC))
FROM held;
\o
SELECT count(*) FROM complete_jobs;
-- complete_jobs completes none if a job is stale, and the error names the stale jobs: 3 is gone, 9 has another lease
SELECT ecto_job.enqueue('complete_jobs', '{}') FROM generate_series(1, 3);
TRUNCATE held;
INSERT INTO held SELECT id, lease FROM ecto_job.start_available_jobs('complete_jobs', 100);
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_jobs(''complete_jobs'', %L, %L)',
    array_agg(id ORDER BY id) || 3::bigint, array_agg(lease + 2 * (id = 9)::int ORDER BY id) || 5::bigint)) FROM held;
SELECT id, state FROM complete_jobs ORDER BY id;
-- the list of stale jobs in the error has a limit
SELECT pg_temp.outcome('SELECT ecto_job.complete_jobs(''complete_jobs'', array_agg(n), array_agg(1::bigint))
    FROM generate_series(1001::bigint, 1102) AS n');
-- a job that is named under its lease and under another is stale
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_jobs(''complete_jobs'', ARRAY[8, 8]::bigint[], ARRAY[%s, %s]::bigint[])', lease, lease + 2))
FROM held WHERE id = 8;
-- no job; a job that is named twice
SELECT ecto_job.complete_jobs('complete_jobs', '{}', '{}');
SELECT ecto_job.complete_jobs('complete_jobs', ARRAY[id, id], ARRAY[lease, lease]) FROM held WHERE id = 8;
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_jobs(''complete_jobs'', %s)', arguments))
FROM unnest(ARRAY['NULL, ''{}''', '''{}'', NULL', '''{1}'', ''{}''', '''{1}'', ''{1,2}''', '''{NULL}'', ''{1}''',
    '''{1}'', ''{NULL}''', '''{{1,2}}'', ''{{1,2}}''', '''{x}'', ''{1}''']) AS arguments;
SELECT id, state FROM complete_jobs ORDER BY id;

-- EctoJob's functions check the attempt, and the lease if it is given; they do not check the state
TRUNCATE complete_jobs RESTART IDENTITY;
INSERT INTO complete_jobs (params, state, attempt, lease, notify)
SELECT '{}', 'IN_PROGRESS', 2, 44, 'id ' || n FROM generate_series(1, 6) AS n;
SELECT pg_temp.outcome(format('SELECT ecto_job.%s(''complete_jobs'', %s)', name, arguments))
FROM unnest(ARRAY['1, 1', '1, 3', '1, 2, 45', '1, 2, 0', '99, 2', 'NULL, 2', '1, NULL']) AS arguments,
     unnest('{delete_job_changeset,initial_multi}'::text[]) AS name;
SELECT count(*) FROM complete_jobs;
\o :notifications
SELECT ecto_job.delete_job_changeset('complete_jobs', 1, 2);
SELECT ecto_job.delete_job_changeset('complete_jobs', 2, 2, 44);
SELECT ecto_job.initial_multi('complete_jobs', 3, 2);
SELECT ecto_job.initial_multi('complete_jobs', 4, 2, 44);
UPDATE complete_jobs SET notify = NULL WHERE id = 5;
SELECT ecto_job.initial_multi('complete_jobs', 5, 2);
\o
SELECT id FROM complete_jobs;

-- A stale completion is JQ001 also where the owner has altered the type of id
BEGIN;
ALTER TABLE complete_jobs ALTER id TYPE integer;
SELECT pg_temp.outcome('SELECT ecto_job.complete_jobs(''complete_jobs'', ''{6,99}'', ''{44,44}'')');
SELECT pg_temp.outcome('SELECT ecto_job.complete_job(''complete_jobs'', 6, 45)');
ROLLBACK;

-- A read-only transaction is refused before anything is locked
BEGIN READ ONLY;
SELECT ecto_job.complete_job('complete_jobs', 6, 44);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

UNLISTEN *;
DROP TABLE complete_writes;
SELECT ecto_job.drop_queue('complete_jobs');
