-- No argument, table, name or search_path crashes the server, loses a job, or runs another role's function.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('host_jobs');

-- Every function on each kind of relation that is no queue
CREATE TABLE host_table (LIKE host_jobs INCLUDING ALL);
CREATE VIEW host_view AS TABLE host_jobs;
CREATE TEMP TABLE host_temp (LIKE host_jobs INCLUDING ALL);
CREATE TABLE host_child () INHERITS (host_jobs);
CREATE TABLE host_calls (no int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO host_calls (call) VALUES
    ('ecto_job.enqueue(%L, ''{}'')'), ('ecto_job.available_jobs(%L, 1)'), ('ecto_job.start_available_jobs(%L)'),
    ('ecto_job.reserve_available_jobs(%L, 1)'), ('ecto_job.update_job_in_progress(%L, 1, 0)'),
    ('ecto_job.snooze_job(%L, 1, 1)'), ('ecto_job.extend_lease(%L, 1, 1)'), ('ecto_job.cancel_job(%L, 1)'),
    ('ecto_job.pause_queue(%L)'), ('ecto_job.resume_queue(%L)'), ('ecto_job.fail_job(%L, 1, 1)'), ('ecto_job.job_failed(%L, 1, 1)'), ('ecto_job.complete_jobs(%L, ''{1}'', ''{1}'')'),
    ('ecto_job.complete_job(%L, 1, 1)'), ('ecto_job.delete_job_changeset(%L, 1, 9)'), ('ecto_job.initial_multi(%L, 1, 9)'),
    ('ecto_job.requeue(%L, 1)'), ('ecto_job.sweep(%L)'), ('ecto_job.activate_scheduled_jobs(%L)'),
    ('ecto_job.activate_expired_jobs(%L)'), ('ecto_job.fail_expired_jobs_at_max_attempts(%L)'),
    ('ecto_job.configure_queue(%L)'), ('ecto_job.drop_queue(%L)');
SELECT wrong, split_part(outcome, E'\n', 1) AS outcome, count(*)
FROM unnest('{host_table,host_view,host_temp,host_child,host_jobs_pkey,host_jobs_id_seq,pg_class,no_such_table,0,4000000000,"",NULL}'::text[]) AS wrong,
     host_calls, pg_temp.outcome(format('SELECT ' || call, wrong)) AS outcome
GROUP BY 1, 2 ORDER BY wrong COLLATE "C", split_part(outcome, E'\n', 1) COLLATE "C";
DROP TABLE host_table, host_temp, host_child;
DROP VIEW host_view;
-- A temporary table cannot be a queue, since other sessions would not see it
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''host_temporary'', ''pg_temp'')');
SELECT regexp_replace(pg_temp.outcome(format('SELECT ecto_job.create_queue(''host_temporary'', %L)', pg_my_temp_schema()::regnamespace)),
                      'pg_temp_\d+', 'pg_temp_N');
SELECT regexp_replace(pg_temp.outcome('SET LOCAL search_path = pg_temp; SELECT ecto_job.create_queue(''host_temporary'')'), 'pg_temp_\d+', 'pg_temp_N');

-- NULL for each argument except the queue
SELECT call, pg_temp.outcome('SELECT * FROM ' || call) FROM unnest(ARRAY[
    'ecto_job.enqueue(''host_jobs'', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)',
    'ecto_job.available_jobs(''host_jobs'', NULL)', 'ecto_job.start_available_jobs(''host_jobs'', NULL, NULL, NULL)',
    'ecto_job.reserve_available_jobs(''host_jobs'', NULL, NULL, NULL)',
    'ecto_job.update_job_in_progress(''host_jobs'', NULL, NULL, NULL, NULL, NULL)',
    'ecto_job.fail_job(''host_jobs'', NULL, NULL, NULL, NULL, NULL, NULL)',
    'ecto_job.snooze_job(''host_jobs'', NULL, NULL, NULL, NULL)', 'ecto_job.extend_lease(''host_jobs'', NULL, NULL, NULL, NULL)',
    'ecto_job.cancel_job(''host_jobs'', NULL, NULL)',
    'ecto_job.job_failed(''host_jobs'', NULL, NULL, NULL, NULL, NULL, NULL)',
    'ecto_job.complete_job(''host_jobs'', NULL, NULL)', 'ecto_job.complete_jobs(''host_jobs'', NULL, NULL)',
    'ecto_job.delete_job_changeset(''host_jobs'', NULL, NULL, NULL)',
    'ecto_job.initial_multi(''host_jobs'', NULL, NULL, NULL)', 'ecto_job.requeue(''host_jobs'', NULL, NULL)',
    'ecto_job.sweep(''host_jobs'', NULL)', 'ecto_job.activate_scheduled_jobs(''host_jobs'', NULL)',
    'ecto_job.activate_expired_jobs(''host_jobs'', NULL)', 'ecto_job.fail_expired_jobs_at_max_attempts(''host_jobs'', NULL)',
    'ecto_job.create_queue(NULL, NULL, NULL, NULL, NULL)', 'ecto_job.create_queue(''host_x'', NULL, NULL, NULL, NULL)',
    'ecto_job.queue_status(NULL, NULL)', 'ecto_job.queue_status(''pg_class'', NULL)']) AS call;

-- Arguments that PostgreSQL refuses: invalid text, an invalid byte, a text too long for jsonb; and no id left
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', '{"a": "\u0000"}')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', convert_from('\x7b2261223a2200227d', 'UTF8')::jsonb)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', '{}', notify => convert_from('\xff', 'UTF8'))$$);
SELECT pg_temp.outcome($$INSERT INTO host_jobs (params) VALUES (jsonb_build_object('a', repeat(repeat('x', 65536), 4096)))$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', jsonb_build_object('a', repeat(repeat('x', 65536), 4096)))$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', jsonb_build_array(half, half)) FROM repeat(repeat('x', 65536), 2048) AS half$$);
SELECT count(*) FROM host_jobs;
BEGIN;
SELECT setval(pg_get_serial_sequence('host_jobs', 'id'), 9223372036854775807);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('host_jobs', '{}')$$);
SELECT pg_temp.outcome($$INSERT INTO host_jobs (params) VALUES ('{}')$$);
SELECT setval(pg_get_serial_sequence('host_jobs', 'id'), 1, false);
COMMIT;

-- A job's whole life on queues with odd names
CREATE FUNCTION pg_temp.life(name text, prefix text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    queue regclass := ecto_job.create_queue(name, prefix);
    job ecto_job.job;
BEGIN
    PERFORM ecto_job.enqueue(queue, '{}', max_attempts => 2, notify => 'n');
    PERFORM ecto_job.enqueue(queue, '{}', schedule => '2999-01-01');
    SELECT * INTO job FROM ecto_job.start_available_jobs(queue);
    SELECT * INTO job FROM ecto_job.fail_job(queue, job.id, job.lease, now => '2031-01-01');
    PERFORM ecto_job.sweep(queue, '2032-01-01');
    SELECT * INTO job FROM ecto_job.start_available_jobs(queue);
    PERFORM ecto_job.extend_lease(queue, job.id, job.lease);
    PERFORM ecto_job.snooze_job(queue, job.id, job.lease);
    PERFORM ecto_job.pause_queue(queue), ecto_job.resume_queue(queue);
    SELECT * INTO job FROM ecto_job.reserve_available_jobs(queue, 1);
    SELECT * INTO job FROM ecto_job.update_job_in_progress(queue, job.id, job.attempt);
    SELECT * INTO job FROM ecto_job.job_failed(queue, job.id, job.attempt);
    SELECT * INTO job FROM ecto_job.requeue(queue, job.id);
    PERFORM ecto_job.configure_queue(queue, max_attempts => 3);
    PERFORM ecto_job.activate_scheduled_jobs(queue, '3000-01-01');
    PERFORM ecto_job.complete_jobs(queue, array_agg(j.id), array_agg(j.lease)) FROM ecto_job.start_available_jobs(queue, 5) AS j;
    RETURN format('dropped: %s', ecto_job.drop_queue(queue));
END
$$;
CREATE SCHEMA "Odd ""schema""; --";
SET client_min_messages = error;
SELECT pg_temp.life(name, prefix) FROM unnest(ARRAY['Odd "name"', ' ', 'select', 'a.b', '%s', $$'; DROP TABLE host_jobs; --$$,
    repeat('x', 53), repeat('ä', 26), '\', 'UPPER', '1', '😀', E'\u202Esboj', '$1', '{table}', '{job}', '{touch}', 'j', 'w', 'claimed', 'h']) AS name,
    unnest(ARRAY['public', 'Odd "schema"; --']) AS prefix;
RESET client_min_messages;
DROP SCHEMA "Odd ""schema""; --";

-- A search_path with operators, functions and types of another role before pg_catalog
CREATE SCHEMA host_evil;
CREATE FUNCTION host_evil.trap() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'a stranger''s function was called'; END $$;
DO $$
DECLARE
    type text;
    op text;
BEGIN
    FOREACH type IN ARRAY '{int4,int8,text,timestamptz,timestamp,oid,regclass,bool,name,jsonb,interval,anyarray}'::text[] LOOP
        FOREACH op IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
            EXECUTE format('CREATE FUNCTION host_evil.f_%s(%s, %s) RETURNS bool LANGUAGE sql AS ''SELECT host_evil.trap(); SELECT false''',
                           md5(op || type), type, type);
            EXECUTE format('CREATE OPERATOR host_evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = host_evil.f_%s)',
                           op, type, type, md5(op || type));
        END LOOP;
    END LOOP;
END
$$;
CREATE FUNCTION host_evil.plus(int, int) RETURNS int LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT 0';
CREATE OPERATOR host_evil.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = host_evil.plus);
CREATE FUNCTION host_evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT NULL::timestamptz';
CREATE FUNCTION host_evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT NULL::timestamptz';
CREATE FUNCTION host_evil.timezone(text, timestamptz) RETURNS timestamp LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT NULL::timestamp';
CREATE FUNCTION host_evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT NULL::text';
CREATE FUNCTION host_evil.unnest(int8[]) RETURNS SETOF int8 LANGUAGE sql AS 'SELECT host_evil.trap(); SELECT 1::int8';
CREATE DOMAIN host_evil.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN host_evil.timestamptz AS pg_catalog.timestamptz CHECK (false);
CREATE DOMAIN host_evil.regclass AS pg_catalog.regclass CHECK (false);
SET search_path = host_evil, pg_catalog;
SELECT 1 = 1;
SELECT ecto_job.create_queue('evil_jobs', 'public');
SELECT ecto_job.create_queue('evil_jobs', 'public');
SELECT max_attempts FROM ecto_job.configure_queue('public.evil_jobs', '1 s', '1 s', '1 s', '1 s', 6);
SELECT ecto_job.enqueue('public.evil_jobs', '{}', notify => 'n') FROM generate_series(1, 5);
INSERT INTO public.evil_jobs (params, schedule) VALUES ('{}', '2999-01-01');
SELECT count(*) FROM ecto_job.available_jobs('public.evil_jobs', 1);
SELECT id, attempt, lease FROM ecto_job.reserve_available_jobs('public.evil_jobs', 1) \gset
SELECT count(*) FROM ecto_job.update_job_in_progress('public.evil_jobs', :id, :attempt, lease => :lease);
SELECT count(*) FROM ecto_job.job_failed('public.evil_jobs', :id, 1, now => '2001-01-01');
SELECT id, lease FROM ecto_job.start_available_jobs('public.evil_jobs') \gset
SELECT count(*) FROM ecto_job.fail_job('public.evil_jobs', :id, :lease, 'why');
SELECT id, lease FROM ecto_job.start_available_jobs('public.evil_jobs') \gset
SELECT ecto_job.complete_job('public.evil_jobs', :id, :lease);
SELECT id, lease FROM ecto_job.start_available_jobs('public.evil_jobs') \gset
SELECT ecto_job.complete_jobs('public.evil_jobs', ARRAY[:id]::int8[], ARRAY[:lease]);
SELECT id FROM ecto_job.start_available_jobs('public.evil_jobs') \gset
UPDATE public.evil_jobs SET error = NULL;
SELECT ecto_job.initial_multi('public.evil_jobs', :id, 1);
SELECT ecto_job.delete_job_changeset('public.evil_jobs', 6, 0);
SELECT activated, expired, failed FROM ecto_job.sweep('public.evil_jobs');
UPDATE public.evil_jobs SET state = 'FAILED';
SELECT count(*) FROM ecto_job.requeue('public.evil_jobs', 1);
SELECT bool_and(max_attempts IS NOT NULL) AS readable FROM ecto_job.queues;
SELECT ecto_job.enable();
SELECT ecto_job.disable();
SELECT ecto_job.drop_queue('public.evil_jobs');
SELECT ecto_job.create_queue('evil_jobs', 'public', ectojob => true);
INSERT INTO public.evil_jobs (params, schedule) VALUES ('{}', '2999-01-01') RETURNING state;
SELECT ecto_job.drop_queue('public.evil_jobs');
SET search_path = public;
SET client_min_messages = warning;
DROP SCHEMA host_evil CASCADE;
RESET client_min_messages;

-- A table that its owner has altered since the first call causes at worst an error
SELECT ecto_job.enqueue('host_jobs', '{}');
SELECT count(*) FROM ecto_job.start_available_jobs('host_jobs', 1, now => '2031-01-01');
ALTER TABLE host_jobs ADD COLUMN extra text DEFAULT 'x';
SELECT ecto_job.enqueue('host_jobs', '{}');
SELECT id, params FROM ecto_job.start_available_jobs('host_jobs', 1, now => '2031-01-01');
SELECT ecto_job.enqueue('host_jobs', '{}');
ALTER TABLE host_jobs ALTER error TYPE integer USING 1, ALTER meta TYPE integer USING 1, ALTER notify TYPE integer USING 1;
SELECT pg_temp.outcome('SELECT * FROM ecto_job.start_available_jobs(''host_jobs'', 1, now => ''2031-01-01'')');
SELECT pg_temp.outcome('SELECT ecto_job.delete_job_changeset(''host_jobs'', 1, 1)');
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''host_jobs'', ''{}'')');
ALTER TABLE host_jobs ALTER id TYPE integer;
SELECT pg_temp.outcome('SELECT * FROM ecto_job.start_available_jobs(''host_jobs'', 1)');
ALTER TABLE host_jobs DROP COLUMN meta;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''host_jobs'', ''{}'')');
SELECT pg_temp.outcome('SELECT * FROM ecto_job.start_available_jobs(''host_jobs'', 1)');
ALTER TABLE host_jobs RENAME id TO number;
SELECT pg_temp.outcome('SELECT * FROM ecto_job.start_available_jobs(''host_jobs'', 1)');
SELECT pg_temp.outcome('SELECT * FROM ecto_job.sweep(''host_jobs'')');
SELECT ecto_job.drop_queue('host_jobs');
DROP TABLE host_calls;

-- A rule that replaces the extension's statement makes the call an error
SELECT ecto_job.create_queue('host_ruled');
INSERT INTO host_ruled (params, state, attempt, lease) VALUES ('{}', 'IN_PROGRESS', 1, 44);
CREATE RULE host_rule AS ON UPDATE TO host_ruled DO INSTEAD DELETE FROM host_ruled WHERE id = old.id RETURNING host_ruled.*;
SELECT pg_temp.outcome('SELECT ecto_job.fail_job(''host_ruled'', 1, 44)');
SELECT pg_temp.outcome('SELECT ecto_job.update_job_in_progress(''host_ruled'', 1, 1)');
SELECT pg_temp.outcome('SELECT ecto_job.requeue(''host_ruled'', 1)');
SELECT pg_temp.outcome('SELECT ecto_job.sweep(''host_ruled'')');
SELECT id, state FROM host_ruled;
SELECT ecto_job.drop_queue('host_ruled');
