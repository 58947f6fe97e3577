-- pause_queue and resume_queue: claims of a paused queue return no jobs; everything else goes on.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('pause_jobs');
SELECT count(*) FROM (SELECT ecto_job.enqueue('pause_jobs', '{}') FROM generate_series(1, 4)) AS e;
SELECT id, lease FROM ecto_job.start_available_jobs('pause_jobs') \gset
SELECT id AS reserved, lease AS reserved_lease, attempt FROM ecto_job.reserve_available_jobs('pause_jobs', 1) \gset
SELECT ecto_job.pause_queue('pause_jobs');
SELECT queue, paused FROM ecto_job.queues WHERE queue = 'pause_jobs'::regclass;
SELECT count(*) FROM ecto_job.start_available_jobs('pause_jobs', 9);
SELECT count(*) FROM ecto_job.reserve_available_jobs('pause_jobs', 9);
SELECT count(*) FROM ecto_job.available_jobs('pause_jobs', 9);
SELECT pg_temp.outcome($$SELECT ecto_job.start_available_jobs('pause_jobs', -1)$$);
-- Jobs that are held go on, and so do enqueue and sweeps
SELECT id, state FROM ecto_job.update_job_in_progress('pause_jobs', :reserved, :attempt);
SELECT ecto_job.complete_job('pause_jobs', :reserved, :reserved_lease);
SELECT state FROM ecto_job.fail_job('pause_jobs', :id, :lease, now => '2031-01-01');
SELECT ecto_job.enqueue('pause_jobs', '{}');
SELECT activated FROM ecto_job.sweep('pause_jobs', '2032-01-01');
SELECT id, state FROM pause_jobs ORDER BY id;
-- Twice is once; configure_queue leaves the pause alone; the settings that are dumped with the table have it
SELECT ecto_job.pause_queue('pause_jobs');
SELECT max_attempts, paused FROM ecto_job.configure_queue('pause_jobs', max_attempts => 3);
SELECT encode(tgargs, 'escape') LIKE '%"paused": true%' AS dumped FROM pg_trigger
WHERE tgrelid = 'pause_jobs'::regclass AND tgname = 'ecto_job_changed';
SELECT count(*) FROM ecto_job.start_available_jobs('pause_jobs', 9);
-- A resume that is rolled back is none
BEGIN;
SELECT ecto_job.resume_queue('pause_jobs');
SELECT count(*) FROM ecto_job.start_available_jobs('pause_jobs', 1);
ROLLBACK;
SELECT count(*) FROM ecto_job.start_available_jobs('pause_jobs', 9);
-- Consumers are notified by the resume: what they were notified of before they could not claim
LISTEN pause_jobs;
\o :notifications
SELECT ecto_job.resume_queue('pause_jobs');
SELECT ecto_job.resume_queue('pause_jobs');
\o
UNLISTEN *;
SELECT queue, paused FROM ecto_job.queues WHERE queue = 'pause_jobs'::regclass;
SELECT encode(tgargs, 'escape') LIKE '%"paused": true%' AS dumped FROM pg_trigger
WHERE tgrelid = 'pause_jobs'::regclass AND tgname = 'ecto_job_changed';
SELECT count(*) FROM ecto_job.start_available_jobs('pause_jobs', 9);
-- For the owner alone
CREATE ROLE regress_pause_stranger;
GRANT ALL ON pause_jobs TO regress_pause_stranger;
SET ROLE regress_pause_stranger;
SELECT pg_temp.outcome(format('SELECT ecto_job.%s(''pause_jobs'')', f)) FROM unnest('{pause_queue,resume_queue}'::text[]) AS f;
RESET ROLE;
SELECT pg_temp.outcome(format('SELECT ecto_job.%s(%s)', f, a))
FROM unnest('{pause_queue,resume_queue}'::text[]) AS f, unnest(ARRAY['NULL', $$'pg_class'$$, '1']) AS a;
SELECT ecto_job.drop_queue('pause_jobs');
DROP ROLE regress_pause_stranger;
