-- activate_scheduled_jobs, activate_expired_jobs, fail_expired_jobs_at_max_attempts and sweep, on every
-- combination of state, attempts, expires and schedule, compared with a table of transitions in SQL.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('sweep_jobs');

-- The time of the sweeps, far in the past, so that no trigger changes the rows that are inserted
\set now '\'2001-01-01 00:00:00.123456\''
CREATE FUNCTION pg_temp.fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE public.sweep_jobs RESTART IDENTITY;
    INSERT INTO public.sweep_jobs (params, state, attempt, max_attempts, expires, schedule, lease, updated_at, error)
    SELECT '{}', state, attempt, max_attempts, expires, schedule,
           CASE WHEN state IN ('RESERVED', 'IN_PROGRESS') THEN 44 END, '1999-01-01', 'why the attempt before failed'
    FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]) AS state,
         (VALUES (0, 1), (0, 5), (1, 1), (1, 2), (2, 2), (3, 2)) AS a (attempt, max_attempts),
         unnest('{NULL,2001-01-01 00:00:00.123455,2001-01-01 00:00:00.123456,2001-01-01 00:00:00.123457}'::timestamptz[]) AS expires,
         unnest('{2001-01-01 00:00:00.123455,2001-01-01 00:00:00.123456,2001-01-01 00:00:00.123457}'::timestamptz[]) AS schedule
    ORDER BY state, attempt, max_attempts, expires, schedule;
$$;
-- The state that each row must have after the sweeps
CREATE VIEW expected_transition AS
SELECT id,
       CASE WHEN state IN ('SCHEDULED', 'RETRY') AND schedule <= :now THEN 'scheduled'
            WHEN state = 'RESERVED' AND (expires IS NULL OR expires <= :now) THEN 'expired'
            WHEN state = 'IN_PROGRESS' AND (expires IS NULL OR expires <= :now)
                 THEN CASE WHEN attempt < max_attempts THEN 'expired' ELSE 'failed' END
            ELSE 'none' END AS sweep
FROM sweep_jobs;
SELECT pg_temp.fill();
CREATE TEMP TABLE before AS TABLE sweep_jobs;
CREATE TEMP TABLE expected AS TABLE expected_transition;
-- Returns the number of rows that differ from the expected result of the named sweeps
CREATE FUNCTION pg_temp.wrong(sweeps text[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM sweep_jobs AS j JOIN before AS b USING (id) JOIN expected AS e USING (id)
    WHERE (j.state, j.expires, j.lease, j.updated_at, j.error) IS DISTINCT FROM
          CASE WHEN e.sweep <> ALL (sweeps) THEN (b.state, b.expires, b.lease, b.updated_at, b.error)
               ELSE (CASE e.sweep WHEN 'failed' THEN 'FAILED' ELSE 'AVAILABLE' END, NULL::timestamptz, NULL::bigint,
                     '2001-01-01 00:00:00.123456'::timestamp,
                     CASE b.state WHEN 'IN_PROGRESS' THEN format('the lease of attempt %s expired', b.attempt) ELSE b.error END) END
       OR (j.attempt, j.max_attempts, j.schedule, j.params) IS DISTINCT FROM (b.attempt, b.max_attempts, b.schedule, b.params)
$$;

SELECT count(*) FROM sweep_jobs;
SELECT sweep, count(*) FROM expected GROUP BY sweep ORDER BY sweep;

-- Each sweep by itself
SELECT ecto_job.activate_scheduled_jobs('sweep_jobs', :now);
SELECT pg_temp.wrong('{scheduled}');
SELECT pg_temp.fill();
SELECT ecto_job.activate_expired_jobs('sweep_jobs', :now);
SELECT pg_temp.wrong('{expired}');
SELECT pg_temp.fill();
SELECT ecto_job.fail_expired_jobs_at_max_attempts('sweep_jobs', :now);
SELECT pg_temp.wrong('{failed}');
-- The two sweeps of leases commute
SELECT ecto_job.activate_expired_jobs('sweep_jobs', :now);
SELECT pg_temp.wrong('{failed,expired}');
SELECT pg_temp.fill();
SELECT ecto_job.activate_expired_jobs('sweep_jobs', :now);
SELECT ecto_job.fail_expired_jobs_at_max_attempts('sweep_jobs', :now);
SELECT pg_temp.wrong('{failed,expired}');
-- All sweeps at once; a second call changes nothing
SELECT pg_temp.fill();
SELECT * FROM ecto_job.sweep('sweep_jobs', :now);
SELECT pg_temp.wrong('{scheduled,failed,expired}');
SELECT activated, expired, failed FROM ecto_job.sweep('sweep_jobs', :now);

-- No state is stuck: once all times of a job have passed, it can be started or is FAILED
SELECT pg_temp.fill();
SELECT * FROM ecto_job.sweep('sweep_jobs', '2001-01-02');
SELECT j.state, count(*), count(*) FILTER (WHERE b.state = 'IN_PROGRESS' AND b.attempt >= b.max_attempts) AS out_of_attempts,
       count(*) FILTER (WHERE b.state = 'FAILED') AS was_failed
FROM sweep_jobs AS j JOIN before AS b USING (id) GROUP BY j.state ORDER BY j.state;

-- now is by default the clock
SELECT pg_temp.fill();
SELECT * FROM ecto_job.sweep('sweep_jobs');
INSERT INTO sweep_jobs (params, schedule) VALUES ('{}', clock_timestamp() + '1 hour');
SELECT ecto_job.activate_scheduled_jobs('sweep_jobs'), ecto_job.activate_expired_jobs('sweep_jobs'),
       ecto_job.fail_expired_jobs_at_max_attempts('sweep_jobs');

-- More rows than a batch of the scheduler has
TRUNCATE sweep_jobs;
INSERT INTO sweep_jobs (params, state, schedule) SELECT '{}', 'SCHEDULED', '2000-01-01' FROM generate_series(1, 2500);
SELECT ecto_job.activate_scheduled_jobs('sweep_jobs');

-- A job that has no attempt left is notified of by its payload. psql's line names a process, which sed removes.
\set notifications '|sed "s/ received from .*//"'
TRUNCATE sweep_jobs;
INSERT INTO sweep_jobs (params, state, attempt, max_attempts, expires, notify) VALUES
    ('{}', 'IN_PROGRESS', 2, 2, '2000-01-01', 'out of attempts'), ('{}', 'IN_PROGRESS', 2, 2, '2000-01-01', NULL),
    ('{}', 'IN_PROGRESS', 1, 2, '2000-01-01', 'one left');
LISTEN "sweep_jobs.failed";
LISTEN "sweep_jobs.retry";
\o :notifications
SELECT * FROM ecto_job.sweep('sweep_jobs');
\o
UNLISTEN *;

-- Arguments that are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.%s(%s)', name, arguments))
FROM unnest('{sweep,activate_scheduled_jobs,activate_expired_jobs,fail_expired_jobs_at_max_attempts}'::text[]) AS name,
     unnest('{"NULL","''sweep_jobs'', ''infinity''","''sweep_jobs'', ''-infinity''"}'::text[]) AS arguments;

DROP VIEW expected_transition;
SELECT ecto_job.drop_queue('sweep_jobs');
