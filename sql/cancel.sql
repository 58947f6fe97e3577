-- cancel_job: a job in any state is deleted and returned, with the notification .failed.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('cancel_jobs');
LISTEN "cancel_jobs.failed";
LISTEN "cancel_jobs.completed";
INSERT INTO cancel_jobs (params, state, attempt, lease, error, notify)
SELECT jsonb_build_object('n', n), s, 1, 44, 'why', 'job ' || n
FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]) WITH ORDINALITY AS u (s, n);
\o :notifications
SELECT j.id, j.state, j.params, j.attempt, j.lease, j.error
FROM generate_series(0, 7) AS n CROSS JOIN LATERAL ecto_job.cancel_job('cancel_jobs', n, CASE WHEN n % 2 = 0 THEN 'not needed' END) AS j;
\o
SELECT count(*) FROM cancel_jobs;
SELECT count(*) FROM ecto_job.cancel_job('cancel_jobs', 1);

-- The consumer of a cancelled job cannot do anything with it
INSERT INTO cancel_jobs (id, params) VALUES (100, '{}');
SELECT lease FROM ecto_job.start_available_jobs('cancel_jobs') \gset
SELECT state, octet_length(error) FROM ecto_job.cancel_job('cancel_jobs', 100, reason => repeat('x', 9000));
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''cancel_jobs'', 100, %s)', :'lease'));
SELECT ecto_job.extend_lease('cancel_jobs', 100, :lease);
SELECT count(*) FROM ecto_job.snooze_job('cancel_jobs', 100, :lease);
SELECT count(*) FROM ecto_job.fail_job('cancel_jobs', 100, :lease);

SELECT pg_temp.outcome(format('SELECT ecto_job.cancel_job(%s)', arguments))
FROM unnest(ARRAY[$$NULL, 1$$, $$'cancel_jobs', NULL$$, $$'pg_class', 1$$, $$'cancel_jobs', -9223372036854775808$$]) AS arguments;
UNLISTEN *;
SELECT ecto_job.drop_queue('cancel_jobs');
