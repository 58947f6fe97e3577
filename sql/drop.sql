-- DROP TABLE, drop_queue, DROP SCHEMA and DROP EXTENSION: which objects are dropped and which stay.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('drop_one'), ecto_job.create_queue('drop_two'), ecto_job.create_queue('drop_three');
SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text;
INSERT INTO drop_one (params) VALUES ('{}');

-- A dropped table leaves the registry, and is in it again after a rollback
DROP TABLE drop_two;
SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text;
BEGIN;
DROP TABLE drop_one;
SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text;
ROLLBACK;
SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text;
SELECT ecto_job.enqueue('drop_one', '{}');

-- drop_queue
SELECT 'drop_three'::regclass::oid AS three \gset
SELECT ecto_job.drop_queue('drop_three');
SELECT ecto_job.drop_queue(:three);
SELECT regexp_replace(pg_temp.outcome('SELECT ecto_job.enqueue(' || :three || ', ''{}'')'), '\d{5,}', 'N');
CREATE TABLE drop_table (id bigint);
SELECT pg_temp.outcome('SELECT ecto_job.drop_queue(''drop_table'')');
SELECT pg_temp.outcome('SELECT ecto_job.drop_queue(''ecto_job.queue_settings'')');
SELECT pg_temp.outcome('SELECT ecto_job.drop_queue(NULL)');
CREATE VIEW drop_view AS SELECT id FROM drop_one;
SELECT pg_temp.outcome('SELECT ecto_job.drop_queue(''drop_one'')');
DROP VIEW drop_view;

-- A name can be used again, with other options, in the same session and transaction
BEGIN;
SELECT ecto_job.create_queue('drop_two', params_type => 'binary');
SELECT ecto_job.enqueue('drop_two', params_binary => '');
SELECT ecto_job.drop_queue('drop_two');
SELECT ecto_job.create_queue('drop_two');
SELECT ecto_job.enqueue('drop_two', '{}');
COMMIT;
CREATE SCHEMA drop_schema;
SELECT ecto_job.create_queue('jobs', 'drop_schema');
SET client_min_messages = warning;
DROP SCHEMA drop_schema CASCADE;
RESET client_min_messages;
SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text;

-- DROP EXTENSION is refused while queues exist; CASCADE drops the extension's triggers and keeps the tables
SELECT split_part(pg_temp.outcome('DROP EXTENSION ecto_job'), E'\n', 1);
SELECT pg_temp.outcome('DROP SCHEMA ecto_job');
SELECT pg_temp.outcome('DROP TABLE ecto_job.queue_settings');
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION ecto_job CASCADE;
SELECT count(*) FROM drop_one;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'drop_one'::regclass AND NOT tgisinternal;
INSERT INTO drop_one (params) VALUES ('{}');
SELECT to_regnamespace('ecto_job') IS NULL AS schema_gone;
DROP TABLE drop_two;
ROLLBACK;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'drop_one'::regclass AND NOT tgisinternal;
SELECT ecto_job.enqueue('drop_one', '{}') > 0 AS enqueued;
SELECT ecto_job.drop_queue('drop_one'), ecto_job.drop_queue('drop_two');
SELECT count(*) FROM ecto_job.queue_settings;
-- Without queues the extension can be dropped, and created again in the same session
BEGIN;
SET LOCAL client_min_messages = error;
DROP EXTENSION ecto_job;
CREATE EXTENSION ecto_job;
SELECT ecto_job.create_queue('drop_one');
SELECT ecto_job.enqueue('drop_one', '{}');
ROLLBACK;
DROP TABLE drop_table;
