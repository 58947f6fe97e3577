-- Each function that changes a queue is called once on both kinds of queue. `make check KINDS=discard`, where a call
-- takes seconds, runs only this file by default. The other files test what the functions do.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('each_plain');
SELECT ecto_job.create_queue('each_shared', ectojob => true);
SELECT max_attempts FROM ecto_job.configure_queue('each_plain', max_attempts => 1);
SELECT options FROM ecto_job.configure_queue('each_plain', options => '{"backoff": "exponential", "failed_retention": "1 day"}');
SELECT ecto_job.enqueue('each_plain', '{}'), ecto_job.enqueue('each_shared', '{}');
INSERT INTO each_shared (params, schedule) VALUES ('{}', '2001-01-01');

-- Claims
CALL ecto_job.wait('each_plain');
CALL ecto_job.wait('each_shared');
SELECT id, lease FROM ecto_job.start_available_jobs('each_plain', timeout => '1 day') \gset
SELECT state FROM ecto_job.fail_job('each_plain', :id, :lease);
SELECT state FROM ecto_job.requeue('each_plain', :id);
SELECT count(*) FROM ecto_job.sweep('each_plain');
SELECT id, lease FROM ecto_job.start_available_jobs('each_plain', timeout => '1 day') \gset
SELECT ecto_job.extend_lease('each_plain', :id, :lease) IS NOT NULL AS extended;
SELECT state FROM ecto_job.snooze_job('each_plain', :id, :lease);
SELECT ecto_job.pause_queue('each_plain'), ecto_job.resume_queue('each_plain');
SELECT id, lease FROM ecto_job.start_available_jobs('each_plain', timeout => '1 day') \gset
SELECT ecto_job.complete_job('each_plain', :id, :lease);
SELECT ecto_job.enqueue('each_plain', '{}') AS id \gset
SELECT state FROM ecto_job.cancel_job('each_plain', :id);
SELECT id, lease, attempt FROM ecto_job.reserve_available_jobs('each_shared', 1, timeout_ms => 86400000) \gset
SELECT attempt FROM ecto_job.update_job_in_progress('each_shared', :id, :attempt, timeout_ms => 86400000, lease => :lease);
SELECT ecto_job.complete_jobs('each_shared', ARRAY[:id], ARRAY[:lease]);

-- Statements for which the planner hook and the triggers read catalogs
UPDATE each_shared SET state = 'SCHEDULED', schedule = '2001-01-01';
SELECT count(*) FROM ecto_job.sweep('each_shared');
SELECT queue, status FROM ecto_job.queues WHERE queue::text LIKE 'each%' ORDER BY queue::text;

SELECT count(*) FROM ecto_job.queue_depth('each_plain');
SELECT count(*) FROM ecto_job.running_jobs('each_shared');

-- Adoption and release
SELECT ecto_job.release_queue('each_shared');
SELECT ecto_job.adopt_queue('each_shared');
ALTER TABLE each_plain RENAME TO each_renamed;
SELECT ecto_job.drop_queue('each_renamed');
DROP TABLE each_shared;
SELECT count(*) FROM ecto_job.queue_settings WHERE queue::text LIKE 'each%';
