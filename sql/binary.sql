-- A queue of params_type 'binary': every function takes and returns the params as the bytea params_binary.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('bin_jobs', params_type => 'binary');
SELECT params_type FROM ecto_job.queues WHERE queue = 'bin_jobs'::regclass;
SELECT ecto_job.enqueue('bin_jobs', params_binary => '\x00ff', notify => 'n');
SELECT ecto_job.enqueue('bin_jobs', params_binary => '', meta => '{"m": 1}');
SELECT ecto_job.enqueue('bin_jobs', params_binary => convert_to(repeat('x', 100000), 'UTF8'));
INSERT INTO bin_jobs (params) VALUES ('\x01');
SELECT id, octet_length(params), pg_typeof(params) FROM bin_jobs ORDER BY id;
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''bin_jobs'', %s)', arguments))
FROM unnest(ARRAY['''{}''', '''{}'', params_binary => ''''', 'params_binary => NULL', 'NULL']) AS arguments;

SELECT id, params, octet_length(params_binary), notify, meta FROM ecto_job.available_jobs('bin_jobs', 10);
SELECT id, params, params_binary FROM ecto_job.reserve_available_jobs('bin_jobs', 1, '2031-01-01');
SELECT id, params, params_binary FROM ecto_job.update_job_in_progress('bin_jobs', 1, 0, '2031-01-01');
SELECT id, params, params_binary FROM ecto_job.job_failed('bin_jobs', 1, 1, '2031-01-01');
SELECT id, params_binary = '' AS empty, lease FROM ecto_job.start_available_jobs('bin_jobs') \gset
SELECT :id, :'empty';
SELECT id, params, params_binary, error FROM ecto_job.fail_job('bin_jobs', :id, :lease, 'why', now => '2031-01-01');
SELECT id, lease, md5(params_binary) = md5(repeat('x', 100000)) AS whole FROM ecto_job.start_available_jobs('bin_jobs') \gset
SELECT :id, :'whole';
SELECT ecto_job.complete_job('bin_jobs', :id, :lease);
SELECT id, lease FROM ecto_job.start_available_jobs('bin_jobs') \gset
SELECT ecto_job.complete_jobs('bin_jobs', ARRAY[:id]::bigint[], ARRAY[:lease]);
SELECT * FROM ecto_job.sweep('bin_jobs', '2031-02-01');
UPDATE bin_jobs SET state = 'FAILED' WHERE id = 1;
SELECT id, state, params, params_binary FROM ecto_job.requeue('bin_jobs', 1, '2031-01-01');
SELECT ecto_job.activate_scheduled_jobs('bin_jobs', '2031-03-01');
UPDATE bin_jobs SET state = 'IN_PROGRESS', attempt = 5;
SELECT ecto_job.activate_expired_jobs('bin_jobs'), ecto_job.fail_expired_jobs_at_max_attempts('bin_jobs');
SELECT ecto_job.delete_job_changeset('bin_jobs', 1, 5);
SELECT ecto_job.initial_multi('bin_jobs', 2, 5);
SELECT count(*) FROM bin_jobs;
SELECT ecto_job.create_queue('bin_jobs', params_type => 'binary');
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''bin_jobs'')');
SELECT ecto_job.drop_queue('bin_jobs');
