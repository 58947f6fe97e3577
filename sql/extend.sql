-- extend_lease: a lease that has not ended gets a later end, never an earlier one.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('extend_jobs');
SELECT execution_timeout FROM ecto_job.configure_queue('extend_jobs', execution_timeout => '10 minutes');
INSERT INTO extend_jobs (params, state, attempt, lease, expires)
SELECT '{}', unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), 3, 44, '2031-01-01 00:05';
-- Only held jobs, RESERVED or IN_PROGRESS
SELECT n, ecto_job.extend_lease('extend_jobs', n, 44, '1 hour', '2031-01-01') FROM generate_series(0, 7) AS n;
SELECT id, state, attempt, lease, expires, updated_at = '2031-01-01' AS touched FROM extend_jobs ORDER BY id;
-- The default is the queue's execution_timeout; an earlier end changes nothing
SELECT ecto_job.extend_lease('extend_jobs', 4, 44, now => '2031-01-01 00:55');
SELECT ecto_job.extend_lease('extend_jobs', 4, 44, '1 ms', '2031-01-01 00:55');
-- A lease that ends now has ended, and so has a lease without an end
SELECT ecto_job.extend_lease('extend_jobs', 4, 44, '1 hour', '2031-01-01 01:05');
SELECT ecto_job.extend_lease('extend_jobs', 4, 44, '1 hour', '2031-01-01 01:04:59.999999');
UPDATE extend_jobs SET expires = NULL WHERE id = 3;
SELECT ecto_job.extend_lease('extend_jobs', 3, 44, '1 hour', '2001-01-01');
-- Another lease
SELECT ecto_job.extend_lease('extend_jobs', 4, 46, '1 hour', '2031-01-01'), ecto_job.extend_lease('extend_jobs', 4, 0, '1 hour', '2031-01-01');
-- A sweep takes the job at the new end and not before
DELETE FROM extend_jobs WHERE id <> 4;
SELECT * FROM ecto_job.sweep('extend_jobs', '2031-01-01 02:04:59.999998');
SELECT * FROM ecto_job.sweep('extend_jobs', '2031-01-01 02:04:59.999999');
SELECT ecto_job.extend_lease('extend_jobs', 4, 44, '1 hour', '2031-01-01');
-- now is by default the clock
TRUNCATE extend_jobs RESTART IDENTITY;
INSERT INTO extend_jobs (params) VALUES ('{}');
SELECT id, lease FROM ecto_job.start_available_jobs('extend_jobs') \gset
SELECT ecto_job.extend_lease('extend_jobs', :id, :lease, '1 day') BETWEEN now() + interval '1 day' AND clock_timestamp() + interval '1 day' AS clock;
-- Arguments that are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.extend_lease(%s)', arguments))
FROM unnest(ARRAY[$$NULL, 1, 44$$, $$'extend_jobs', NULL, 44$$, $$'extend_jobs', 1, NULL$$, $$'extend_jobs', 1, 44, '0.9 ms'$$,
    $$'extend_jobs', 1, 44, '-1 s'$$, $$'extend_jobs', 1, 44, '1 month'$$, $$'extend_jobs', 1, 44, '1 s', 'infinity'$$,
    $$'extend_jobs', 1, 44, '1 s', '294276-12-31 23:59:59'$$, $$'extend_jobs', 1, 44, '2147483647 days'$$]) AS arguments;
SELECT ecto_job.drop_queue('extend_jobs');
