-- The triggers of a queue's table: scheduling by plain INSERT and COPY, and notifications.
-- psql's lines on notifications go through sed, since they name a process.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('trig_jobs');

-- A job is SCHEDULED if its schedule is in the future and the INSERT names no other state
INSERT INTO trig_jobs (params, schedule) VALUES ('{}', '2999-01-01'), ('{}', '2001-01-01'), ('{}', DEFAULT);
INSERT INTO trig_jobs (params, schedule, state) VALUES ('{}', '2999-01-01', 'AVAILABLE'), ('{}', '2999-01-01', 'RETRY');
COPY trig_jobs (params, schedule) FROM stdin;
{"by": "copy"}	2999-01-01 00:00:00+00
{"by": "copy"}	2001-01-01 00:00:00+00
\.
SELECT id, state, in_play FROM trig_jobs ORDER BY id;
BEGIN;
-- "future" is by the clock, not by the transaction's now()
INSERT INTO trig_jobs (params, schedule) SELECT '{}', now() FROM pg_sleep(0.002);
SELECT state FROM trig_jobs ORDER BY id DESC LIMIT 1;
ROLLBACK;

-- An infinite schedule is refused
SELECT pg_temp.outcome('INSERT INTO trig_jobs (params, schedule) VALUES (''{}'', ''infinity'')');
COPY trig_jobs (params, schedule) FROM stdin;
{}	infinity
\.

-- A job that becomes AVAILABLE causes a notification, one for each transaction
TRUNCATE trig_jobs RESTART IDENTITY;
LISTEN trig_jobs;
\o :notifications
INSERT INTO trig_jobs (params) VALUES ('{}'), ('{}');
SELECT ecto_job.enqueue('trig_jobs', '{}');
INSERT INTO trig_jobs (params, state, schedule) SELECT '{}', unnest('{SCHEDULED,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), '2001-01-01';
INSERT INTO trig_jobs (params, schedule) VALUES ('{}', '2999-01-01');
\o
-- a start, or a change of an AVAILABLE job, causes no notification
\o :notifications
SELECT count(*) FROM ecto_job.reserve_available_jobs('trig_jobs', 1);
SELECT count(*) FROM ecto_job.start_available_jobs('trig_jobs', 1);
UPDATE trig_jobs SET priority = 1, schedule = '2001-01-01', expires = now() WHERE state = 'AVAILABLE';
UPDATE trig_jobs SET meta = '{}';
SELECT count(*) FROM ecto_job.requeue('trig_jobs', 8);
DELETE FROM trig_jobs WHERE id = 9;
\o
-- the sweeps cause notifications
\o :notifications
SELECT ecto_job.activate_scheduled_jobs('trig_jobs');
SELECT ecto_job.activate_scheduled_jobs('trig_jobs');
SELECT ecto_job.activate_expired_jobs('trig_jobs');
UPDATE trig_jobs SET state = 'AVAILABLE' WHERE state = 'IN_PROGRESS';
\o
-- After a ROLLBACK, also to a savepoint, no notification is sent
\o :notifications
BEGIN;
INSERT INTO trig_jobs (params) VALUES ('{}');
ROLLBACK;
BEGIN;
SAVEPOINT s;
INSERT INTO trig_jobs (params) VALUES ('{}');
ROLLBACK TO s;
COMMIT;
BEGIN;
SAVEPOINT s;
INSERT INTO trig_jobs (params) VALUES ('{}');
RELEASE s;
COMMIT;
\o
-- With triggers off no notification is sent
\o :notifications
SET session_replication_role = replica;
INSERT INTO trig_jobs (params) VALUES ('{}');
RESET session_replication_role;
\o

-- The channel is the table's present name; after a RENAME to a name that is too long none is sent, with one WARNING
ALTER TABLE trig_jobs RENAME TO trig_renamed;
LISTEN trig_renamed;
\o :notifications
INSERT INTO trig_renamed (params) VALUES ('{}');
\o
ALTER TABLE trig_renamed RENAME TO trig_name_that_is_much_too_long_for_all_its_channels_54;
\o :notifications
INSERT INTO trig_name_that_is_much_too_long_for_all_its_channels_54 (params, notify) VALUES ('{}', 'x');
INSERT INTO trig_name_that_is_much_too_long_for_all_its_channels_54 (params) VALUES ('{}');
SELECT ecto_job.enqueue('trig_name_that_is_much_too_long_for_all_its_channels_54', '{}') > 0 AS enqueued;
SELECT count(*) > 0 AS started FROM ecto_job.start_available_jobs('trig_name_that_is_much_too_long_for_all_its_channels_54', 100);
SELECT ecto_job.initial_multi('trig_name_that_is_much_too_long_for_all_its_channels_54', id, attempt)
FROM trig_name_that_is_much_too_long_for_all_its_channels_54 WHERE notify = 'x';
\o
ALTER TABLE trig_name_that_is_much_too_long_for_all_its_channels_54 RENAME TO trig_jobs;
UNLISTEN *;

-- A queue moves to another schema with its jobs
CREATE SCHEMA trig_schema;
ALTER TABLE trig_jobs SET SCHEMA trig_schema;
SELECT ecto_job.enqueue('trig_schema.trig_jobs', '{}') > 0 AS enqueued;
ALTER SCHEMA trig_schema RENAME TO trig_other;
SELECT ecto_job.enqueue('trig_other.trig_jobs', '{}') > 0 AS enqueued;

-- The trigger functions, called in other ways than by the extension's triggers
SELECT pg_temp.outcome(format('SELECT ecto_job.%s()', name))
FROM unnest('{schedule_job,job_inserted,job_changed,clear_lease,registry_changed,forget_dropped_queues,register_restored_queue}'::text[]) AS name;
CREATE TABLE trig_table (id bigint, state text);
CREATE TRIGGER t1 AFTER INSERT ON trig_table FOR EACH STATEMENT EXECUTE FUNCTION ecto_job.job_inserted();
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (1)');
DROP TRIGGER t1 ON trig_table;
CREATE TRIGGER t2 BEFORE INSERT ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.schedule_job();
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (1)');
DROP TRIGGER t2 ON trig_table;
CREATE TRIGGER t3 BEFORE INSERT ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.registry_changed();
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (1)');
DROP TRIGGER t3 ON trig_table;
-- wrong events, wrong timing, columns of other types
INSERT INTO trig_table VALUES (1, 'AVAILABLE'), (2, NULL);
CREATE TRIGGER t4 AFTER DELETE OR INSERT ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.job_changed();
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (3, ''AVAILABLE'')');
SELECT pg_temp.outcome('DELETE FROM trig_table');
DROP TRIGGER t4 ON trig_table;
CREATE TRIGGER t5 AFTER DELETE ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.job_inserted();
SELECT pg_temp.outcome('DELETE FROM trig_table');
DROP TRIGGER t5 ON trig_table;
CREATE TRIGGER t4 BEFORE UPDATE ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.clear_lease();
SELECT pg_temp.outcome('UPDATE trig_table SET state = ''RETRY''');
DROP TRIGGER t4 ON trig_table;
CREATE TRIGGER t5 BEFORE UPDATE ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.job_changed();
SELECT pg_temp.outcome('UPDATE trig_table SET state = ''RETRY''');
DROP TABLE trig_table;
CREATE TABLE trig_table (state bigint, schedule timestamptz);
CREATE TRIGGER t6 BEFORE INSERT ON trig_table FOR EACH ROW EXECUTE FUNCTION ecto_job.schedule_job();
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (1, now())');
ALTER TABLE trig_table ALTER state TYPE text, ALTER schedule TYPE text;
SELECT pg_temp.outcome('INSERT INTO trig_table VALUES (''AVAILABLE'', ''text'')');
CREATE TABLE trig_registry (queue text);
CREATE TRIGGER t7 BEFORE INSERT ON trig_registry FOR EACH ROW EXECUTE FUNCTION ecto_job.registry_changed();
SELECT pg_temp.outcome('INSERT INTO trig_registry VALUES (''text'')');
DROP TABLE trig_table, trig_registry;

SELECT ecto_job.drop_queue('trig_other.trig_jobs');
DROP SCHEMA trig_other;
