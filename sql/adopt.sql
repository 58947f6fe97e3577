-- adopt_queue adopts the tables that EctoJob's migrations make, of each version and with each option, and refuses others.
-- An adopted queue works, before and after the application's own migrations.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\i :top/test/regress/ectojob.sql
\set ECHO all
-- Version 3
SELECT pg_temp.ectojob_table('ad_3', 3) \g /dev/null
INSERT INTO ad_3 (params, inserted_at, updated_at) VALUES ('{"n": 1}', '2024-01-01', '2024-01-01');
SELECT pg_relation_filenode('ad_3') AS before \gset
SELECT ecto_job.adopt_queue('ad_3');
SELECT pg_relation_filenode('ad_3') = :before AS not_rewritten;
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull AS not_null, pg_get_expr(adbin, adrelid) AS default,
       col_description(attrelid, attnum) AS comment
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'ad_3'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_triggerdef(oid) AS trigger, obj_description(oid, 'pg_trigger') AS comment FROM pg_trigger
WHERE tgrelid = 'ad_3'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'ad_3'::regclass ORDER BY indexrelid::regclass::text COLLATE "C";
SELECT conname FROM pg_constraint WHERE conrelid = 'ad_3'::regclass AND contype <> 'n';
SELECT attstattarget FROM pg_attribute WHERE attrelid = 'ad_3'::regclass AND attname = 'state';
SELECT kind, params_type, inserted_at, updated_at, max_attempts FROM ecto_job.queue_settings WHERE queue = 'ad_3'::regclass;

-- A second adoption changes nothing, and takes no lock that would have to wait
BEGIN;
SELECT ecto_job.adopt_queue('ad_3');
SELECT mode FROM pg_locks WHERE relation = 'ad_3'::regclass AND mode = 'AccessExclusiveLock';
COMMIT;
-- An adoption creates dropped triggers again
DROP TRIGGER ecto_job_lease ON ad_3;
SELECT ecto_job.adopt_queue('ad_3');
SELECT ecto_job.adopt_queue('ad_3');

-- A job's life, by the extension's functions and by the library's statements
SELECT ecto_job.enqueue('ad_3', '{"n": 2}', priority => -1, max_attempts => 2, notify => 'n', meta => '{"m": 1}');
SELECT id, state, params, priority, max_attempts, notify, meta, inserted_at > now() - interval '1 hour' AS inserted_now,
       lease > 0 AS leased
FROM ecto_job.start_available_jobs('ad_3', 10, now => '2031-01-01 00:00:00.6+00');
SELECT id, state, attempt, expires, updated_at, lease IS NULL AS no_lease FROM ad_3 ORDER BY id;
SELECT lease FROM ad_3 WHERE id = 2 \gset
SELECT id, state, attempt, schedule, error FROM ecto_job.fail_job('ad_3', 2, :lease, 'why', now => '2031-01-01');
SELECT * FROM ecto_job.sweep('ad_3', '2031-06-01');
UPDATE ad_3 SET state = 'RESERVED', expires = '2041-01-01', updated_at = '2031-01-01' WHERE state = 'AVAILABLE' RETURNING id, lease;
UPDATE ad_3 SET attempt = attempt + 1, state = 'IN_PROGRESS' WHERE state = 'RESERVED' RETURNING id, attempt, lease;
SELECT state, attempt, lease FROM ecto_job.job_failed('ad_3', 2, 2, '2031-01-01');
SELECT state, attempt FROM ecto_job.requeue('ad_3', 2, '2031-01-01');
SELECT id FROM ecto_job.update_job_in_progress('ad_3', 1, 0);
SELECT ecto_job.initial_multi('ad_3', 1, 2);
-- create_queue leaves an adopted table as it is, or its error says that the table is adopted
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''ad_3'', timestamps_opts => ''{"type": "naive_datetime"}'', ectojob => true)');
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''ad_3'')');
-- max_attempts below 1 acts as 1
TRUNCATE ad_3;
INSERT INTO ad_3 (params, state, max_attempts) SELECT '{}', 'AVAILABLE', n FROM generate_series(-1, 1) AS n;
SELECT count(*) FROM ecto_job.start_available_jobs('ad_3', 9, now => '2031-01-01');
SELECT * FROM ecto_job.sweep('ad_3', '2041-01-01');
SELECT state, attempt, max_attempts FROM ad_3 ORDER BY max_attempts;
-- however the attempt ends: a job at attempt 0 of 1 has one left, a job at 1 of 1 has none
INSERT INTO ad_3 (id, params, state, attempt, max_attempts, schedule, expires)
SELECT 100 + row_number() OVER (), '{}', 'IN_PROGRESS', a, m, '2001-01-01', '2041-01-01' FROM generate_series(0, 1) AS a, generate_series(-1, 1) AS m;
BEGIN;
SELECT f.attempt, f.max_attempts, f.state, f.schedule FROM ad_3 AS j, ecto_job.job_failed('ad_3', j.id, j.attempt, '2031-01-01', 1000) AS f
WHERE j.id > 100 ORDER BY j.id;
ROLLBACK;
SELECT * FROM ecto_job.sweep('ad_3', '2041-01-01');
SELECT attempt, max_attempts, state FROM ad_3 WHERE id > 100 ORDER BY id;
SELECT queue, status <> '' AS has_status FROM ecto_job.queues WHERE queue = 'ad_3'::regclass;
-- A plain INSERT schedules
INSERT INTO ad_3 (params, schedule) VALUES ('{}', '2999-01-01'), ('{}', '2001-01-01') RETURNING state, schedule;
-- The migration's rollback
SELECT pg_temp.ectojob_down('ad_3') \g /dev/null
SELECT count(*) FROM ecto_job.queue_settings;

-- Version 2: no priority
SELECT pg_temp.ectojob_table('ad_2', 2) \g /dev/null
SELECT ecto_job.adopt_queue('ad_2');
SELECT ecto_job.enqueue('ad_2', '{"n": 1}'), ecto_job.enqueue('ad_2', '{"n": 2}', priority => 0) AS other;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''ad_2'', ''{}'', priority => 1)');
SELECT id, priority FROM ecto_job.start_available_jobs('ad_2');
-- then the application's upgrade, on a queue that this session has used
SELECT pg_temp.ectojob_up_3('ad_2') \g /dev/null
SELECT ecto_job.enqueue('ad_2', '{"n": 3}', priority => -5);
SELECT id, priority FROM ecto_job.start_available_jobs('ad_2', 2);
SELECT ecto_job.adopt_queue('ad_2');
-- and its rollback
SELECT pg_temp.ectojob_down_3('ad_2') \g /dev/null
SELECT ecto_job.enqueue('ad_2', '{"n": 4}');
SELECT id, priority FROM ecto_job.start_available_jobs('ad_2', 2);
SELECT pg_temp.ectojob_down('ad_2') \g /dev/null

-- Version 1: neither priority nor index
SELECT pg_temp.ectojob_table('ad_1', 1) \g /dev/null
SELECT ecto_job.adopt_queue('ad_1');
SELECT ecto_job.enqueue('ad_1', '{"n": 1}');
SELECT id, priority FROM ecto_job.start_available_jobs('ad_1');
SELECT pg_temp.ectojob_up_3('ad_1') \g /dev/null
SELECT ecto_job.adopt_queue('ad_1');
SELECT pg_temp.ectojob_down('ad_1') \g /dev/null

-- A schema prefix; params as bytea
CREATE SCHEMA ad_app;
SELECT pg_temp.ectojob_table('ad_b', 2, 'ad_app', params_type => 'bytea') \g /dev/null
SELECT ecto_job.adopt_queue('ad_app.ad_b');
SELECT params_type FROM ecto_job.queue_settings WHERE queue = 'ad_app.ad_b'::regclass;
SELECT ecto_job.enqueue('ad_app.ad_b', params_binary => '\x83680001ff');
SELECT params, params_binary FROM ecto_job.start_available_jobs('ad_app.ad_b');
SELECT pg_temp.ectojob_down('ad_b', 'ad_app') \g /dev/null

-- timestamps: found by their names, or as the two columns that are left, or by the names in timestamps_opts
CREATE FUNCTION pg_temp.taken(timestamps text, opts text DEFAULT 'NULL') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM pg_temp.ectojob_table('ad_t', 3, timestamps => timestamps);
    result := pg_temp.outcome(format('SELECT ecto_job.adopt_queue(''ad_t'', %s)', opts));
    IF result LIKE 'ok%' THEN
        SELECT concat_ws(', ', 'inserted ' || coalesce(inserted_at, 'none'), 'updated ' || coalesce(updated_at, 'none'))
        INTO result FROM ecto_job.queue_settings WHERE queue = 'ad_t'::regclass;
        PERFORM ecto_job.enqueue('ad_t', '{}');
        SELECT concat_ws(', ', result, 'inserted now ' || (inserted_at > now() - interval '1 minute'), updated_at)
        INTO result FROM ecto_job.start_available_jobs('ad_t', now => '2031-01-01 00:00:00.6+00');
    END IF;
    DROP TABLE ad_t;
    RETURN result;
END
$$;
SELECT pg_temp.taken('inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL');
SELECT pg_temp.taken('updated_at timestamp(0) NOT NULL, inserted_at timestamp(0) NOT NULL');
SELECT pg_temp.taken('inserted_at timestamptz NOT NULL, updated_at timestamptz DEFAULT now() NOT NULL');
SELECT pg_temp.taken('"Made" timestamp NOT NULL, "When ""last""" timestamp(0) NOT NULL');
SELECT pg_temp.taken('inserted_at timestamp NOT NULL, changed timestamp NOT NULL');
SELECT pg_temp.taken('made timestamp NOT NULL, updated_at timestamp NOT NULL');
SELECT pg_temp.taken('made timestamp NOT NULL');
SELECT pg_temp.taken('made timestamp NOT NULL', '''{"inserted_at": false, "updated_at": "made"}''');
SELECT pg_temp.taken('made timestamp DEFAULT now() NOT NULL', '''false''');
SELECT pg_temp.taken('deleted_at timestamp, noted timestamp DEFAULT now() NOT NULL');
SELECT pg_temp.taken('deleted_at timestamp, noted timestamp DEFAULT now() NOT NULL', '''{"updated_at": "noted"}''');
SELECT pg_temp.taken('made timestamp NOT NULL', '''false''');
SELECT pg_temp.taken('a timestamp NOT NULL, b timestamp NOT NULL, c timestamp NOT NULL');
SELECT pg_temp.taken('inserted_at date NOT NULL, updated_at timestamp NOT NULL');
SELECT pg_temp.taken('updated_at timestamp NOT NULL', '''{"inserted_at": "made"}''');
SELECT pg_temp.taken('updated_at timestamp NOT NULL', '''{"inserted_at": "schedule"}''');
SELECT pg_temp.taken('updated_at timestamp NOT NULL', '''{"created": "x"}''');

-- EctoJob's trigger and index are recognised by their definitions; a trigger of the application's stays
SELECT pg_temp.ectojob_table('ad_odd', 3) \g /dev/null
ALTER TRIGGER tr_notify_inserted_ad_odd ON ad_odd RENAME TO "An ""odd"" trigger";
ALTER INDEX ad_odd_priority_schedule_id_index RENAME TO odd_index;
CREATE FUNCTION ad_own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER a_own AFTER INSERT ON ad_odd FOR EACH ROW EXECUTE FUNCTION ad_own();
SELECT ecto_job.adopt_queue('ad_odd');
SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'ad_odd'::regclass ORDER BY 1;
DROP TABLE ad_odd;
-- a table without EctoJob's trigger and index
SELECT pg_temp.ectojob_table('ad_none', 3) \g /dev/null
DROP TRIGGER tr_notify_inserted_ad_none ON ad_none;
ALTER TABLE ad_none ALTER max_attempts SET DEFAULT 3;
SELECT ecto_job.adopt_queue('ad_none');
SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'ad_none'::regclass ORDER BY 1;
SELECT max_attempts FROM ecto_job.configure_queue('ad_none', poll_interval => '1 s');
DROP TRIGGER ecto_job_changed ON ad_none;
SELECT ecto_job.adopt_queue('ad_none');
SELECT poll_interval, max_attempts FROM ecto_job.queue_settings WHERE queue = 'ad_none'::regclass;
DROP TABLE ad_none;

-- Tables that cannot be adopted: the error names all faults
CREATE FUNCTION pg_temp.misfit(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM pg_temp.ectojob_table('ad_m', 3);
    EXECUTE 'ALTER TABLE ad_m ' || change;
    result := pg_temp.outcome('SELECT ecto_job.adopt_queue(''ad_m'')');
    DROP TABLE ad_m CASCADE;
    RETURN replace(result, E'\n    HINT: It must have the columns that EctoJob.Migrations.CreateJobTable makes; others must be nullable or have a default.', ' (HINT)');
END
$$;
SELECT change, pg_temp.misfit(change) FROM unnest(ARRAY[
    'DROP id', 'ALTER id TYPE integer', 'DROP CONSTRAINT ad_m_pkey', 'DROP CONSTRAINT ad_m_pkey, ADD PRIMARY KEY (id, state)',
    'DROP state', 'ALTER state TYPE varchar(10)', 'ALTER state DROP NOT NULL', 'ALTER state TYPE char(20)', 'ALTER state DROP DEFAULT',
    'DROP expires', 'ALTER expires TYPE date', 'ALTER expires SET NOT NULL', 'DROP schedule', 'ALTER schedule DROP DEFAULT',
    'DROP attempt', 'ALTER attempt TYPE smallint', 'DROP max_attempts', 'ALTER max_attempts DROP DEFAULT', 'ALTER max_attempts TYPE bigint',
    'DROP params', 'ALTER params TYPE json', 'ALTER params TYPE text', 'ALTER params DROP NOT NULL', 'DROP notify', 'ALTER notify TYPE text',
    'ALTER notify TYPE varchar(300)', 'ALTER priority TYPE bigint', 'ALTER priority DROP NOT NULL', 'ADD lease text', 'ADD key bigint',
    'ADD error varchar', 'ADD meta json', 'ADD lease bigint DEFAULT 0 NOT NULL', 'ADD tenant integer NOT NULL',
    'ADD tenant integer NOT NULL, DROP notify, ALTER id TYPE integer',
    'ADD tenant integer DEFAULT 7 NOT NULL, ADD lease bigint, ADD meta jsonb, ADD in_play text, ALTER notify TYPE varchar(20)']) AS change;
SELECT pg_temp.ectojob_table('ad_m', 3) \g /dev/null
SELECT pg_temp.outcome('SELECT ecto_job.adopt_queue(''ad_m'', ''7'')');
SELECT pg_temp.outcome('SELECT ecto_job.adopt_queue(NULL)');
SELECT pg_temp.outcome('SELECT ecto_job.adopt_queue(4294967295)');
SELECT ecto_job.create_queue('ad_native');
CREATE VIEW ad_view AS SELECT * FROM ad_m;
CREATE SEQUENCE ad_sequence;
CREATE TEMP TABLE ad_temp (LIKE ad_m INCLUDING ALL);
CREATE UNLOGGED TABLE ad_unlogged (LIKE ad_m INCLUDING ALL);
CREATE TABLE ad_partitioned (LIKE ad_m) PARTITION BY LIST (state);
CREATE TABLE ad_partition PARTITION OF ad_partitioned FOR VALUES IN ('AVAILABLE');
CREATE TABLE ad_child () INHERITS (ad_m);
CREATE TABLE "ad_name_that_is_much_too_long_for_all_its_channels_of_54b" (LIKE ad_m);
SELECT name, pg_temp.outcome(format('SELECT ecto_job.adopt_queue(%L)', name))
FROM unnest(ARRAY['ad_native', 'ad_view', 'ad_sequence', 'ad_m_pkey', 'ad_temp', 'ad_unlogged', 'ad_partitioned', 'ad_partition',
    'ad_child', 'ad_m', 'ad_name_that_is_much_too_long_for_all_its_channels_of_54b', 'pg_class', 'ecto_job.queue_settings',
    'information_schema.sql_features']) AS name;
SELECT count(*) FROM ecto_job.queue_settings WHERE kind = 'adopted';
-- Only the table's owner may adopt
DROP TABLE ad_child;
CREATE ROLE regress_ecto_stranger;
GRANT ALL ON ad_m TO regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
SELECT pg_temp.outcome('SELECT ecto_job.adopt_queue(''ad_m'')');
RESET ROLE;
CREATE SCHEMA ad_owned AUTHORIZATION regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
CREATE TABLE ad_owned.jobs (LIKE ad_m INCLUDING ALL);
ALTER TABLE ad_owned.jobs ALTER id DROP DEFAULT, ALTER id ADD GENERATED ALWAYS AS IDENTITY;
SELECT ecto_job.adopt_queue('ad_owned.jobs');
SELECT ecto_job.enqueue('ad_owned.jobs', '{}');
DROP TABLE ad_owned.jobs;
-- An adoption by a superuser runs none of the owner's code
SET ROLE regress_ecto_stranger;
CREATE FUNCTION ad_owned.spy() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'ran as %', current_user; RETURN 7; END $$;
CREATE TABLE ad_owned.jobs (LIKE ad_m INCLUDING ALL);
ALTER TABLE ad_owned.jobs ALTER max_attempts SET DEFAULT ad_owned.spy(), ALTER inserted_at SET DEFAULT to_timestamp(ad_owned.spy());
CREATE INDEX ON ad_owned.jobs ((id + ad_owned.spy()));
RESET ROLE;
SELECT ecto_job.adopt_queue('ad_owned.jobs'), ecto_job.release_queue('ad_owned.jobs');
DROP SCHEMA ad_owned CASCADE;
-- All or nothing
BEGIN;
SELECT ecto_job.adopt_queue('ad_m');
ROLLBACK;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'ad_m'::regclass AND NOT tgisinternal;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''ad_m'', ''{}'')');

-- Every function has the same results on each kind of table as on a table of create_queue
CREATE FUNCTION pg_temp.life(queue regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job ecto_job.job;
    result text := '';
    step text;
    is_binary boolean := (SELECT params_type = 'binary' FROM ecto_job.queue_settings AS q WHERE q.queue = life.queue);
BEGIN
    FOR n IN 1..6 LOOP
        PERFORM ecto_job.enqueue(queue, CASE WHEN NOT is_binary THEN '{}'::jsonb END, '2031-03-30 00:00:00Z'::timestamptz + n * interval '1 hour',
                                 n, 0, 'n', meta => '{"m": 1}', params_binary => CASE WHEN is_binary THEN '\x83'::bytea END);
    END LOOP;
    -- In the order of a job's life; each call gets the job that the previous call returned
    FOREACH step IN ARRAY ARRAY[
        'ecto_job.activate_scheduled_jobs(''%1$s'', ''2031-03-30 05:30:00Z'')', 'ecto_job.available_jobs(''%1$s'', 2)',
        'ecto_job.start_available_jobs(''%1$s'', 1, ''1 hour'', ''2031-03-30 00:30:00Z'')',
        'ecto_job.fail_job(''%1$s'', %2$s, %4$s, ''why'', now => ''2031-03-30 00:45:00Z'')', 'ecto_job.requeue(''%1$s'', %2$s, ''2031-03-30 01:00:00Z'')',
        'ecto_job.reserve_available_jobs(''%1$s'', 1, ''2031-03-30 00:30:00Z'', 3600000)',
        'ecto_job.update_job_in_progress(''%1$s'', %2$s, %3$s, ''2031-03-30 01:00:00Z'', 1800000, %4$s)',
        'ecto_job.job_failed(''%1$s'', %2$s, %3$s, ''2031-03-30 01:10:00Z'', 600000)',
        'ecto_job.start_available_jobs(''%1$s'', 1, ''1 hour'', ''2031-03-30 00:30:00Z'')', 'ecto_job.complete_job(''%1$s'', %2$s, %4$s)',
        'ecto_job.start_available_jobs(''%1$s'', 1, ''1 hour'', ''2031-03-30 00:30:00Z'')', 'ecto_job.initial_multi(''%1$s'', %2$s, %3$s)',
        'ecto_job.start_available_jobs(''%1$s'', 1, ''1 hour'', ''2031-03-30 00:30:00Z'')', 'ecto_job.complete_jobs(''%1$s'', ARRAY[%2$s], ARRAY[%4$s])',
        'ecto_job.sweep(''%1$s'', ''2031-03-30 06:30:00Z'')', 'ecto_job.start_available_jobs(''%1$s'', 2, ''1 hour'', ''2031-10-26 00:30:00Z'')',
        'ecto_job.activate_expired_jobs(''%1$s'', ''2031-10-26 01:29:59Z'')', 'ecto_job.activate_expired_jobs(''%1$s'', ''2031-10-26 01:30:00Z'')',
        'ecto_job.fail_expired_jobs_at_max_attempts(''%1$s'', ''2031-10-26 01:30:00Z'')', 'ecto_job.available_jobs(''%1$s'', 1)',
        'ecto_job.delete_job_changeset(''%1$s'', %2$s, %3$s)'] LOOP
        step := format(step, queue, job.id, job.attempt, job.lease);
        IF step ~ '_jobs\(.*, [12]' OR step ~ 'fail_job|job_failed|requeue|progress' THEN
            EXECUTE 'SELECT * FROM ' || step || ' ORDER BY id' INTO job;
            result := result || E'\n' || concat_ws(' ', job.id, job.state, job.attempt, job.max_attempts, job.priority, job.schedule, job.expires, job.notify, job.meta,
                                job.error, job.lease IS NOT NULL, coalesce(job.params::text, '{}'));
        ELSE
            EXECUTE 'SELECT j::text FROM ' || step || ' AS j' INTO step;
            result := result || E'\n' || coalesce(nullif(step, ''), 'void');
        END IF;
    END LOOP;
    EXECUTE format('SELECT concat_ws(E''\n'', $1, string_agg(concat_ws('' '', id, state, attempt), '', '' ORDER BY id)) FROM %s', queue) INTO result USING result;
    RETURN result;
END
$$;
SET timezone = 'Europe/Berlin';
SET client_min_messages = error;
SELECT ecto_job.create_queue('ad_l_native') \g /dev/null
CREATE TABLE pg_temp.lives AS SELECT 'native' AS kind, pg_temp.life('ad_l_native') AS life;
SELECT life FROM pg_temp.lives;
SELECT pg_temp.ectojob_table('ad_l_1', 1, timestamps => 'a int', params_type => 'bytea') \g /dev/null
SELECT pg_temp.ectojob_table('ad_l_2', 2) \g /dev/null
SELECT pg_temp.ectojob_table('ad_l_3', 3, timestamps => 'inserted_at timestamptz NOT NULL, updated_at timestamptz NOT NULL') \g /dev/null
SELECT pg_temp.ectojob_table('ad_l_z', 3) \g /dev/null
ALTER TABLE ad_l_z ALTER schedule TYPE timestamptz, ALTER expires TYPE timestamptz, ALTER schedule SET DEFAULT now();
SELECT ecto_job.adopt_queue(name) FROM unnest('{ad_l_1,ad_l_2,ad_l_3,ad_l_z}'::regclass[]) AS name;
SELECT ecto_job.create_queue('ad_l_m', ectojob => true), ecto_job.create_queue('ad_l_r');
SELECT ecto_job.release_queue('ad_l_r'), ecto_job.adopt_queue('ad_l_r');
SELECT name, pg_temp.life(name) IS NOT DISTINCT FROM life AS as_native
FROM unnest('{ad_l_1,ad_l_2,ad_l_3,ad_l_z,ad_l_m,ad_l_r}'::regclass[]) AS name, pg_temp.lives;
DROP TABLE ad_l_native, ad_l_1, ad_l_2, ad_l_3, ad_l_z, ad_l_m, ad_l_r;
SET client_min_messages = notice;
SET timezone = 'UTC';

-- Columns hold UTC, whatever the session's TimeZone, before and after the beginning and the end of summer time
SELECT ecto_job.adopt_queue('ad_m');
SET timezone = 'Europe/Berlin';
SELECT ecto_job.enqueue('ad_m', '{}', schedule => '2031-03-30 00:59:59.9Z') > 0 AS enqueued;
SELECT state, schedule FROM ad_m;
INSERT INTO ad_m (params, state, schedule) VALUES
    ('{}', 'SCHEDULED', '2031-03-30 00:59:59'), ('{}', 'SCHEDULED', '2031-03-30 01:00:00'), ('{}', 'SCHEDULED', '2031-03-30 02:30:00'),
    ('{}', 'SCHEDULED', '2031-10-26 00:30:00'), ('{}', 'SCHEDULED', '2031-10-26 01:30:00');
SELECT ecto_job.activate_scheduled_jobs('ad_m', time::timestamptz) AS activated, time FROM unnest(ARRAY[
    '2031-03-30 00:59:58.9Z', '2031-03-30 00:59:59.5Z', '2031-03-30 01:00:00Z', '2031-03-30 02:29:59Z', '2031-03-30 02:30:00Z',
    '2031-10-26 00:29:59Z', '2031-10-26 00:30:00Z', '2031-10-26 01:29:59Z', '2031-10-26 01:30:00Z']) AS time;
SELECT state, expires AT TIME ZONE 'UTC' AS expires, schedule AT TIME ZONE 'UTC' AS schedule, updated_at AT TIME ZONE 'UTC' AS updated_at
FROM ecto_job.reserve_available_jobs('ad_m', 2, '2031-10-26 00:30:00Z', 3600000);
SELECT expires, updated_at FROM ad_m WHERE state = 'RESERVED';
SELECT ecto_job.activate_expired_jobs('ad_m', '2031-10-26 01:29:59Z'), ecto_job.activate_expired_jobs('ad_m', '2031-10-26 01:30:00Z') AS later;
SELECT id, expires AT TIME ZONE 'UTC' AS expires FROM ecto_job.start_available_jobs('ad_m', 1, '1 hour', '2031-10-26 00:30:00Z') \gset
SELECT :'expires';
SELECT schedule AT TIME ZONE 'UTC' AS retry FROM ecto_job.job_failed('ad_m', :id, 1, '2031-10-26 00:45:00Z', 1800000);
SET timezone = 'UTC';
DROP VIEW ad_view;
DROP TABLE ad_temp, ad_m, ad_unlogged, ad_partitioned, "ad_name_that_is_much_too_long_for_all_its_channels_of_54b";
DROP SEQUENCE ad_sequence;
SELECT ecto_job.drop_queue('ad_native');
DROP SCHEMA ad_app CASCADE;
DROP FUNCTION ad_own(), fn_notify_inserted();
DROP ROLE regress_ecto_stranger;
