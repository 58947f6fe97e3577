-- wait: arguments, errors, and what returns at once. test/tap/038_wait.pl has sessions that wait and are woken.
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
SELECT ecto_job.drop_queue(q) FROM unnest('{wait_jobs,wait_shared}'::regclass[]) AS q;
DROP ROLE regress_wait_reader, regress_wait_writer;
