-- The option failed_retention: which FAILED jobs sweep() deletes, as the scheduler does.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('ret_jobs');
CREATE FUNCTION pg_temp.jobs() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT string_agg(id || ' ' || state, ', ' ORDER BY id) FROM ret_jobs $$;
-- FAILED for 31 days, 30 days, and a microsecond less; and old jobs in all other states
INSERT INTO ret_jobs (params, state, updated_at) VALUES ('{}', 'FAILED', '2030-12-01'), ('{}', 'FAILED', '2030-12-02'),
    ('{}', 'FAILED', '2030-12-02 00:00:00.000001');
INSERT INTO ret_jobs (params, state, schedule, updated_at, expires, lease)
SELECT '{}', state, '2040-01-01', '2001-01-01', '2040-01-01', 44 FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY}'::text[]) AS state;

-- Without the option, and with other options, nothing is deleted
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT options FROM ecto_job.configure_queue('ret_jobs', options => '{"backoff": "constant"}');
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();
SELECT options FROM ecto_job.configure_queue('ret_jobs', options => '{"failed_retention": "31 days 1 s"}');
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();
-- Deleted at equality, to the microsecond
SELECT options FROM ecto_job.configure_queue('ret_jobs', options => '{"failed_retention": "30 days"}');
BEGIN;
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();
ROLLBACK;
-- The other functions do not delete
SELECT ecto_job.activate_scheduled_jobs('ret_jobs', '2031-01-01'), ecto_job.activate_expired_jobs('ret_jobs', '2031-01-01'),
    ecto_job.fail_expired_jobs_at_max_attempts('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();
-- Null keeps them for ever
SELECT options FROM ecto_job.configure_queue('ret_jobs', options => '{"failed_retention": null}');
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();

-- A job that cannot be deleted stays, with one warning; the others go
CREATE TABLE ret_notes (job bigint REFERENCES ret_jobs);
TRUNCATE ret_jobs, ret_notes RESTART IDENTITY;
INSERT INTO ret_jobs (params, state, updated_at) SELECT '{}', 'FAILED', '2001-01-01' FROM generate_series(1, 2500);
INSERT INTO ret_notes SELECT n FROM unnest('{1,7,1000,1001,2500}'::int[]) AS n;
INSERT INTO ret_notes SELECT n FROM generate_series(1500, 1550) AS n;
SELECT options FROM ecto_job.configure_queue('ret_jobs', options => '{"failed_retention": "30 days"}');
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT count(*), count(*) FILTER (WHERE id IN (SELECT job FROM ret_notes)) AS in_use FROM ret_jobs;
TRUNCATE ret_notes;
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT count(*) FROM ret_jobs;
DROP TABLE ret_notes;

-- More rows to read than a window, of which few are old
INSERT INTO ret_jobs (params, state, updated_at)
SELECT '{}', CASE WHEN n % 1500 = 0 THEN 'FAILED' ELSE 'AVAILABLE' END, '2001-01-01' FROM generate_series(1, 45000) AS n;
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT state, count(*) FROM ret_jobs GROUP BY state;

-- A caller without the right DELETE sweeps all the same
CREATE ROLE regress_ecto_job_sweeper;
GRANT SELECT, UPDATE ON ret_jobs TO regress_ecto_job_sweeper;
INSERT INTO ret_jobs (params, state, updated_at) VALUES ('{}', 'FAILED', '2001-01-01');
SET ROLE regress_ecto_job_sweeper;
SELECT pg_temp.outcome('SELECT ecto_job.sweep(''ret_jobs'', ''2031-01-01'')');
RESET ROLE;
SELECT count(*) FROM ret_jobs WHERE state = 'FAILED';
DROP OWNED BY regress_ecto_job_sweeper;
DROP ROLE regress_ecto_job_sweeper;

-- A trigger that refuses some deletions, with an error of any kind, stops nothing
CREATE FUNCTION ret_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.id % 2 = 0 THEN RAISE insufficient_privilege USING MESSAGE = 'legal hold'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER ret_hold BEFORE DELETE ON ret_jobs FOR EACH ROW EXECUTE FUNCTION ret_hold();
TRUNCATE ret_jobs RESTART IDENTITY;
INSERT INTO ret_jobs (params, state, updated_at) SELECT '{}', 'FAILED', '2001-01-01' FROM generate_series(1, 5);
INSERT INTO ret_jobs (params, state, schedule) VALUES ('{}', 'SCHEDULED', '2001-01-01');
SELECT * FROM ecto_job.sweep('ret_jobs', '2031-01-01');
SELECT pg_temp.jobs();
DROP TRIGGER ret_hold ON ret_jobs;
DROP FUNCTION ret_hold;

-- A queue that does not know when a job failed
SELECT ecto_job.create_queue('ret_timeless', timestamps_opts => 'false');
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(''ret_timeless'', options => ''{"failed_retention": "1 day"}'')');
UPDATE ecto_job.queue_settings SET options = '{"failed_retention": "1 day"}' WHERE queue = 'ret_timeless'::regclass;
INSERT INTO ret_timeless (params, state, schedule) VALUES ('{}', 'FAILED', '2001-01-01');
SELECT * FROM ecto_job.sweep('ret_timeless', '2031-01-01');
SELECT count(*) FROM ret_timeless;
SELECT ecto_job.drop_queue('ret_jobs'), ecto_job.drop_queue('ret_timeless');
