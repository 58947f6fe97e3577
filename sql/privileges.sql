-- Rights are PostgreSQL's own: the documented grants for a role that enqueues and for one that consumes, a role without
-- grants, row security, and a registry that is written by the extension's functions only.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
CREATE ROLE regress_ecto_owner;
CREATE ROLE regress_ecto_enqueuer;
CREATE ROLE regress_ecto_consumer;
CREATE ROLE regress_ecto_stranger;
CREATE SCHEMA priv AUTHORIZATION regress_ecto_owner;
GRANT USAGE ON SCHEMA priv TO PUBLIC;
SET search_path = priv;

SET ROLE regress_ecto_owner;
SELECT ecto_job.create_queue('jobs');
SELECT ecto_job.create_queue('blobs', params_type => 'binary');
GRANT INSERT (params, schedule, max_attempts, priority, notify, key, meta), SELECT (id) ON jobs, blobs TO regress_ecto_enqueuer;
GRANT SELECT, DELETE, UPDATE (state, expires, schedule, attempt, lease, error, updated_at) ON jobs, blobs TO regress_ecto_consumer;
SELECT relname, relowner::regrole FROM pg_class WHERE oid IN ('jobs'::regclass, 'blobs'::regclass) ORDER BY relname;

-- A role that may only enqueue
SET ROLE regress_ecto_enqueuer;
SELECT ecto_job.enqueue('jobs', '{"n": 1}', max_attempts => 1, priority => 1, notify => 'n', meta => '{}');
SELECT ecto_job.enqueue('jobs', '{"n": 2}', schedule => '2999-01-01');
SELECT ecto_job.enqueue('blobs', params_binary => '\x01');
INSERT INTO jobs (params) VALUES ('{"n": 3}') RETURNING id;
INSERT INTO jobs (params, schedule) VALUES ('{"n": 4}', '2999-01-01');
COPY jobs (params) FROM stdin;
{"n": 5}
\.
CREATE TABLE pg_temp.calls (no int, call text);
INSERT INTO pg_temp.calls SELECT row_number() OVER (), call FROM unnest(ARRAY[
    'ecto_job.enqueue(''jobs'', ''{}'')', 'ecto_job.available_jobs(''jobs'', 1)', 'ecto_job.start_available_jobs(''jobs'')',
    'ecto_job.reserve_available_jobs(''jobs'', 1)', 'ecto_job.update_job_in_progress(''jobs'', 1, 0)',
    'ecto_job.snooze_job(''jobs'', 1, 1)', 'ecto_job.extend_lease(''jobs'', 1, 1)', 'ecto_job.cancel_job(''jobs'', 1)',
    'ecto_job.pause_queue(''jobs'')', 'ecto_job.resume_queue(''jobs'')', 'ecto_job.fail_job(''jobs'', 1, 1)', 'ecto_job.job_failed(''jobs'', 1, 1)', 'ecto_job.complete_jobs(''jobs'', ''{1}'', ''{1}'')',
    'ecto_job.complete_job(''jobs'', 1, 1)', 'ecto_job.delete_job_changeset(''jobs'', 1, 9)', 'ecto_job.initial_multi(''jobs'', 1, 9)',
    'ecto_job.requeue(''jobs'', 1)', 'ecto_job.sweep(''jobs'')', 'ecto_job.activate_scheduled_jobs(''jobs'')',
    'ecto_job.activate_expired_jobs(''jobs'')', 'ecto_job.fail_expired_jobs_at_max_attempts(''jobs'')',
    'ecto_job.configure_queue(''jobs'', ''1 s'')', 'ecto_job.drop_queue(''jobs'')', 'ecto_job.enable()', 'ecto_job.disable()',
    'ecto_job.start_scheduler()', 'ecto_job.stop_scheduler()',
    'ecto_job.create_queue(''stolen'', ''priv'')', 'ecto_job.create_queue(''jobs'', ''priv'', ''false'')']) AS call;
GRANT SELECT ON pg_temp.calls TO PUBLIC;
SELECT call, pg_temp.outcome('SELECT ' || call) FROM pg_temp.calls WHERE no > 1 ORDER BY no;
SELECT pg_temp.outcome('INSERT INTO jobs (params, state) VALUES (''{}'', ''FAILED'')');
SELECT col, pg_temp.outcome(format('INSERT INTO jobs (params, %I) OVERRIDING SYSTEM VALUE VALUES (''{}'', NULL)', col))
FROM unnest('{id,attempt,lease,expires,error,inserted_at,updated_at}'::text[]) AS col;
SELECT pg_temp.outcome('SELECT params FROM jobs');
\set SHOW_CONTEXT never
CALL ecto_job.wait('jobs', '0');

-- A role that may only consume
SET ROLE regress_ecto_consumer;
SELECT call, pg_temp.outcome('SELECT ' || call) FROM pg_temp.calls
WHERE call ~ 'enqueue|configure|drop|enable|disable|create|pause|resume' ORDER BY no;
CALL ecto_job.wait('jobs', '0');
SELECT id FROM ecto_job.available_jobs('jobs', 1);
SELECT id, lease, params FROM ecto_job.start_available_jobs('jobs') \gset
SELECT :'params';
SELECT id, state, error FROM ecto_job.fail_job('jobs', :id, :lease, 'why', now => '2031-01-01');
SELECT ecto_job.activate_scheduled_jobs('jobs', '2032-01-01');
SELECT id FROM ecto_job.reserve_available_jobs('jobs', 1) \gset
SELECT id, attempt FROM ecto_job.update_job_in_progress('jobs', :id, 0) \gset
SELECT id, state FROM ecto_job.job_failed('jobs', :id, :attempt);
SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
SELECT ecto_job.extend_lease('jobs', :id, :lease) IS NOT NULL AS extended;
SELECT id, state, attempt FROM ecto_job.snooze_job('jobs', :id, :lease);
SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
SELECT ecto_job.complete_job('jobs', :id, :lease);
SELECT id, lease, params_binary FROM ecto_job.start_available_jobs('blobs') \gset
SELECT ecto_job.complete_jobs('blobs', ARRAY[:id]::bigint[], ARRAY[:lease]);
UPDATE jobs SET state = 'FAILED', attempt = 7;
SELECT count(*) FROM (SELECT ecto_job.requeue('jobs', id) FROM jobs) AS r;
SELECT * FROM ecto_job.sweep('jobs', '2032-01-01');
SELECT ecto_job.activate_expired_jobs('jobs'), ecto_job.fail_expired_jobs_at_max_attempts('jobs');
SELECT count(*) FROM ecto_job.reserve_available_jobs('jobs', 2, now => '2031-01-01');
SELECT min(id) AS one, max(id) AS two FROM jobs WHERE state = 'RESERVED' \gset
SELECT ecto_job.delete_job_changeset('jobs', :one, 0);
SELECT ecto_job.initial_multi('jobs', :two, 0);
SELECT queue, owner FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
SELECT pg_temp.outcome('UPDATE jobs SET params = ''{"forged": 1}''');
SELECT col, pg_temp.outcome(format('UPDATE jobs SET %1$I = %1$I', col))
FROM unnest('{id,key,priority,max_attempts,notify,meta,inserted_at}'::text[]) AS col;

-- A role without grants
SET ROLE regress_ecto_stranger;
-- a call that would change no row does not lock the table either
SELECT pg_temp.outcome('SELECT ecto_job.start_available_jobs(''jobs'', 0)');
SELECT call, pg_temp.outcome('SELECT ' || call) FROM pg_temp.calls ORDER BY no;
SELECT count(*) AS in_the_view FROM ecto_job.queues WHERE queue = 'jobs'::regclass;

-- Only functions write the registry
SELECT count(*) FROM ecto_job.queue_settings WHERE queue = 'jobs'::regclass;
SET ROLE regress_ecto_owner;
SELECT call, pg_temp.outcome('SELECT ' || call) FROM pg_temp.calls WHERE call ~ 'able\(|scheduler\(' ORDER BY no;
CREATE TABLE own (id bigint);
SELECT pg_temp.outcome(statement) FROM unnest(ARRAY[
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (''own'')',
    'UPDATE ecto_job.queue_settings SET max_attempts = 1', 'DELETE FROM ecto_job.queue_settings',
    'TRUNCATE ecto_job.queue_settings', 'INSERT INTO ecto_job.scheduler_state (database, enabled) VALUES (1, true)',
    'UPDATE ecto_job.scheduler_state SET enabled = false', 'DELETE FROM ecto_job.scheduler_state',
    'CREATE TABLE ecto_job.mine (id bigint)', 'DROP TABLE ecto_job.queue_settings',
    'ALTER TABLE ecto_job.queue_settings DISABLE TRIGGER ALL']) AS statement;
RESET ROLE;

-- The database's owner may copy settings in, as a restore does, for tables of its own only; and may enable the database
SELECT datdba::regrole AS old_owner FROM pg_database WHERE datname = current_database() \gset
SELECT current_database() AS db \gset
CREATE TABLE foreign_table (id bigint);
ALTER DATABASE :"db" OWNER TO regress_ecto_owner;
SET ROLE regress_ecto_owner;
SELECT pg_temp.outcome(statement) FROM unnest(ARRAY[
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (''foreign_table'')',
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (''pg_class'')',
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (4000000000::oid::regclass)',
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (NULL)',
    'INSERT INTO ecto_job.queue_settings (queue, max_attempts) VALUES (''own'', 0)',
    'INSERT INTO ecto_job.queue_settings (queue, params_type) VALUES (''own'', ''other'')',
    'INSERT INTO ecto_job.queue_settings (queue, poll_interval) VALUES (''own'', ''0'')',
    'INSERT INTO ecto_job.queue_settings (queue, execution_timeout) VALUES (''own'', ''1 mon'')',
    'UPDATE ecto_job.queue_settings SET max_attempts = 1', 'DELETE FROM ecto_job.queue_settings',
    'INSERT INTO ecto_job.queue_settings (queue) VALUES (''own'')']) AS statement;
SELECT ecto_job.enable();
SELECT ecto_job.disable();
RESET ROLE;
ALTER DATABASE :"db" OWNER TO :"old_owner";
-- a table that is no queue, but registered, harms no other queue
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''own'', ''{}'')');
DROP TABLE own, foreign_table;
SELECT count(*) FROM ecto_job.queue_settings WHERE queue NOT IN ('priv.jobs'::regclass, 'priv.blobs'::regclass);

-- A role that may create in the schema may not change another owner's queue; a member of the owner may
GRANT CREATE ON SCHEMA priv TO regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''jobs'')');
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(''jobs'', max_attempts => 3)');
RESET ROLE;
GRANT regress_ecto_owner TO regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
SELECT max_attempts FROM ecto_job.configure_queue('jobs', max_attempts => 3);
RESET ROLE;
REVOKE regress_ecto_owner FROM regress_ecto_stranger;

-- Row security holds in every function: a start needs SELECT and UPDATE, a completion DELETE and SELECT
SET ROLE regress_ecto_owner;
TRUNCATE jobs RESTART IDENTITY;
INSERT INTO jobs (params) VALUES ('{}');
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON jobs FOR SELECT TO regress_ecto_consumer USING (true);
SET ROLE regress_ecto_consumer;
SELECT id FROM ecto_job.available_jobs('jobs', 1);
SELECT count(*) FROM ecto_job.start_available_jobs('jobs');
SET ROLE regress_ecto_owner;
CREATE POLICY change ON jobs FOR UPDATE TO regress_ecto_consumer USING (true);
SET ROLE regress_ecto_consumer;
SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''jobs'', %s, %s)', :id, :lease));
SET ROLE regress_ecto_owner;
CREATE POLICY remove ON jobs FOR DELETE TO regress_ecto_consumer USING (true);
DROP POLICY see ON jobs;
SET ROLE regress_ecto_consumer;
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''jobs'', %s, %s)', :id, :lease));
SET ROLE regress_ecto_owner;
CREATE POLICY see ON jobs FOR SELECT TO regress_ecto_consumer USING (true);
SET ROLE regress_ecto_consumer;
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''jobs'', %s, %s)', :id, :lease));
SET ROLE regress_ecto_owner;
DROP POLICY see ON jobs;
DROP POLICY change ON jobs;
DROP POLICY remove ON jobs;
TRUNCATE jobs RESTART IDENTITY;
INSERT INTO jobs (params, state, schedule) VALUES ('{"for": "consumer"}', 'AVAILABLE', '2001-01-01'), ('{"for": "owner"}', 'AVAILABLE', '2001-01-01'),
    ('{"for": "owner"}', 'SCHEDULED', '2001-01-01'), ('{"for": "owner"}', 'IN_PROGRESS', '2001-01-01');
CREATE POLICY consume ON jobs TO regress_ecto_consumer USING (params ->> 'for' = 'consumer');
SET ROLE regress_ecto_consumer;
SELECT id FROM ecto_job.available_jobs('jobs', 10);
SELECT id FROM ecto_job.start_available_jobs('jobs', 10);
SELECT * FROM ecto_job.sweep('jobs');
SELECT pg_temp.outcome('SELECT ecto_job.delete_job_changeset(''jobs'', 2, 0)');
SET ROLE regress_ecto_enqueuer;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''jobs'', ''{}'')');
RESET ROLE;
SELECT id, state FROM jobs ORDER BY id;

-- A plan made for one role is not used for another
SET ROLE regress_ecto_owner;
SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1);
SET ROLE regress_ecto_consumer;
SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1);
SET ROLE regress_ecto_stranger;
SELECT pg_temp.outcome('SELECT ecto_job.start_available_jobs(''jobs'', 1)');
RESET ROLE;

-- A role that may read the queue sees which roles may have code run with the owner's rights
SELECT warning FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
SET ROLE regress_ecto_owner;
GRANT ALL ON jobs TO regress_ecto_consumer;
GRANT TRIGGER ON jobs TO PUBLIC;
GRANT USAGE ON SCHEMA priv TO regress_ecto_stranger;
SET ROLE regress_ecto_stranger;
CREATE FUNCTION pg_temp.strange() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER strange BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION pg_temp.strange();
SET ROLE regress_ecto_consumer;
SELECT warning FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
SET ROLE regress_ecto_owner;
REVOKE TRIGGER ON jobs FROM PUBLIC, regress_ecto_consumer;
SELECT warning FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
DROP TRIGGER strange ON jobs;
RESET ROLE;
DROP FUNCTION pg_temp.strange();
GRANT regress_ecto_owner TO regress_ecto_stranger;
GRANT TRIGGER ON jobs TO regress_ecto_stranger;
SELECT warning FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
REVOKE TRIGGER ON jobs FROM regress_ecto_stranger;
REVOKE regress_ecto_owner FROM regress_ecto_stranger;

DROP TABLE pg_temp.calls;
SELECT ecto_job.drop_queue('jobs'), ecto_job.drop_queue('blobs');
DROP SCHEMA priv;
DROP ROLE regress_ecto_owner, regress_ecto_enqueuer, regress_ecto_consumer, regress_ecto_stranger;
