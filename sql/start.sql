-- start_available_jobs: AVAILABLE to IN_PROGRESS in one step.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('start_jobs');
INSERT INTO start_jobs (params, priority, schedule, attempt, notify, meta) VALUES
    ('{"n": 1}', 0, '2001-01-02', 0, 'one', '{"m": 1}'), ('{"n": 2}', 0, '2001-01-01', 0, NULL, NULL),
    ('{"n": 3}', 0, '2001-01-01', 2, NULL, NULL), ('{"n": 4}', -1, '2001-01-03', 0, NULL, NULL),
    ('{"n": 5}', 7, '2000-01-01', 0, NULL, NULL);
INSERT INTO start_jobs (params, state, schedule)
SELECT '{"n": 0}', unnest('{SCHEDULED,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), '2000-01-01';

-- Jobs are started by priority, schedule, id; the timeout is multiplied by the number of the attempt; one lease for all
CREATE TEMP TABLE started AS
SELECT row_number() OVER () AS no, * FROM ecto_job.start_available_jobs('start_jobs', 4, '1.5 s', '2031-01-01 00:00:00.123456');
SELECT no, id, state, expires, schedule, attempt, max_attempts, params, notify, priority, updated_at, key, error,
       meta, params_binary FROM started ORDER BY no;
SELECT count(DISTINCT lease) AS leases, min(lease) > 0 AND max(lease) < 2 ^ 53 AS in_range,
       bool_and(lease % 2 = 0) AS not_bound_to_a_session FROM started;
SELECT j.id, j.state, j.attempt, j.expires = s.expires AS expires, j.lease = s.lease AS lease, j.updated_at
FROM start_jobs AS j JOIN started AS s USING (id) ORDER BY id;
SELECT count(*) AS untouched FROM start_jobs WHERE params = '{"n": 0}' AND lease IS NULL AND state <> 'AVAILABLE';

-- Defaults: one job, the queue's execution_timeout, the clock
SELECT id, attempt, expires - updated_at AS timeout, updated_at BETWEEN now() AND clock_timestamp() AS clock,
       lease <> (SELECT min(lease) FROM started) AS another_lease
FROM ecto_job.start_available_jobs('start_jobs');
SELECT count(*) FROM ecto_job.start_available_jobs('start_jobs', 2147483647);

-- demand is NULL, 0 or negative
INSERT INTO start_jobs (params) VALUES ('{}');
SELECT count(*) FROM ecto_job.start_available_jobs('start_jobs', 0);
SELECT count(*) FROM ecto_job.start_available_jobs('start_jobs', NULL);
SELECT pg_temp.outcome('SELECT ecto_job.start_available_jobs(''start_jobs'', -1)');

-- timeout and now out of range
SELECT pg_temp.outcome(format('SELECT ecto_job.start_available_jobs(''start_jobs'', 1, %s)', arguments))
FROM unnest(ARRAY['''0''', '''-1 s''', '''0.999 ms''', '''1 month''', '''1 year -365 days''',
    '''106751991 days''', '''2147483647 days''', 'NULL, ''infinity''', 'NULL, ''-infinity''',
    '''1 s'', ''294276-12-31 23:59:59''', '''106751000 days'', ''290000-01-01''', '''100000000 days''']) AS arguments;
SELECT state, attempt FROM start_jobs WHERE params = '{}';
UPDATE start_jobs SET state = 'AVAILABLE' WHERE params = '{}';
SELECT expires FROM ecto_job.start_available_jobs('start_jobs', 1, '1.9 ms', '2031-01-01');

-- A ROLLBACK leaves the job as it was before the start
TRUNCATE start_jobs RESTART IDENTITY;
INSERT INTO start_jobs (params) VALUES ('{}');
BEGIN;
SELECT now() AS began \gset
-- the lease begins at the call, and not at the transaction's beginning
SELECT id, attempt, expires > :'began'::timestamptz + interval '5 minutes' AS from_the_call
FROM ecto_job.start_available_jobs('start_jobs');
ROLLBACK;
SELECT state, attempt, lease, expires FROM start_jobs;

SELECT pg_temp.outcome('SELECT ecto_job.start_available_jobs(NULL)');
SELECT ecto_job.drop_queue('start_jobs');
