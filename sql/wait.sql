-- wait and wait_any: arguments, errors, and what returns at once. test/tap/038_wait.pl and 048_wait_any.pl have sessions
-- that wait and are woken.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set SHOW_CONTEXT never
\set ECHO all
SELECT ecto_job.create_queue('wait_jobs');
-- No job: the time is up at once, or a little later
CALL ecto_job.wait('wait_jobs', '0');
CALL ecto_job.wait('wait_jobs', '1 ms');
-- Jobs for later are none
SELECT FROM ecto_job.enqueue('wait_jobs', '{}', schedule => '2999-01-01');
CALL ecto_job.wait('wait_jobs', '0');
-- A job: at once, however often
SELECT ecto_job.enqueue('wait_jobs', '{}') AS id \gset
CALL ecto_job.wait('wait_jobs');
CALL ecto_job.wait('wait_jobs', '0');
CALL ecto_job.wait(queue => 'wait_jobs', timeout => '100 days', available => false);
SELECT lease FROM ecto_job.start_available_jobs('wait_jobs') \gset
CALL ecto_job.wait('wait_jobs', '0');
-- A job that comes back
SELECT state FROM ecto_job.snooze_job('wait_jobs', :id, :lease);
CALL ecto_job.wait('wait_jobs', '1 day');
-- A paused queue has no job to start
SELECT ecto_job.pause_queue('wait_jobs');
CALL ecto_job.wait('wait_jobs', '1 ms');
SELECT ecto_job.resume_queue('wait_jobs');
CALL ecto_job.wait('wait_jobs', '1 day');
-- The session's isolation level and a read-only session do not matter
SET default_transaction_isolation = 'serializable';
SET default_transaction_read_only = on;
CALL ecto_job.wait('wait_jobs', '1 day');
RESET default_transaction_read_only;
SHOW transaction_isolation;
RESET default_transaction_isolation;
-- From the code of a procedure or DO block that may commit
DO $$
DECLARE available boolean;
BEGIN
    CALL ecto_job.wait('wait_jobs', '1 day', available);
    RAISE NOTICE 'available: %', available;
    PERFORM * FROM ecto_job.start_available_jobs('wait_jobs');
    COMMIT;
    CALL ecto_job.wait('wait_jobs', '0', available);
    RAISE NOTICE 'available: %', available;
END
$$;
-- In a transaction block, of whatever kind
BEGIN;
CALL ecto_job.wait('wait_jobs');
\echo :SQLSTATE
ROLLBACK;
SELECT 1 AS a \; CALL ecto_job.wait('wait_jobs');
\echo :SQLSTATE
DO $$
DECLARE available boolean;
BEGIN
    CALL ecto_job.wait('wait_jobs', '1 day', available);
EXCEPTION WHEN division_by_zero THEN NULL;
END
$$;
\echo :SQLSTATE
SELECT pg_temp.outcome($$CALL ecto_job.wait('wait_jobs')$$);
-- A little before statement_timeout
SET statement_timeout = '2 s';
CALL ecto_job.wait('wait_jobs', '1 day');
RESET statement_timeout;
-- Arguments
CALL ecto_job.wait(NULL);
\echo :SQLSTATE
CALL ecto_job.wait('wait_jobs', NULL);
\echo :SQLSTATE
CALL ecto_job.wait('wait_jobs', '-1 ms');
\echo :SQLSTATE
CALL ecto_job.wait('wait_jobs', '1 month');
\echo :SQLSTATE
CALL ecto_job.wait('pg_class');
\echo :SQLSTATE
CALL ecto_job.wait(1);
\echo :SQLSTATE
-- A table of EctoJob's kind, and binary params
SELECT ecto_job.create_queue('wait_shared', ectojob => true, params_type => 'binary');
CALL ecto_job.wait('wait_shared', '0');
SELECT FROM ecto_job.enqueue('wait_shared', params_binary => '\x01');
CALL ecto_job.wait('wait_shared', '1 day');
-- Rights
CREATE ROLE regress_wait_reader;
CREATE ROLE regress_wait_writer;
GRANT SELECT ON wait_jobs TO regress_wait_reader;
GRANT INSERT, UPDATE, DELETE ON wait_jobs TO regress_wait_writer;
SET ROLE regress_wait_reader;
CALL ecto_job.wait('wait_jobs', '0');
SET ROLE regress_wait_writer;
CALL ecto_job.wait('wait_jobs', '0');
\echo :SQLSTATE
RESET ROLE;
-- Also of a paused queue
SELECT ecto_job.pause_queue('wait_jobs');
SET ROLE regress_wait_writer;
CALL ecto_job.wait('wait_jobs', '0');
\echo :SQLSTATE
RESET ROLE;
SELECT ecto_job.resume_queue('wait_jobs');
-- Several queues: the first that has a job
SELECT ecto_job.create_queue(name) FROM unnest('{wait_a,wait_b,wait_c}'::text[]) AS name;
CALL ecto_job.wait_any('{wait_a,wait_b,wait_c}', '0');
CALL ecto_job.wait_any(queues => '{wait_a}', timeout => '1 ms', queue => 'wait_b');
SELECT FROM ecto_job.enqueue('wait_b', '{}');
CALL ecto_job.wait_any('{wait_a,wait_b,wait_c}');
CALL ecto_job.wait_any('{wait_a,wait_c}', '0');
CALL ecto_job.wait_any('{{wait_a,wait_b},{wait_b,wait_a}}', '1 day');
-- In turn, if more have jobs
SELECT count(*) FROM ecto_job.start_available_jobs('wait_b');
SELECT ecto_job.enqueue('wait_a', '{}') FROM generate_series(1, 2) \g /dev/null
SELECT ecto_job.enqueue('wait_b', '{}') FROM generate_series(1, 2) \g /dev/null
SELECT ecto_job.enqueue('wait_c', '{}') FROM generate_series(1, 2) \g /dev/null
CALL ecto_job.wait_any('{wait_a,wait_b,wait_c}');
SELECT count(*) FROM ecto_job.start_available_jobs('wait_c');
CALL ecto_job.wait_any('{wait_a,wait_b,wait_c}');
SELECT count(*) FROM ecto_job.start_available_jobs('wait_a');
CALL ecto_job.wait_any('{wait_a,wait_b,wait_c}');
SELECT count(*) FROM ecto_job.start_available_jobs('wait_b');
-- Not a paused one
SELECT ecto_job.pause_queue('wait_a');
CALL ecto_job.wait_any('{wait_a,wait_b}');
CALL ecto_job.wait_any('{wait_a,wait_b}');
CALL ecto_job.wait_any('{wait_a}', '1 ms');
-- 16 of them, however often; not 17
SELECT ecto_job.create_queue('wait_' || n) FROM generate_series(4, 17) AS n \g /dev/null
SELECT array_agg('wait_' || n) AS many FROM unnest('{a,b,c,4,5,6,7,8,9,10,11,12,13,14,15,16}'::text[]) AS n \gset
CALL ecto_job.wait_any(:'many'::regclass[] || :'many'::regclass[]);
CALL ecto_job.wait_any(:'many'::regclass[] || 'wait_17'::regclass);
\echo :SQLSTATE
-- Arguments
CALL ecto_job.wait_any(NULL);
\echo :SQLSTATE
CALL ecto_job.wait_any('{}');
\echo :SQLSTATE
CALL ecto_job.wait_any('{wait_a,NULL}');
\echo :SQLSTATE
CALL ecto_job.wait_any('{wait_a,pg_class}');
\echo :SQLSTATE
CALL ecto_job.wait_any('{wait_a,1}');
\echo :SQLSTATE
CALL ecto_job.wait_any('{wait_a}', NULL);
\echo :SQLSTATE
CALL ecto_job.wait_any('{wait_a}', '-1 ms');
\echo :SQLSTATE
BEGIN;
CALL ecto_job.wait_any('{wait_b}');
\echo :SQLSTATE
ROLLBACK;
-- A little before statement_timeout
SET statement_timeout = '2 s';
CALL ecto_job.wait_any('{wait_a}', '1 day');
RESET statement_timeout;
-- Rights: SELECT on each
SELECT count(*) FROM ecto_job.start_available_jobs('wait_b');
GRANT SELECT ON wait_b, wait_c TO regress_wait_reader;
SET ROLE regress_wait_reader;
CALL ecto_job.wait_any('{wait_b,wait_c}');
CALL ecto_job.wait_any('{wait_b,wait_a}');
\echo :SQLSTATE
RESET ROLE;
SELECT ecto_job.drop_queue(queue) FROM ecto_job.queues WHERE queue::text LIKE 'wait%' \g /dev/null
DROP ROLE regress_wait_reader, regress_wait_writer;
