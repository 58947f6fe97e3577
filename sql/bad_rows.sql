-- One row of a queue is at fault: how a claim, a sweep and a completion treat it, and that other rows are not affected.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
-- The DETAIL of a constraint's error has the row's times, which differ from run to run
\set VERBOSITY terse

-- Arithmetic saturates at the limits of the types, and times at the end of the calendar, the year 294276
SELECT ecto_job.create_queue('bad_sums');
INSERT INTO bad_sums (params, attempt, max_attempts) VALUES
    ('{"n": 1}', 2147483647, 2147483647), ('{"n": 2}', 2147483646, 2147483647), ('{"n": 3}', 0, 5);
SELECT id, attempt, expires, expires - updated_at AS lease FROM ecto_job.start_available_jobs('bad_sums', 3, '100 days', '2001-01-01');
SELECT j.id, f.state, f.attempt, CASE WHEN f.state = 'RETRY' THEN f.schedule END AS schedule FROM bad_sums AS j,
    LATERAL (SELECT * FROM ecto_job.fail_job('bad_sums', j.id, j.lease, 'x', now => '2001-01-01')) AS f ORDER BY j.id;
UPDATE bad_sums SET state = 'IN_PROGRESS', attempt = 100, max_attempts = 2147483647;
SELECT state, attempt, schedule FROM ecto_job.job_failed('bad_sums', 3, 100, '2001-01-01', 20000000 * 86400000::bigint);
UPDATE bad_sums SET state = 'RESERVED', attempt = 2147483647, expires = '2001-01-02', lease = 5;
SELECT id, attempt, expires FROM ecto_job.update_job_in_progress('bad_sums', 1, 2147483647, '2001-01-01', 86400000);
-- An argument that is out of range is still an error
SELECT pg_temp.outcome($$SELECT * FROM ecto_job.start_available_jobs('bad_sums', 1, '200000000 days')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.increase_time('2001-01-01', 2147483647, 8640000000)$$);

-- A CHECK that is NOT VALID, and a row that violates it, in the state FAILED too
SELECT ecto_job.create_queue('bad_check');
INSERT INTO bad_check (params) VALUES ('{}'), ('{"v": 1}'), ('{"v": 1}'), ('{"v": 1}'), ('{"v": 1}'), ('{"v": 1}');
ALTER TABLE bad_check ADD CONSTRAINT has_v CHECK (params ? 'v') NOT VALID;
SELECT id, state, attempt FROM ecto_job.start_available_jobs('bad_check', 3);
SELECT id, state, attempt FROM ecto_job.start_available_jobs('bad_check', 1);
SELECT id, state, attempt FROM ecto_job.reserve_available_jobs('bad_check', 9);
-- All jobs of one call have one lease
SELECT state, count(*), count(DISTINCT lease) AS leases FROM bad_check GROUP BY state ORDER BY state;
-- The jobs can be claimed when the constraint is dropped
ALTER TABLE bad_check DROP CONSTRAINT has_v;
SELECT id, state, attempt FROM ecto_job.start_available_jobs('bad_check', 3);

-- A row that can become FAILED has the reason in its error
SELECT ecto_job.create_queue('bad_start');
INSERT INTO bad_start (params) SELECT CASE WHEN n IN (1, 4) THEN '{"bad": 1}' ELSE '{}' END::jsonb FROM generate_series(1, 6) AS n;
ALTER TABLE bad_start ADD CHECK (state <> 'IN_PROGRESS' OR NOT params ? 'bad') NOT VALID;
SELECT id, state FROM ecto_job.start_available_jobs('bad_start', 1);
SELECT id, state FROM ecto_job.start_available_jobs('bad_start', 9);
SELECT id, state, attempt, expires, lease, error FROM bad_start WHERE state = 'FAILED' ORDER BY id;
-- A ROLLBACK undoes the change to FAILED
UPDATE bad_start SET state = 'AVAILABLE', lease = NULL, expires = NULL, error = NULL;
BEGIN;
SAVEPOINT before;
SELECT count(*) FROM ecto_job.start_available_jobs('bad_start', 9);
ROLLBACK TO before;
SELECT count(*) FROM ecto_job.start_available_jobs('bad_start', 9);
ROLLBACK;
SELECT state, count(*) FROM bad_start GROUP BY state;

-- A fault that all rows share makes none of them FAILED
SELECT ecto_job.create_queue('bad_all');
INSERT INTO bad_all (params) SELECT '{}' FROM generate_series(1, 3);
ALTER TABLE bad_all ADD CONSTRAINT typo CHECK (state <> 'IN_PROGRESS' OR params ? 'vv') NOT VALID;
SELECT id FROM ecto_job.start_available_jobs('bad_all', 1);
SELECT state, count(*) FROM bad_all GROUP BY state;
ALTER TABLE bad_all DROP CONSTRAINT typo;
SELECT id FROM ecto_job.start_available_jobs('bad_all', 9);
-- A single row becomes FAILED if its data are at fault
TRUNCATE bad_all RESTART IDENTITY;
INSERT INTO bad_all (params) VALUES ('{}');
ALTER TABLE bad_all ADD CONSTRAINT typo CHECK (state <> 'IN_PROGRESS') NOT VALID;
SELECT id FROM ecto_job.start_available_jobs('bad_all', 1);
SELECT state, error FROM bad_all;

-- A trigger that raises for one row. A claim that runs without a subtransaction fails; its HINT says to call again
SELECT ecto_job.create_queue('bad_raise');
CREATE FUNCTION bad_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'IN_PROGRESS' AND NEW.params ? 'raise' THEN
        RAISE EXCEPTION 'not this one' USING HINT = 'Take another.';
    END IF;
    IF NEW.params ? 'veto' THEN
        RETURN NULL;
    END IF;
    IF NEW.params ? 'missing' THEN
        PERFORM FROM no_such_table;
    END IF;
    IF NEW.params ? 'code' THEN
        RAISE EXCEPTION 'in a trigger' USING ERRCODE = NEW.params ->> 'code';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bad_raise BEFORE UPDATE ON bad_raise FOR EACH ROW EXECUTE FUNCTION bad_raise();
INSERT INTO bad_raise (params) VALUES ('{}');
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
INSERT INTO bad_raise (params) VALUES ('{"raise": 1}'), ('{}'), ('{}');
SELECT pg_temp.outcome($$SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1)$$);
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
SELECT id, state, error FROM bad_raise ORDER BY id;

-- A trigger that suppresses the update of the queue's first row
TRUNCATE bad_raise RESTART IDENTITY;
INSERT INTO bad_raise (params) VALUES ('{"veto": 1}'), ('{}'), ('{"veto": 1}'), ('{}'), ('{}');
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 9);
SELECT id, state FROM bad_raise ORDER BY id;
-- The sweeps, which begin with the earliest schedule, skip such a row, too
UPDATE bad_raise SET state = 'SCHEDULED', schedule = '2001-01-01' WHERE NOT params ? 'veto';
SELECT ecto_job.activate_scheduled_jobs('bad_raise');

-- A missing object or right is an error, and makes no row FAILED
TRUNCATE bad_raise RESTART IDENTITY;
INSERT INTO bad_raise (params) VALUES ('{"missing": 1}');
SELECT pg_temp.outcome($$SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1)$$);
INSERT INTO bad_raise (params) VALUES ('{}');
SELECT id FROM ecto_job.start_available_jobs('bad_raise', 1);
SELECT id, state FROM bad_raise ORDER BY id;

-- An error of the transaction or of the server makes no row FAILED
SET client_min_messages = error;
SELECT code, split_part(pg_temp.outcome(format($$TRUNCATE bad_raise RESTART IDENTITY; INSERT INTO bad_raise (params) VALUES ('{"code": "%1$s"}'), ('{}');
    SELECT id FROM ecto_job.start_available_jobs('bad_raise', 9)$$, code)), ':', 1) AS start,
    split_part(pg_temp.outcome(format($$TRUNCATE bad_raise RESTART IDENTITY; INSERT INTO bad_raise (params, state, schedule) VALUES ('{"code": "%1$s"}', 'SCHEDULED', '2001-01-01'), ('{}', 'SCHEDULED', '2001-01-01');
    SELECT ecto_job.activate_scheduled_jobs('bad_raise')$$, code)), ':', 1) AS sweep
FROM unnest('{22012,23505,P0001,P0002,09000,38000,21000,APP01,0A000,54000,42501,08006,25006,40001,40P01,55P03,57000,53200,53100,57P01,58030,XX000,XX001}'::text[]) AS code;
RESET client_min_messages;

-- A call ends after a number of faults; the next call continues with the next rows
SELECT ecto_job.create_queue('bad_many');
INSERT INTO bad_many (params) SELECT CASE WHEN n <= 300 THEN '{"bad": 1}' ELSE '{}' END::jsonb FROM generate_series(1, 301) AS n;
ALTER TABLE bad_many ADD CONSTRAINT good CHECK (NOT params ? 'bad') NOT VALID;
SELECT pg_temp.outcome($$SELECT id FROM ecto_job.start_available_jobs('bad_many', 1)$$);
SELECT id FROM ecto_job.start_available_jobs('bad_many', 1);

-- However many rows are at fault, each call continues behind the rows that the previous call has tried
SET client_min_messages = error;
SELECT ecto_job.create_queue('bad_thousand');
INSERT INTO bad_thousand (params) SELECT CASE WHEN n <= 1000 THEN '{"bad": 1}' ELSE '{}' END::jsonb FROM generate_series(1, 1002) AS n;
ALTER TABLE bad_thousand ADD CONSTRAINT good CHECK (NOT params ? 'bad') NOT VALID;
SELECT call, pg_temp.outcome($$SELECT id FROM ecto_job.start_available_jobs('bad_thousand', 1)$$) AS start FROM generate_series(1, 5) AS call;
SELECT id, state FROM bad_thousand WHERE id > 1000 ORDER BY id;
-- A job that is inserted before the rows at fault is found
INSERT INTO bad_thousand (params, priority) VALUES ('{}', -1);
SELECT id FROM ecto_job.start_available_jobs('bad_thousand', 1);
-- The sweeps continue in this way, too, also among rows with equal schedules
TRUNCATE bad_thousand RESTART IDENTITY;
ALTER TABLE bad_thousand DROP CONSTRAINT good;
INSERT INTO bad_thousand (params, state, schedule) SELECT CASE WHEN n <= 1000 THEN '{"bad": 1}' ELSE '{}' END::jsonb, 'SCHEDULED', '2001-01-01' FROM generate_series(1, 1002) AS n;
INSERT INTO bad_thousand (params, state, schedule, expires, lease) SELECT CASE WHEN n > 2 THEN '{"bad": 1}' ELSE '{}' END::jsonb, 'RESERVED', '2001-01-01', '2001-01-01', 4 FROM generate_series(1, 1002) AS n;
ALTER TABLE bad_thousand ADD CONSTRAINT good CHECK (NOT params ? 'bad') NOT VALID;
SELECT call, pg_temp.outcome($$SELECT ecto_job.activate_scheduled_jobs('bad_thousand')$$) AS sweep FROM generate_series(1, 6) AS call;
SELECT call, pg_temp.outcome($$SELECT ecto_job.activate_expired_jobs('bad_thousand')$$) AS sweep FROM generate_series(1, 6) AS call;
SELECT id, state FROM bad_thousand WHERE NOT params ? 'bad' ORDER BY id;
RESET client_min_messages;

-- Sweeps with a user's unique index on waiting jobs
SELECT ecto_job.create_queue('bad_unique');
CREATE UNIQUE INDEX ON bad_unique ((params ->> 'key')) WHERE state IN ('AVAILABLE', 'SCHEDULED', 'RETRY');
INSERT INTO bad_unique (params, state, attempt, expires, lease, schedule)
SELECT jsonb_build_object('key', n), 'IN_PROGRESS', 1, '2001-01-01', 4, '2001-01-01' FROM generate_series(1, 5) AS n;
INSERT INTO bad_unique (params, state) VALUES ('{"key": 2}', 'AVAILABLE');
SELECT ecto_job.activate_expired_jobs('bad_unique');
SELECT id, state, expires, lease, error FROM bad_unique ORDER BY id;
UPDATE bad_unique SET state = 'IN_PROGRESS', expires = '2001-01-01', lease = 4, attempt = CASE WHEN id = 3 THEN 5 ELSE 1 END, error = NULL WHERE id < 6;
INSERT INTO bad_unique (params, state, schedule) SELECT jsonb_build_object('key', n), 'SCHEDULED', '2001-01-01' FROM generate_series(7, 9) AS n;
SELECT * FROM ecto_job.sweep('bad_unique');
SELECT id, state, error FROM bad_unique ORDER BY id;
-- A row that no sweep can change does not affect others, and is tried again when the table has changed
SELECT ecto_job.create_queue('bad_sweep');
INSERT INTO bad_sweep (params, state, schedule, expires, lease) VALUES
    ('{"bad": 1}', 'SCHEDULED', '2001-01-01', NULL, NULL), ('{}', 'SCHEDULED', '2001-01-02', NULL, NULL),
    ('{"bad": 1}', 'RESERVED', '2001-01-01', '2001-01-01', 4), ('{}', 'RESERVED', '2001-01-01', '2001-01-01', 4);
ALTER TABLE bad_sweep ADD CONSTRAINT good CHECK (NOT params ? 'bad') NOT VALID;
SELECT * FROM ecto_job.sweep('bad_sweep');
SELECT id, state, error FROM bad_sweep ORDER BY id;
SELECT * FROM ecto_job.sweep('bad_sweep');
ALTER TABLE bad_sweep DROP CONSTRAINT good;
SELECT * FROM ecto_job.sweep('bad_sweep');

-- A trigger or policy that prevents the deletion of finished jobs causes another error than a lost lease
SELECT ecto_job.create_queue('bad_delete');
CREATE FUNCTION bad_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN OLD.params ? 'keep' THEN NULL ELSE OLD END; END $$;
CREATE TRIGGER bad_delete BEFORE DELETE ON bad_delete FOR EACH ROW EXECUTE FUNCTION bad_delete();
INSERT INTO bad_delete (params) VALUES ('{"keep": 1}'), ('{}'), ('{"keep": 1}');
UPDATE bad_delete SET state = 'IN_PROGRESS', attempt = 1, lease = 10 + id, expires = 'infinity';
SELECT pg_temp.outcome($$SELECT ecto_job.complete_job('bad_delete', 1, 11)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.complete_job('bad_delete', 1, 12)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.complete_job('bad_delete', 4, 12)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.complete_jobs('bad_delete', '{1,2,3}', '{11,12,13}')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.complete_jobs('bad_delete', '{1,2,3,9}', '{11,12,14,19}')$$);
SELECT pg_temp.outcome($$SELECT ecto_job.delete_job_changeset('bad_delete', 1, 1)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.initial_multi('bad_delete', 1, 1, 11)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.initial_multi('bad_delete', 1, 1, 12)$$);
SELECT pg_temp.outcome($$SELECT ecto_job.delete_job_changeset('bad_delete', 1, 2)$$);
UPDATE bad_delete SET state = 'AVAILABLE' WHERE id = 1;
SELECT pg_temp.outcome($$SELECT ecto_job.complete_job('bad_delete', 1, 11)$$);

-- With triggers off, enqueue() writes the state; a plain INSERT has to name the state
SELECT ecto_job.create_queue('bad_replica');
SET session_replication_role = replica;
SELECT ecto_job.enqueue('bad_replica', '{}', schedule => now() + interval '1 day');
SELECT ecto_job.enqueue('bad_replica', '{}', schedule => now() - interval '1 day');
SELECT ecto_job.enqueue('bad_replica', '{}');
INSERT INTO bad_replica (params, schedule) VALUES ('{}', now() + interval '1 day');
RESET session_replication_role;
SELECT ecto_job.enqueue('bad_replica', '{}', schedule => now() + interval '1 day');
SELECT id, state FROM bad_replica ORDER BY id;

-- The owner has dropped the primary key and NOT NULL: a job whose id is null is skipped, with a WARNING
SELECT ecto_job.create_queue('bad_key');
ALTER TABLE bad_key DROP CONSTRAINT bad_key_pkey;
ALTER TABLE bad_key ALTER id DROP IDENTITY, ALTER id DROP NOT NULL;
CREATE TRIGGER bad_raise BEFORE UPDATE ON bad_key FOR EACH ROW EXECUTE FUNCTION bad_raise();
INSERT INTO bad_key (id, params) VALUES (NULL, '{}'), (1, '{}');
SELECT id FROM ecto_job.start_available_jobs('bad_key', 2);

\set ECHO none
SELECT count(ecto_job.drop_queue(queue)) FROM ecto_job.queue_settings WHERE queue::text LIKE 'bad\_%';
DROP FUNCTION bad_raise(), bad_delete();
