-- Columns that a queue's owner adds or drops: every function works beside them. upgrade_queue brings back a column of
-- the extension that is missing, without a rewrite.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql

-- Shows what becomes of a job; for a queue of any kind
CREATE FUNCTION pg_temp.life(queue regclass, binary_params bytea DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    enqueued bigint := ecto_job.enqueue(queue, CASE WHEN binary_params IS NULL THEN jsonb '{}' END, params_binary => binary_params, priority => -1);
    job ecto_job.job;
    states text[];
BEGIN
    job := ecto_job.start_available_jobs(queue);
    states := ARRAY[job.state];
    job := ecto_job.fail_job(queue, enqueued, job.lease, 'why');
    states := states || job.state || job.error;
    PERFORM ecto_job.activate_scheduled_jobs(queue, '2999-01-01');
    job := ecto_job.reserve_available_jobs(queue, 1);
    states := states || job.state;
    PERFORM ecto_job.activate_expired_jobs(queue, '2999-01-01');
    job := ecto_job.start_available_jobs(queue);
    job := ecto_job.snooze_job(queue, enqueued, job.lease);
    states := states || job.state;
    job := ecto_job.start_available_jobs(queue);
    PERFORM ecto_job.complete_job(queue, enqueued, job.lease);
    states := states || job.attempt::text;
    enqueued := ecto_job.enqueue(queue, CASE WHEN binary_params IS NULL THEN jsonb '{}' END, params_binary => binary_params, priority => -1);
    job := ecto_job.start_available_jobs(queue);
    job := ecto_job.fail_job(queue, enqueued, job.lease, retry => false);
    job := ecto_job.requeue(queue, enqueued);
    job := ecto_job.cancel_job(queue, enqueued);
    RETURN array_to_string(states || job.state, ' ');
END $$;
CREATE FUNCTION pg_temp.filenode(queue regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(pg_relation_filenode(oid)::text, ' ' ORDER BY oid) FROM pg_class
    WHERE oid = queue OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = queue)
$$;
SET client_min_messages = error; -- each job is completed in the transaction that started it
\set ECHO all

SELECT ecto_job.create_queue('columns_map');
SELECT ecto_job.create_queue('columns_binary', params_type => 'binary', timestamps_opts => 'false');
SELECT ecto_job.create_queue('columns_mixed', ectojob => true);
CREATE TABLE columns_adopted (id bigserial PRIMARY KEY, state varchar NOT NULL DEFAULT 'AVAILABLE', expires timestamptz,
    schedule timestamptz NOT NULL DEFAULT now(), attempt integer NOT NULL DEFAULT 0, max_attempts integer NOT NULL DEFAULT 5,
    params jsonb NOT NULL, notify varchar(255), priority integer NOT NULL DEFAULT 0, inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX ON columns_adopted (priority, schedule, id);
SELECT ecto_job.adopt_queue('columns_adopted');

-- Columns of the application's own, and one that it has dropped
SELECT format('ALTER TABLE %s ADD gone integer, ADD note text, ADD rank integer NOT NULL DEFAULT 7,
    ADD twice bigint GENERATED ALWAYS AS (attempt * 2) STORED, ADD drawn float8 DEFAULT random()', queue)
FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' \gexec
SELECT format('ALTER TABLE %s DROP gone', queue)
FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' \gexec
SELECT queue, pg_temp.life(queue, CASE params_type WHEN 'binary' THEN bytea '\x01' END)
FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' ORDER BY queue::text;
SELECT ecto_job.upgrade_queue(queue) FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' ORDER BY queue::text;
-- A column without a default is the application's to fill
ALTER TABLE columns_map ADD owner text NOT NULL;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('columns_map', '{}')$$);
INSERT INTO columns_map (params, owner) VALUES ('{}', 'me');
SELECT state, attempt FROM ecto_job.start_available_jobs('columns_map');
SELECT activated, expired, failed FROM ecto_job.sweep('columns_map', '2999-01-01');
SELECT state, attempt FROM ecto_job.reserve_available_jobs('columns_map', 1);
SELECT id = 0 AS cancelled FROM ecto_job.cancel_job('columns_map', (SELECT id FROM columns_map));
ALTER TABLE columns_map DROP owner;

-- A column that the owner has dropped comes back empty, and without a rewrite
SELECT format('ALTER TABLE %s DROP COLUMN meta, DROP COLUMN error', queue)
FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' \gexec
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('columns_map', '{}')$$);
INSERT INTO columns_map (params) SELECT '{}' FROM generate_series(1, 100);
CREATE TEMP TABLE before AS SELECT queue, pg_temp.filenode(queue) AS filenode FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%';
CREATE TEMP TABLE rows_before AS SELECT ctid AS place, xmin AS version, id FROM columns_map;
SELECT ecto_job.upgrade_queue(queue) FROM before ORDER BY queue::text;
SELECT queue, filenode = pg_temp.filenode(queue) AS same_file,
    (SELECT string_agg(format('%s %s %s %s', attname, atttypid::regtype, attnotnull, col_description(attrelid, attnum)), E'\n' ORDER BY attnum)
     FROM pg_attribute WHERE attrelid = queue AND attname IN ('error', 'meta')) AS columns
FROM before ORDER BY queue::text;
SELECT count(*) AS changed_rows FROM rows_before LEFT JOIN columns_map AS j ON j.ctid = place AND j.xmin = version AND j.id = rows_before.id WHERE j.id IS NULL;
SELECT queue, pg_temp.life(queue, CASE params_type WHEN 'binary' THEN bytea '\x01' END)
FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' ORDER BY queue::text;

-- Triggers fire after the upgrade as the owner wants
ALTER TABLE columns_map DISABLE TRIGGER ecto_job_inserted, ENABLE REPLICA TRIGGER ecto_job_schedule, ENABLE ALWAYS TRIGGER ecto_job_changed;
SELECT ecto_job.upgrade_queue('columns_map');
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'columns_map'::regclass ORDER BY tgname;
ALTER TABLE columns_map ENABLE TRIGGER ALL;
SELECT ecto_job.upgrade_queue('columns_map');
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'columns_map'::regclass ORDER BY tgname;

-- A table of the owner's that inherits from the queue: PostgreSQL refuses, and nothing is changed
CREATE TABLE columns_child () INHERITS (columns_map);
ALTER TABLE columns_map DROP COLUMN meta;
SELECT pg_temp.outcome($$SELECT ecto_job.upgrade_queue('columns_map')$$);
DROP TABLE columns_child;
SELECT pg_temp.outcome($$SELECT ecto_job.upgrade_queue('columns_map')$$);

SELECT ecto_job.drop_queue(queue) FROM (SELECT queue FROM ecto_job.queue_settings WHERE queue::text LIKE 'columns%' ORDER BY queue::text) AS q;
