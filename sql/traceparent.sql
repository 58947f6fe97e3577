-- The setting ecto_job.traceparent: which values it takes, and what enqueue adds to a job's meta.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('trace_jobs');
SHOW ecto_job.traceparent;
SELECT ecto_job.enqueue('trace_jobs', '{}');
SELECT ecto_job.enqueue('trace_jobs', '{}', meta => '{"a": 1}');

-- Added to what the job has; a traceparent of its own stays, null, too; so does what is no object
SET ecto_job.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT ecto_job.enqueue('trace_jobs', '{}');
SELECT ecto_job.enqueue('trace_jobs', '{}', meta => '{"a": 1}');
SELECT ecto_job.enqueue('trace_jobs', '{}', meta => '{"a": 1, "traceparent": "mine"}');
SELECT ecto_job.enqueue('trace_jobs', '{}', meta => '{"traceparent": null}');
SELECT ecto_job.enqueue('trace_jobs', '{}', meta => '[1]'), ecto_job.enqueue('trace_jobs', '{}', meta => 'null');
-- A plain INSERT sets meta itself
INSERT INTO trace_jobs (params) VALUES ('{}');
INSERT INTO trace_jobs (params, meta) VALUES ('{}', jsonb_build_object('traceparent', current_setting('ecto_job.traceparent')));
SELECT id, meta FROM trace_jobs ORDER BY id;
-- It is returned with the job, and a retry keeps it
TRUNCATE trace_jobs RESTART IDENTITY;
SELECT ecto_job.enqueue('trace_jobs', '{}');
RESET ecto_job.traceparent;
SELECT id, lease, meta FROM ecto_job.start_available_jobs('trace_jobs') \gset
SELECT :'meta';
SELECT meta FROM ecto_job.fail_job('trace_jobs', :id, :lease);

-- Valid for a transaction only
BEGIN;
SET LOCAL ecto_job.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00';
SELECT ecto_job.enqueue('trace_jobs', '{}');
COMMIT;
SELECT ecto_job.enqueue('trace_jobs', '{}');
SELECT id, meta FROM trace_jobs ORDER BY id;

SELECT pg_temp.outcome(format('SET ecto_job.traceparent = %L', value))
FROM unnest(ARRAY['', 'x', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01', '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', 'ä0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0']) AS value;
SELECT ecto_job.drop_queue('trace_jobs');
