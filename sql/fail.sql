-- fail_job and job_failed: RETRY with a growing delay, FAILED at max_attempts, the error, the notifications.
-- psql's lines on notifications go through sed, since they name a process.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('fail_jobs');
LISTEN "fail_jobs.retry";
LISTEN "fail_jobs.failed";

-- Every attempt of a job that always fails
SELECT ecto_job.enqueue('fail_jobs', '{}', schedule => '2001-01-01', max_attempts => 3, notify => 'always fails');
SELECT id, lease FROM ecto_job.start_available_jobs('fail_jobs', now => '2031-01-01') \gset
\o :notifications
SELECT id, state, attempt, max_attempts, expires, lease, schedule, error, updated_at
FROM ecto_job.fail_job('fail_jobs', :id, :lease, 'first', now => '2031-01-01 00:00:00.5');
\o
SELECT id, state, attempt, expires, lease, schedule, error, updated_at FROM fail_jobs;
SELECT ecto_job.activate_scheduled_jobs('fail_jobs', '2031-01-01 00:01:00.499999');
SELECT ecto_job.activate_scheduled_jobs('fail_jobs', '2031-01-01 00:01:00.5');
SELECT id, lease FROM ecto_job.start_available_jobs('fail_jobs', now => '2031-01-02') \gset
-- a failure without an error clears the earlier error
\o :notifications
SELECT id, state, attempt, max_attempts, expires, lease, schedule, error, updated_at
FROM ecto_job.fail_job('fail_jobs', :id, :lease, now => '2031-01-02');
\o
SELECT ecto_job.activate_scheduled_jobs('fail_jobs', '2031-01-03');
SELECT id, lease FROM ecto_job.start_available_jobs('fail_jobs', now => '2031-01-03') \gset
\o :notifications
SELECT id, state, attempt, max_attempts, expires, lease, schedule, error, updated_at
FROM ecto_job.fail_job('fail_jobs', :id, :lease, 'last', now => '2031-01-03');
\o
-- A job cannot fail twice under one lease
SELECT count(*) FROM ecto_job.fail_job('fail_jobs', :id, :lease);

-- now is by default the clock
SELECT ecto_job.enqueue('fail_jobs', '{}');
SELECT id, lease FROM ecto_job.start_available_jobs('fail_jobs') \gset
SELECT state, schedule - updated_at AS delay, updated_at BETWEEN now() AND clock_timestamp() AS clock
FROM ecto_job.fail_job('fail_jobs', :id, :lease);

-- The lease of another job, no lease, an unknown job; only IN_PROGRESS jobs can fail
TRUNCATE fail_jobs RESTART IDENTITY;
INSERT INTO fail_jobs (params, state, attempt, lease, expires)
SELECT '{}', unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), 1, 44, '2000-01-01';
SELECT count(*) FROM ecto_job.fail_job('fail_jobs', 4, 46);
SELECT count(*) FROM ecto_job.fail_job('fail_jobs', 4, 0);
SELECT count(*) FROM ecto_job.fail_job('fail_jobs', 99, 44);
SELECT count(*) FROM ecto_job.job_failed('fail_jobs', 4, 0);
SELECT count(*) FROM ecto_job.job_failed('fail_jobs', 4, 2);
SELECT count(*) FROM ecto_job.job_failed('fail_jobs', 4, 1, lease => 46);
SELECT count(*) FROM ecto_job.job_failed('fail_jobs', 4, 1, lease => 0);
BEGIN;
-- a job with an expired lease may fail until a sweep takes it
SELECT n, (SELECT state FROM ecto_job.fail_job('fail_jobs', n, 44)) FROM generate_series(1, 6) AS n;
ROLLBACK;
SELECT n, (SELECT state FROM ecto_job.job_failed('fail_jobs', n, 1)) FROM generate_series(1, 6) AS n;

-- job_failed: EctoJob's order of arguments, milliseconds, lease and error last
TRUNCATE fail_jobs RESTART IDENTITY;
INSERT INTO fail_jobs (params, state, attempt, max_attempts, lease, notify, schedule)
SELECT '{}', 'IN_PROGRESS', a, 3, 44, 'attempt ' || a, '2001-01-01' FROM unnest('{0,1,2,3,4}'::int[]) AS a;
\o :notifications
SELECT state, attempt, schedule, error, lease, expires, updated_at
FROM ecto_job.job_failed('fail_jobs', 1, 0, '2031-01-01 00:00:00.000001', 1500);
SELECT state, attempt, schedule, error, lease, expires, updated_at
FROM ecto_job.job_failed('fail_jobs', 2, 1, '2031-01-01', 1500, 44, 'why');
SELECT state, attempt, schedule, error, lease, expires, updated_at FROM ecto_job.job_failed('fail_jobs', 3, 2, '2031-01-01', 0);
SELECT state, attempt, schedule, error, lease, expires, updated_at FROM ecto_job.job_failed('fail_jobs', 4, 3, '2031-01-01');
SELECT state, attempt, schedule, error, lease, expires, updated_at FROM ecto_job.job_failed('fail_jobs', 5, 4, '2031-01-01');
\o

-- The error is cut at 8 kB, never within a character
TRUNCATE fail_jobs RESTART IDENTITY;
INSERT INTO fail_jobs (params, state, attempt, lease) SELECT '{}', 'IN_PROGRESS', 1, 44 FROM generate_series(1, 7);
SELECT octet_length(j.error), j.error = left(given, length(j.error)) AS its_beginning
FROM (VALUES (1, repeat('x', 8192)), (2, repeat('x', 8193)), (3, repeat('x', 1000000)), (4, 'x' || repeat('ä', 5000)),
             (5, 'xx' || repeat('😀', 5000)), (6, '')) AS e (id, given)
CROSS JOIN LATERAL ecto_job.fail_job('fail_jobs', e.id, 44, e.given) AS j ORDER BY e.id;
SELECT octet_length(error) FROM ecto_job.job_failed('fail_jobs', 7, 1, error => repeat('€', 3000));
SELECT id, octet_length(error) FROM fail_jobs ORDER BY id;

-- retry => false: FAILED whatever the attempt; delay: in the place of the queue's retry_timeout, and not multiplied
TRUNCATE fail_jobs RESTART IDENTITY;
INSERT INTO fail_jobs (params, state, attempt, max_attempts, lease, notify, schedule)
SELECT '{}', 'IN_PROGRESS', a, 3, 44, 'attempt ' || a, '2001-01-01' FROM unnest('{1,1,2,3,1}'::int[]) AS a;
\o :notifications
SELECT state, attempt, schedule, error FROM ecto_job.fail_job('fail_jobs', 1, 44, 'hopeless', retry => false, now => '2031-01-01');
SELECT state, attempt, schedule, error FROM ecto_job.fail_job('fail_jobs', 2, 44, delay => '0', now => '2031-01-01');
SELECT state, attempt, schedule, error FROM ecto_job.fail_job('fail_jobs', 3, 44, delay => '1 day 0.5 s', now => '2031-01-01');
SELECT state, attempt, schedule, error FROM ecto_job.fail_job('fail_jobs', 4, 44, delay => '1 day', now => '2031-01-01');
SELECT state, attempt, schedule, error FROM ecto_job.fail_job('fail_jobs', 5, 44, retry => false, delay => '1 day', now => '2031-01-01');
\o
-- A RESERVED job has no attempt that could fail
UPDATE fail_jobs SET state = 'RESERVED', lease = 44;
SELECT count(*) FROM ecto_job.fail_job('fail_jobs', 1, 44, retry => false);

-- Arguments that are refused, and change nothing
TRUNCATE fail_jobs RESTART IDENTITY;
INSERT INTO fail_jobs (params, state, attempt, lease) VALUES ('{}', 'IN_PROGRESS', 1, 44);
SELECT pg_temp.outcome(format('SELECT ecto_job.fail_job(%s)', arguments))
FROM unnest(ARRAY['NULL, 1, 44', '''fail_jobs'', NULL, 44', '''fail_jobs'', 1, NULL',
    '''fail_jobs'', 1, 44, retry => NULL', '''fail_jobs'', 1, 44, delay => ''-1 ms''', '''fail_jobs'', 1, 44, delay => ''1 month''',
    '''fail_jobs'', 1, 44, delay => ''2147483647 days''',
    '''fail_jobs'', 1, 44, now => ''infinity''', '''fail_jobs'', 1, 44, now => ''-infinity''',
    '''fail_jobs'', 1, 44, now => ''294276-12-31 23:59:59''']) AS arguments;
SELECT pg_temp.outcome(format('SELECT ecto_job.job_failed(%s)', arguments))
FROM unnest(ARRAY['NULL, 1, 1', '''fail_jobs'', NULL, 1', '''fail_jobs'', 1, NULL', '''fail_jobs'', 1, 1, ''infinity''',
    '''fail_jobs'', 1, 1, NULL, -1', '''fail_jobs'', 1, 1, NULL, -9223372036854775808',
    '''fail_jobs'', 1, 1, NULL, 9223372036854775807', '''fail_jobs'', 1, 1, ''294276-12-31 23:59:59'', 1000']) AS arguments;
SELECT state, attempt, error FROM fail_jobs;

UNLISTEN *;
SELECT ecto_job.drop_queue('fail_jobs');
