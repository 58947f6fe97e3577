-- Unique jobs: at most one job of a key waits, and one that comes back gives way to it.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('unique_jobs');
CREATE VIEW pg_temp.shown AS SELECT id, state, attempt, params, key, waiting_key, error FROM unique_jobs ORDER BY id;

-- keep: the id of the job that waits, in each of the three states, and of a new job while the job runs or has failed
SELECT ecto_job.enqueue('unique_jobs', '{"n": 1}', key => 'a') AS id;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 2}', key => 'a') AS id, ecto_job.enqueue('unique_jobs', '{"n": 2}', key => 'b') AS other,
    ecto_job.enqueue('unique_jobs', '{}', key => '') IS NOT NULL AS empty_key, ecto_job.enqueue('unique_jobs', '{}') <> ecto_job.enqueue('unique_jobs', '{}') AS none;
DELETE FROM unique_jobs WHERE key IS DISTINCT FROM 'a';
TABLE pg_temp.shown;
UPDATE unique_jobs SET state = 'SCHEDULED';
SELECT ecto_job.enqueue('unique_jobs', '{"n": 3}', key => 'a') = min(id) AS kept FROM unique_jobs;
UPDATE unique_jobs SET state = 'RETRY', attempt = 2;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 4}', key => 'a', on_conflict => NULL) = min(id) AS kept FROM unique_jobs;
CREATE FUNCTION pg_temp.beside(was text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM unique_jobs;
    INSERT INTO unique_jobs (params, key, state) VALUES ('{}', 'a', was);
    PERFORM ecto_job.enqueue('unique_jobs', '{}', key => 'a');
    RETURN (SELECT string_agg(state, ', ' ORDER BY id) FROM unique_jobs);
END $$;
SELECT pg_temp.beside(unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]));

-- replace: what is given replaces, the rest stays; a RETRY begins anew, at its time or at the one that is given
TRUNCATE unique_jobs RESTART IDENTITY;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 1}', schedule => '2001-01-01', max_attempts => 7, priority => 3, notify => 'n', key => 'a', meta => '{"m": 1}') AS id;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 2}', key => 'a', on_conflict => 'replace') AS id;
SELECT state, schedule, max_attempts, priority, notify, meta, params FROM unique_jobs;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 3}', schedule => '2101-01-01', max_attempts => 2, priority => 1, notify => 'o', key => 'a', on_conflict => 'replace', meta => '{}') AS id;
SELECT state, schedule, max_attempts, priority, notify, meta, params FROM unique_jobs;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 4}', schedule => '2001-01-01', key => 'a', on_conflict => 'replace') AS id;
SELECT state, schedule FROM unique_jobs;
UPDATE unique_jobs SET state = 'RETRY', attempt = 1, schedule = '2101-01-01';
SELECT ecto_job.enqueue('unique_jobs', '{"n": 5}', key => 'a', on_conflict => 'replace') AS id;
SELECT state, attempt, schedule FROM unique_jobs;
UPDATE unique_jobs SET state = 'RETRY', attempt = 1;
SELECT ecto_job.enqueue('unique_jobs', '{"n": 6}', schedule => '2001-01-01', key => 'a', on_conflict => 'replace', now => '2031-01-01') AS id;
SELECT state, attempt, schedule, updated_at FROM unique_jobs;
-- A job that runs is not replaced
SELECT count(*) FROM ecto_job.start_available_jobs('unique_jobs');
SELECT ecto_job.enqueue('unique_jobs', '{"n": 7}', key => 'a', on_conflict => 'replace') > 1 AS new;
SELECT id = 1 AS old, state, params FROM unique_jobs ORDER BY id;

-- error
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a', on_conflict => 'error')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'b', on_conflict => 'error')$$);

-- Plain SQL: a constraint without ON CONFLICT; with it the job that waits can be changed
SELECT pg_temp.outcome($$INSERT INTO unique_jobs (params, key) VALUES ('{}', 'b')$$);
INSERT INTO unique_jobs (params, key) VALUES ('{"ids": [1]}', 'm');
INSERT INTO unique_jobs (params, key) VALUES ('{"ids": [2]}', 'm') ON CONFLICT (waiting_key) WHERE waiting_key IS NOT NULL
DO UPDATE SET params = jsonb_build_object('ids', unique_jobs.params -> 'ids' || (excluded.params -> 'ids'));
SELECT params FROM unique_jobs WHERE key = 'm';
-- COPY gives keys too: enqueue() keeps a job that COPY has made, and a second COPY of a key that waits is refused as a whole
TRUNCATE unique_jobs RESTART IDENTITY;
COPY unique_jobs (params, key) FROM stdin;
{"n": 1}	c
{"n": 2}	\N
\.
SELECT ecto_job.enqueue('unique_jobs', '{"n": 3}', key => 'c') AS id;
COPY unique_jobs (params, key) FROM stdin;
{"n": 4}	d
{"n": 5}	c
\.
TABLE pg_temp.shown;

-- A job that comes back while another one waits under its key is superseded; else it waits
CREATE FUNCTION pg_temp.comes_back(waiting boolean, was text, how text, attempt integer DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    row_back text;
BEGIN
    TRUNCATE unique_jobs RESTART IDENTITY;
    INSERT INTO unique_jobs (params, key, state, lease, attempt, max_attempts, expires) VALUES ('{}', 'a', was, 44, attempt, 2, '2030-01-01');
    IF waiting THEN
        INSERT INTO unique_jobs (params, key) VALUES ('{}', 'a');
    END IF;
    EXECUTE format('SELECT string_agg(r::text, '', '') FROM (%s) AS r', how) INTO row_back;
    RETURN concat_ws(' -> ', row_back, (SELECT string_agg(id || ' ' || state, ', ' ORDER BY id) FROM unique_jobs));
END $$;
SELECT how, w, pg_temp.comes_back(w, 'IN_PROGRESS', how)
FROM unnest('{f,t}'::boolean[]) AS w, unnest(ARRAY[
    $$SELECT id, state FROM ecto_job.fail_job('unique_jobs', 1, 44)$$,
    $$SELECT id, state FROM ecto_job.fail_job('unique_jobs', 1, 44, retry => false)$$,
    $$SELECT id, state FROM ecto_job.fail_job('unique_jobs', 1, 46)$$,
    $$SELECT id, state FROM ecto_job.job_failed('unique_jobs', 1, 1)$$,
    $$SELECT id, state FROM ecto_job.job_failed('unique_jobs', 1, 2)$$,
    $$SELECT id, state FROM ecto_job.snooze_job('unique_jobs', 1, 44)$$,
    $$SELECT id, state FROM ecto_job.snooze_job('unique_jobs', 1, 44, '1 min')$$,
    $$SELECT * FROM ecto_job.activate_expired_jobs('unique_jobs', '2031-01-01')$$,
    $$SELECT * FROM ecto_job.activate_expired_jobs('unique_jobs', '2029-01-01')$$,
    $$SELECT * FROM ecto_job.fail_expired_jobs_at_max_attempts('unique_jobs', '2031-01-01')$$,
    $$SELECT * FROM ecto_job.sweep('unique_jobs', '2031-01-01')$$]) AS how;
SELECT how, w, pg_temp.comes_back(w, 'IN_PROGRESS', how, 2)
FROM unnest('{f,t}'::boolean[]) AS w, unnest(ARRAY[
    $$SELECT id, state FROM ecto_job.fail_job('unique_jobs', 1, 44)$$,
    $$SELECT * FROM ecto_job.activate_expired_jobs('unique_jobs', '2031-01-01')$$,
    $$SELECT * FROM ecto_job.sweep('unique_jobs', '2031-01-01')$$]) AS how;
SELECT how, w, pg_temp.comes_back(w, 'RESERVED', how)
FROM unnest('{f,t}'::boolean[]) AS w, unnest(ARRAY[
    $$SELECT id, state FROM ecto_job.fail_job('unique_jobs', 1, 44)$$,
    $$SELECT id, state FROM ecto_job.snooze_job('unique_jobs', 1, 44)$$,
    $$SELECT * FROM ecto_job.sweep('unique_jobs', '2031-01-01')$$]) AS how;
-- A job that is requeued does not give way, since a person has asked
SELECT w, pg_temp.comes_back(w, 'FAILED', $$SELECT id, state FROM ecto_job.requeue('unique_jobs', 1)$$) FROM unnest('{f}'::boolean[]) AS w;
UPDATE unique_jobs SET state = 'FAILED';
INSERT INTO unique_jobs (params, key) VALUES ('{}', 'a');
SELECT pg_temp.outcome($$SELECT ecto_job.requeue('unique_jobs', 1)$$);
TABLE pg_temp.shown;

-- Many at once, with and without keys: of the jobs of one key the latest comes back
TRUNCATE unique_jobs RESTART IDENTITY;
INSERT INTO unique_jobs (params, key, state, attempt, expires, lease)
SELECT '{}', CASE WHEN n % 3 > 0 THEN 'k' || n / 3 % 20 END, 'IN_PROGRESS', 1, '2001-01-01', 44 FROM generate_series(0, 119) AS n;
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
SELECT state, count(*), count(key) AS keyed, count(DISTINCT key) AS keys, min(id) FILTER (WHERE key IS NOT NULL) > 60 AS later, count(lease) AS leases, max(expires) AS expires, min(error) AS error FROM unique_jobs GROUP BY 1;

-- A job whose change fails becomes FAILED, and the others come back
TRUNCATE unique_jobs RESTART IDENTITY;
CREATE FUNCTION unique_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'AVAILABLE' AND NEW.key = 'k2' THEN RAISE EXCEPTION 'not this one'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER unique_raise BEFORE UPDATE ON unique_jobs FOR EACH ROW EXECUTE FUNCTION unique_raise();
INSERT INTO unique_jobs (params, key, state, attempt, expires, lease) SELECT '{}', 'k' || n, 'IN_PROGRESS', 1, '2001-01-01', 44 FROM generate_series(1, 3) AS n;
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
TABLE pg_temp.shown;
DROP TRIGGER unique_raise ON unique_jobs;
DROP FUNCTION unique_raise;

-- A job that should give way and cannot be deleted does not stop the others either: it becomes FAILED, or is skipped
CREATE FUNCTION pg_temp.two_and_others() RETURNS void LANGUAGE sql AS $$
    TRUNCATE unique_jobs RESTART IDENTITY CASCADE;
    INSERT INTO unique_jobs (params, key, state, attempt, expires, lease) SELECT '{}', k, 'IN_PROGRESS', 1, '2001-01-01', 44 FROM unnest('{k,NULL,l}'::text[]) AS k;
    INSERT INTO unique_jobs (params, key) VALUES ('{}', 'k');
    INSERT INTO unique_jobs (params, state, schedule) VALUES ('{}', 'SCHEDULED', '2001-01-01');
$$;
CREATE TABLE unique_refs (job bigint REFERENCES unique_jobs (id));
SELECT pg_temp.two_and_others();
INSERT INTO unique_refs VALUES (1);
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
TABLE pg_temp.shown;
DROP TABLE unique_refs;
CREATE FUNCTION unique_nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER unique_nothing BEFORE DELETE ON unique_jobs FOR EACH ROW EXECUTE FUNCTION unique_nothing();
SELECT pg_temp.two_and_others();
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
TABLE pg_temp.shown;
SELECT pg_temp.outcome($$SELECT ecto_job.snooze_job('unique_jobs', 1, 44)$$);
DROP TRIGGER unique_nothing ON unique_jobs;
DROP FUNCTION unique_nothing;
-- A trigger refuses every change: no job becomes FAILED
CREATE FUNCTION unique_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state THEN RAISE EXCEPTION 'never'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER unique_raise BEFORE UPDATE ON unique_jobs FOR EACH ROW EXECUTE FUNCTION unique_raise();
TRUNCATE unique_jobs RESTART IDENTITY;
INSERT INTO unique_jobs (params, key, state, attempt, expires, lease) SELECT '{}', 'k' || n, 'IN_PROGRESS', 1, '2001-01-01', 44 FROM generate_series(1, 2) AS n;
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
TABLE pg_temp.shown;
DROP TRIGGER unique_raise ON unique_jobs;
DROP FUNCTION unique_raise;
-- A trigger of one queue enqueues in another one, whose index has the same name
CREATE SCHEMA unique_other;
SELECT ecto_job.create_queue('unique_jobs', 'unique_other');
CREATE FUNCTION unique_enqueue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unique_other.unique_jobs (params, key) VALUES ('{}', 'k');
    RETURN NEW;
END $$;
CREATE TRIGGER unique_enqueue AFTER UPDATE ON unique_jobs FOR EACH ROW EXECUTE FUNCTION unique_enqueue();
INSERT INTO unique_other.unique_jobs (params, key) VALUES ('{}', 'k');
TRUNCATE unique_jobs RESTART IDENTITY;
INSERT INTO unique_jobs (params, key, state, attempt, lease) VALUES ('{}', 'k', 'IN_PROGRESS', 1, 44);
SELECT pg_temp.outcome($$SELECT ecto_job.fail_job('unique_jobs', 1, 44)$$);
SELECT count(*) FROM unique_jobs;
DROP TRIGGER unique_enqueue ON unique_jobs;
DROP FUNCTION unique_enqueue;
SELECT ecto_job.drop_queue('unique_other.unique_jobs');
DROP SCHEMA unique_other;

-- Arguments that are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''unique_jobs'', ''{}'', %s)', arguments))
FROM unnest(ARRAY[$$key => repeat('x', 1025)$$, $$key => 'k', on_conflict => 'merge'$$, $$on_conflict => ''$$, $$on_conflict => 'error'$$, $$key => 'a' || NULL, on_conflict => 'replace'$$]) AS arguments;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => repeat('x', 1024))$$);
-- A trigger keeps the job away: no endless search
CREATE FUNCTION unique_nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER unique_nothing BEFORE INSERT ON unique_jobs FOR EACH ROW EXECUTE FUNCTION unique_nothing();
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''unique_jobs'', ''{}'', key => ''new'', on_conflict => %L)', choice))
FROM unnest(ARRAY['keep', 'replace', 'error']) AS choice;
DROP TRIGGER unique_nothing ON unique_jobs;
DROP FUNCTION unique_nothing;
-- A replica's triggers do not fire
SET session_replication_role = replica;
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''unique_jobs'', ''{}'', schedule => %L, key => ''r'')', t)) FROM unnest('{2001-01-01,2101-01-01}'::text[]) AS t;
RESET session_replication_role;

-- Rights: a producer of unique jobs needs UPDATE of a column to lock the job that waits, and of what replace writes
CREATE ROLE regress_ecto_unique;
GRANT INSERT (params, schedule, max_attempts, priority, notify, key, meta), SELECT (id, state, schedule, priority, waiting_key) ON unique_jobs TO regress_ecto_unique;
TRUNCATE unique_jobs RESTART IDENTITY;
SET ROLE regress_ecto_unique;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a', on_conflict => 'error')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a')$$);
RESET ROLE;
GRANT UPDATE (waiting_key) ON unique_jobs TO regress_ecto_unique;
SET ROLE regress_ecto_unique;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a', on_conflict => 'replace')$$);
RESET ROLE;
GRANT SELECT, UPDATE (params, schedule, max_attempts, priority, notify, meta, state, attempt, updated_at) ON unique_jobs TO regress_ecto_unique;
SET ROLE regress_ecto_unique;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a', on_conflict => 'replace')$$);
RESET ROLE;
REVOKE ALL ON unique_jobs FROM regress_ecto_unique;
DROP ROLE regress_ecto_unique;

-- A policy hides the job that waits
CREATE ROLE regress_ecto_unique;
GRANT ALL ON unique_jobs TO regress_ecto_unique;
ALTER TABLE unique_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON unique_jobs USING (meta ->> 'owner' = current_user) WITH CHECK (true);
SET ROLE regress_ecto_unique;
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'a', meta => jsonb_build_object('owner', current_user))$$);
RESET ROLE;
DROP POLICY mine ON unique_jobs;
ALTER TABLE unique_jobs DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON unique_jobs FROM regress_ecto_unique;
DROP ROLE regress_ecto_unique;

-- A queue that an older version created: refused, with a HINT, until its table is upgraded
ALTER TABLE unique_jobs ADD CONSTRAINT unique_jobs_key_check CHECK (key IS NULL) NOT VALID;
CREATE OR REPLACE TRIGGER ecto_job_changed AFTER UPDATE ON unique_jobs FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION ecto_job.job_changed();
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'new')$$);
SELECT ecto_job.configure_queue('unique_jobs', retry_timeout => '7 s') IS NOT NULL AS configured;
SELECT ecto_job.upgrade_queue('unique_jobs');
SELECT pg_temp.outcome($$SELECT ecto_job.enqueue('unique_jobs', '{}', key => 'new')$$);
SELECT conname FROM pg_constraint WHERE conrelid = 'unique_jobs'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%key%';
-- The upgraded table is as a new one, and again
SELECT ecto_job.create_queue('unique_new');
SELECT ecto_job.configure_queue('unique_new', retry_timeout => '7 s') IS NOT NULL AS configured;
CREATE FUNCTION pg_temp.made(queue regclass) RETURNS TABLE (what text) LANGUAGE sql AS $$
    SELECT replace(pg_get_triggerdef(oid), queue::text, 'queue') FROM pg_trigger WHERE tgrelid = queue
    UNION ALL SELECT replace(pg_get_constraintdef(oid), queue::text, 'queue') FROM pg_constraint WHERE conrelid = queue AND contype = 'c'
    UNION ALL SELECT col_description(queue, attnum) FROM pg_attribute WHERE attrelid = queue AND attnum > 0
    UNION ALL SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgrelid = queue
$$;
SELECT * FROM pg_temp.made('unique_jobs') EXCEPT ALL SELECT * FROM pg_temp.made('unique_new');
SELECT * FROM pg_temp.made('unique_new') EXCEPT ALL SELECT * FROM pg_temp.made('unique_jobs');
SELECT ecto_job.upgrade_queue('unique_jobs');
SELECT * FROM pg_temp.made('unique_jobs') EXCEPT ALL SELECT * FROM pg_temp.made('unique_new');
SELECT ecto_job.drop_queue('unique_new');
SELECT ecto_job.create_queue('unique_new', ectojob => true);
CREATE TEMP TABLE made AS SELECT * FROM pg_temp.made('unique_new');
SELECT ecto_job.upgrade_queue('unique_new');
SELECT * FROM made EXCEPT ALL SELECT * FROM pg_temp.made('unique_new');
SELECT * FROM pg_temp.made('unique_new') EXCEPT ALL SELECT * FROM made;
SELECT ecto_job.drop_queue('unique_new');
SELECT pg_temp.outcome(format('SELECT ecto_job.upgrade_queue(%s)', a)) FROM unnest(ARRAY['NULL', '''pg_class''', '4000000000']) AS a;
CREATE ROLE regress_ecto_unique;
SET ROLE regress_ecto_unique;
SELECT pg_temp.outcome($$SELECT ecto_job.upgrade_queue('unique_jobs')$$);
RESET ROLE;
DROP ROLE regress_ecto_unique;
DROP VIEW pg_temp.shown;
SELECT ecto_job.drop_queue('unique_jobs');

-- A table of EctoJob's has the index only if its owner creates it, since every update of an indexed state costs more
CREATE TABLE unique_jobs (id bigserial PRIMARY KEY, state varchar NOT NULL DEFAULT 'AVAILABLE', expires timestamptz,
    schedule timestamptz NOT NULL DEFAULT now(), attempt integer NOT NULL DEFAULT 0, max_attempts integer NOT NULL DEFAULT 5,
    params jsonb NOT NULL, notify varchar(255), priority integer NOT NULL DEFAULT 0, inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX ON unique_jobs (priority, schedule, id);
SELECT ecto_job.adopt_queue('unique_jobs');
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''unique_jobs'', ''{}'', key => ''a'', on_conflict => %L)', choice))
FROM unnest(ARRAY['keep', 'replace', 'error']) AS choice;
CREATE UNIQUE INDEX unique_jobs_key ON unique_jobs (key) WHERE key IS NOT NULL AND state IN ('SCHEDULED', 'AVAILABLE', 'RETRY');
SELECT ecto_job.enqueue('unique_jobs', '{"n": 1}', key => 'a') = ecto_job.enqueue('unique_jobs', '{"n": 2}', key => 'a') AS kept;
SELECT count(*) FROM ecto_job.start_available_jobs('unique_jobs');
SELECT ecto_job.enqueue('unique_jobs', '{"n": 3}', key => 'a') = ecto_job.enqueue('unique_jobs', '{"n": 4}', key => 'a', on_conflict => 'replace') AS kept;
SELECT state, params FROM unique_jobs ORDER BY id;
SELECT * FROM ecto_job.sweep('unique_jobs', '2101-01-01');
SELECT state, params FROM unique_jobs ORDER BY id;
SELECT f.state FROM ecto_job.start_available_jobs('unique_jobs') AS j, ecto_job.fail_job('unique_jobs', j.id, j.lease) AS f;
SELECT ecto_job.upgrade_queue('unique_jobs');
-- An index that covers more than the jobs that wait: a job that comes back alone is not taken for its own rival
DROP INDEX unique_jobs_key;
DELETE FROM unique_jobs;
CREATE UNIQUE INDEX unique_jobs_key ON unique_jobs (key);
INSERT INTO unique_jobs (params, key, state, lease, attempt, expires) VALUES ('{}', 'w', 'IN_PROGRESS', 44, 1, '2001-01-01');
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
SELECT key, state, error FROM unique_jobs ORDER BY id;
-- The owner has given the column another type
DROP INDEX unique_jobs_key;
DELETE FROM unique_jobs;
DROP TRIGGER ecto_job_changed ON unique_jobs;
ALTER TABLE unique_jobs ALTER key TYPE integer USING 7;
INSERT INTO unique_jobs (params, key) VALUES ('{}', 7);
CREATE UNIQUE INDEX unique_jobs_key ON unique_jobs (key) WHERE key IS NOT NULL AND state IN ('SCHEDULED', 'AVAILABLE', 'RETRY');
INSERT INTO unique_jobs (params, key, state, lease, attempt, expires) SELECT '{}', n, 'IN_PROGRESS', 44, 1, '2001-01-01' FROM generate_series(7, 8) AS n;
SELECT * FROM ecto_job.sweep('unique_jobs', '2002-01-01');
SELECT key, state, error FROM unique_jobs ORDER BY id;
SELECT ecto_job.drop_queue('unique_jobs');
