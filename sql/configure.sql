-- configure_queue, enable, disable and the view ecto_job.queues: which changes take effect, and which are refused.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
-- The first queue of a database without a record enables the database
DELETE FROM ecto_job.scheduler_state;
SELECT ecto_job.create_queue('conf_jobs');
SELECT ecto_job.create_queue('conf_other');
SELECT ecto_job.create_queue('conf_third');

-- EctoJob's defaults; NULL leaves a setting as it is
SELECT poll_interval, reservation_timeout, execution_timeout, retry_timeout, max_attempts, options
FROM ecto_job.configure_queue('conf_jobs');
SELECT * FROM ecto_job.configure_queue('conf_jobs', '1 ms', '2 s', '3 s', '0', 6, '{}');
SELECT * FROM ecto_job.configure_queue(queue => 'conf_jobs', retry_timeout => '1 day 1.5 s');
SELECT * FROM ecto_job.queue_settings WHERE queue IN ('conf_jobs'::regclass, 'conf_other'::regclass) ORDER BY queue::text;
SELECT queue, owner = current_user AS mine, params_type, poll_interval, reservation_timeout, execution_timeout,
       retry_timeout, max_attempts, next_due
FROM ecto_job.queues WHERE queue = 'conf_jobs'::regclass;

-- The functions use the settings
INSERT INTO conf_jobs (params) VALUES ('{}'), ('{}');
SELECT id, max_attempts FROM conf_jobs ORDER BY id;
SELECT id, expires FROM ecto_job.reserve_available_jobs('conf_jobs', 1, '2031-01-01');
SELECT id, attempt, expires FROM ecto_job.update_job_in_progress('conf_jobs', 1, 0, '2031-01-01');
SELECT id, lease, expires FROM ecto_job.start_available_jobs('conf_jobs', now => '2031-01-01') \gset
SELECT :id, :'expires';
SELECT id, schedule FROM ecto_job.fail_job('conf_jobs', :id, :lease, now => '2031-01-01');
SELECT id, schedule FROM ecto_job.job_failed('conf_jobs', 1, 1, '2031-01-01');

-- A ROLLBACK undoes all changes: settings, the column's default, the session's cache
BEGIN;
SELECT max_attempts FROM ecto_job.configure_queue('conf_jobs', max_attempts => 99, execution_timeout => '99 s');
INSERT INTO conf_jobs (params) VALUES ('{}') RETURNING max_attempts;
SELECT expires FROM ecto_job.start_available_jobs('conf_jobs', now => '2031-01-01');
ROLLBACK;
INSERT INTO conf_jobs (params) VALUES ('{}') RETURNING max_attempts;
SELECT ecto_job.enqueue('conf_jobs', '{}');
SELECT max_attempts FROM conf_jobs WHERE id > 2 ORDER BY id;
SELECT expires FROM ecto_job.start_available_jobs('conf_jobs', now => '2031-01-01');
BEGIN;
SAVEPOINT s;
SELECT max_attempts FROM ecto_job.configure_queue('conf_jobs', reservation_timeout => '77 s');
ROLLBACK TO s;
SELECT expires FROM ecto_job.reserve_available_jobs('conf_jobs', 1, '2031-01-01');
ROLLBACK;

-- Values that are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.configure_queue(''conf_jobs'', %s => %L)', name, value))
FROM unnest('{poll_interval,reservation_timeout,execution_timeout,retry_timeout}'::text[]) AS name,
     unnest('{0,-1 s,0.5 ms,1 month,1 year -365 days,3650 days 1 ms,2147483647 days,-2147483648 days}'::text[]) AS value
WHERE (name, value) NOT IN (('retry_timeout', '0'), ('retry_timeout', '0.5 ms'))
ORDER BY name, value COLLATE "C";
SELECT pg_temp.outcome(format('SELECT ecto_job.configure_queue(''conf_jobs'', %s)', arguments))
FROM unnest(ARRAY['max_attempts => 0', 'max_attempts => -2147483648', 'options => ''{"a": 1}''', 'options => ''[]''',
    'options => ''null''', 'options => ''1''']) AS arguments;
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(NULL)');
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(''pg_class'', max_attempts => 1)');
-- The longest timeouts; a longer timeout, which 0.2.0 accepted, may come from a dump, and counts as the longest
SELECT poll_interval, execution_timeout FROM ecto_job.configure_queue('conf_third', '3650 days', execution_timeout => '3650 days');
UPDATE ecto_job.queue_settings SET execution_timeout = '100000000 days' WHERE queue = 'conf_third'::regclass;
INSERT INTO conf_third (params) VALUES ('{}');
SELECT expires FROM ecto_job.start_available_jobs('conf_third', now => '2031-01-01');
SELECT ecto_job.drop_queue('conf_third');
-- All or nothing
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(''conf_jobs'', ''9 s'', max_attempts => 0)');
SELECT poll_interval, max_attempts FROM ecto_job.queue_settings WHERE queue = 'conf_jobs'::regclass;
SELECT max_attempts FROM ecto_job.configure_queue('conf_jobs', max_attempts => 2147483647);
SELECT count(*) FROM (SELECT (ecto_job.configure_queue(queue, max_attempts => 7)).* FROM ecto_job.queue_settings
                      WHERE queue IN ('conf_jobs'::regclass, 'conf_other'::regclass)) AS s;
SELECT DISTINCT max_attempts FROM ecto_job.queue_settings WHERE queue IN ('conf_jobs'::regclass, 'conf_other'::regclass);

-- enable and disable: one durable record of this database
SELECT database = (SELECT oid FROM pg_database WHERE datname = current_database()) AS this_one, enabled
FROM ecto_job.scheduler_state;
SELECT ecto_job.disable();
SELECT enabled, count(*) OVER () FROM ecto_job.scheduler_state;
SELECT ecto_job.disable();
SELECT ecto_job.enqueue('conf_jobs', '{}') > 0 AS enqueued_while_disabled;
SELECT count(*) FROM ecto_job.start_available_jobs('conf_jobs', 1);
-- A new queue does not enable a database that was disabled
SELECT ecto_job.create_queue('conf_third');
SELECT enabled FROM ecto_job.scheduler_state;
SELECT ecto_job.enable();
SELECT ecto_job.enable();
SELECT enabled, count(*) OVER () FROM ecto_job.scheduler_state;
BEGIN;
SELECT ecto_job.disable();
ROLLBACK;
SELECT enabled FROM ecto_job.scheduler_state;

SELECT ecto_job.drop_queue('conf_jobs'), ecto_job.drop_queue('conf_other'), ecto_job.drop_queue('conf_third');
