-- release_queue: which objects stay and which are dropped, for an adopted table and for one of create_queue; the four
-- statements for plain SQL; a new adoption.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\i :top/test/regress/ectojob.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT pg_temp.ectojob_table('rel_jobs', 3) \g /dev/null
CREATE TABLE rel_before AS
SELECT tgname::text, pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE tgrelid = 'rel_jobs'::regclass;
SELECT ecto_job.adopt_queue('rel_jobs');
SELECT ecto_job.enqueue('rel_jobs', '{"n": 1}', notify => 'n', meta => '{"kept": true}');
SELECT ecto_job.enqueue('rel_jobs', '{"n": 2}');
SELECT id, lease FROM ecto_job.start_available_jobs('rel_jobs') \gset
SELECT pg_relation_filenode('rel_jobs') AS before \gset
SELECT ecto_job.release_queue('rel_jobs');
-- EctoJob's trigger is as before the adoption, and only columns and defaults of the extension are left
SELECT tgname, pg_get_triggerdef(oid) = definition AS as_before FROM pg_trigger LEFT JOIN rel_before USING (tgname)
WHERE tgrelid = 'rel_jobs'::regclass;
SELECT count(*) FROM ecto_job.queue_settings;
SELECT pg_relation_filenode('rel_jobs') = :before AS not_rewritten,
       (SELECT coalesce(attstattarget, -1) FROM pg_attribute WHERE attrelid = 'rel_jobs'::regclass AND attname = 'state') AS statistics;
SELECT count(*) AS depends_on_extension FROM pg_depend
WHERE refclassid = 'pg_proc'::regclass AND refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'ecto_job'::regnamespace)
  AND classid = 'pg_trigger'::regclass AND objid IN (SELECT oid FROM pg_trigger WHERE tgrelid = 'rel_jobs'::regclass);
SELECT id, state, meta FROM rel_jobs ORDER BY id;
SELECT pg_temp.outcome(call) FROM unnest(ARRAY['SELECT ecto_job.enqueue(''rel_jobs'', ''{}'')',
    format('SELECT ecto_job.complete_job(''rel_jobs'', %s, %s)', :id, :lease), 'SELECT ecto_job.release_queue(''rel_jobs'')']) AS call;
-- The library's statements
INSERT INTO rel_jobs (attempt, params, priority, schedule, state, inserted_at, updated_at)
VALUES (0, '{"n": 3}', 0, '2999-01-01', 'SCHEDULED', '2031-01-01', '2031-01-01') RETURNING id;
WITH available_jobs AS (SELECT id FROM rel_jobs WHERE state = 'AVAILABLE' ORDER BY priority, schedule, id LIMIT 9 FOR UPDATE SKIP LOCKED)
UPDATE rel_jobs j SET state = 'RESERVED', expires = '2031-01-01', updated_at = '2031-01-01' FROM available_jobs a WHERE j.id = a.id
RETURNING j.id, j.state;
-- A plain INSERT is notified
LISTEN rel_jobs;
\o :notifications
INSERT INTO rel_jobs (params) VALUES ('{"n": 4}');
\o
UNLISTEN *;
-- The four statements of docs/without-the-extension.md, in their form for UTC columns
SET timezone = 'Europe/Berlin';
INSERT INTO rel_jobs (params) VALUES ('{"n": 5}') RETURNING id, state;
INSERT INTO rel_jobs (params, state, schedule) VALUES ('{"n": 6}', 'SCHEDULED', timezone('UTC', now()) + interval '1 hour') RETURNING id;
UPDATE rel_jobs SET state = 'IN_PROGRESS', attempt = attempt + 1, expires = timezone('UTC', now()) + (attempt + 1) * interval '5 minutes',
                    updated_at = timezone('UTC', now())
WHERE id = ANY (ARRAY(SELECT id FROM rel_jobs WHERE state = 'AVAILABLE' ORDER BY priority, schedule, id LIMIT 2 FOR UPDATE SKIP LOCKED))
RETURNING id, attempt, params;
DELETE FROM rel_jobs WHERE id = 5 AND attempt = 1 AND state = 'IN_PROGRESS' RETURNING id;
UPDATE rel_jobs SET state = CASE WHEN attempt < max_attempts THEN 'RETRY' ELSE 'FAILED' END, expires = NULL,
                    schedule = timezone('UTC', now()) + (attempt + 1) * interval '30 seconds', error = 'no such address',
                    updated_at = timezone('UTC', now())
WHERE id = 4 AND attempt = 1 AND state = 'IN_PROGRESS' RETURNING id, state;
UPDATE rel_jobs SET schedule = timezone('UTC', now()) WHERE id = 4;
WITH due AS (
    SELECT id FROM rel_jobs
    WHERE state IN ('SCHEDULED', 'RETRY') AND schedule <= timezone('UTC', now())
       OR state IN ('RESERVED', 'IN_PROGRESS') AND expires <= timezone('UTC', now())
    FOR UPDATE SKIP LOCKED
)
UPDATE rel_jobs SET state = CASE WHEN rel_jobs.state = 'IN_PROGRESS' AND attempt >= max_attempts THEN 'FAILED' ELSE 'AVAILABLE' END,
                    expires = NULL, updated_at = timezone('UTC', now())
FROM due WHERE rel_jobs.id = due.id RETURNING rel_jobs.id, rel_jobs.state;
SET timezone = 'UTC';
-- The table becomes a queue again
SELECT ecto_job.adopt_queue('rel_jobs');
SELECT id, params FROM ecto_job.start_available_jobs('rel_jobs', 10) ORDER BY id;
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''rel_jobs'', 2, %s)', :lease));

-- EctoJob's function was dropped, and is created again
DROP FUNCTION fn_notify_inserted();
SELECT ecto_job.release_queue('rel_jobs');
SELECT tgname, tgfoid::regprocedure FROM pg_trigger WHERE tgrelid = 'rel_jobs'::regclass;
SELECT prosrc, obj_description(oid) FROM pg_proc WHERE oid = 'fn_notify_inserted()'::regprocedure;
-- The migration's rollback
SELECT pg_temp.ectojob_down('rel_jobs') \g /dev/null
-- A table that had no trigger of EctoJob's before the adoption has none after the release
SELECT pg_temp.ectojob_table('rel_none', 3) \g /dev/null
DROP TRIGGER tr_notify_inserted_rel_none ON rel_none;
SELECT ecto_job.adopt_queue('rel_none'), ecto_job.release_queue('rel_none');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'rel_none'::regclass;
DROP TABLE rel_none;
DROP FUNCTION fn_notify_inserted();

-- Tables that create_queue has made, in a schema without EctoJob's function
CREATE SCHEMA rel_app;
SELECT ecto_job.create_queue('jobs', 'rel_app');
SELECT ecto_job.create_queue('other', 'rel_app', ectojob => true);
SELECT ecto_job.create_queue('name_of_as_many_bytes_as_a_queue_may_have_which_is_53', 'rel_app');
SELECT ecto_job.enqueue('rel_app.jobs', '{"n": 1}') > 0 AS enqueued;
SELECT ecto_job.release_queue(oid) FROM pg_class WHERE relnamespace = 'rel_app'::regnamespace AND relkind = 'r' ORDER BY relname;
SELECT tgname, tgfoid::regprocedure, obj_description(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
WHERE relnamespace = 'rel_app'::regnamespace ORDER BY 1;
SELECT relname, coalesce(attstattarget, -1) AS attstattarget FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
WHERE relnamespace = 'rel_app'::regnamespace AND relkind = 'r' AND attname = 'state' ORDER BY 1;
SELECT params, state, in_play FROM rel_app.jobs;
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''jobs'', ''rel_app'')');
SELECT ecto_job.adopt_queue('rel_app.jobs');
SELECT kind FROM ecto_job.queue_settings WHERE queue = 'rel_app.jobs'::regclass;
SELECT tgname, tgfoid::regprocedure FROM pg_trigger WHERE tgrelid = 'rel_app.jobs'::regclass ORDER BY 1;
SELECT params, state FROM ecto_job.start_available_jobs('rel_app.jobs');
SELECT ecto_job.release_queue('rel_app.jobs');

-- Only the table's owner may release, who needs CREATE on the schema
CREATE ROLE regress_ecto_owner;
CREATE ROLE regress_ecto_stranger;
CREATE SCHEMA rel_owned AUTHORIZATION regress_ecto_owner;
SET ROLE regress_ecto_owner;
SELECT ecto_job.create_queue('jobs', 'rel_owned');
RESET ROLE;
GRANT ALL ON SCHEMA rel_owned TO regress_ecto_stranger;
GRANT ALL ON rel_owned.jobs TO regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
SELECT pg_temp.outcome('SELECT ecto_job.release_queue(''rel_owned.jobs'')');
RESET ROLE;
ALTER SCHEMA rel_owned OWNER TO CURRENT_USER;
SET ROLE regress_ecto_owner;
SELECT pg_temp.outcome('SELECT ecto_job.release_queue(''rel_owned.jobs'')');
RESET ROLE;
GRANT CREATE, USAGE ON SCHEMA rel_owned TO regress_ecto_owner;
SET ROLE regress_ecto_owner;
SELECT ecto_job.release_queue('rel_owned.jobs');
RESET ROLE;
SELECT pg_temp.outcome(format('SELECT ecto_job.release_queue(%s)', queue)) FROM unnest(ARRAY['NULL', '''pg_class''', '4294967295']) AS queue;
-- Triggers on the extension's functions that a user has added are dropped, too
SELECT ecto_job.create_queue('rel_more');
CREATE TRIGGER more AFTER INSERT ON rel_more FOR EACH ROW EXECUTE FUNCTION ecto_job.job_inserted();
CREATE TRIGGER most AFTER UPDATE ON rel_more FOR EACH ROW EXECUTE FUNCTION ecto_job.job_changed('{"max_attempts": 9}');
SELECT ecto_job.release_queue('rel_more');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'rel_more'::regclass;
DROP TABLE rel_more;
DROP FUNCTION fn_notify_inserted();
SELECT count(*) FROM ecto_job.queue_settings;
DROP TABLE rel_before, rel_owned.jobs;
DROP FUNCTION rel_owned.fn_notify_inserted();
DROP SCHEMA rel_owned;
DROP SCHEMA rel_app CASCADE;
DROP ROLE regress_ecto_owner, regress_ecto_stranger;
