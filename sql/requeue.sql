-- requeue: a FAILED job gets all its attempts again; a job in another state stays as it is.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('requeue_jobs');
INSERT INTO requeue_jobs (params, state, attempt, max_attempts, lease, expires, error, schedule)
SELECT '{}', unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), 3, 3, 44, '2999-01-01', 'why', '2001-01-01';
SELECT j.id, j.state, j.attempt, j.max_attempts, j.lease, j.expires, j.error, j.schedule, j.updated_at
FROM generate_series(0, 7) AS n CROSS JOIN LATERAL ecto_job.requeue('requeue_jobs', n, '2031-01-01') AS j;
SELECT id, state, attempt, lease, error FROM requeue_jobs ORDER BY id;
-- The schedule of the job is past: the next sweep makes the job AVAILABLE, and it can be started
SELECT activated FROM ecto_job.sweep('requeue_jobs', '2001-01-01');
-- now is by default the clock
UPDATE requeue_jobs SET state = 'FAILED' WHERE id = 6;
SELECT id, state, updated_at BETWEEN now() AND clock_timestamp() AS clock FROM ecto_job.requeue('requeue_jobs', 6);
SELECT pg_temp.outcome(format('SELECT ecto_job.requeue(%s)', arguments))
FROM unnest(ARRAY['NULL, 1', '''requeue_jobs'', NULL', '''requeue_jobs'', 1, ''infinity''',
    '''requeue_jobs'', 1, ''-infinity''', '''requeue_jobs'', -9223372036854775808']) AS arguments;
SELECT ecto_job.drop_queue('requeue_jobs');
