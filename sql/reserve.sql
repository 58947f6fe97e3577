-- available_jobs, reserve_available_jobs, update_job_in_progress: EctoJob's two steps from AVAILABLE to
-- IN_PROGRESS, the order of jobs, the guards and the lease.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('reserve_jobs');
INSERT INTO reserve_jobs (params, priority, schedule) VALUES
    ('{"n": 1}', 0, '2001-01-02'), ('{"n": 2}', 0, '2001-01-01'), ('{"n": 3}', 0, '2001-01-01'),
    ('{"n": 4}', -1, '2001-01-03'), ('{"n": 5}', 7, '2000-01-01');
INSERT INTO reserve_jobs (params, state, schedule)
SELECT '{"n": 0}', unnest('{SCHEDULED,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), '2000-01-01';

-- available_jobs changes nothing
SELECT id, state, params, expires, lease, attempt FROM ecto_job.available_jobs('reserve_jobs', 3);
SELECT id FROM ecto_job.available_jobs('reserve_jobs', 2147483647);
SELECT state, count(*) FROM reserve_jobs GROUP BY state ORDER BY state;

-- demand is NULL, 0 or negative
SELECT count(*) FROM ecto_job.available_jobs('reserve_jobs', 0);
SELECT count(*) FROM ecto_job.available_jobs('reserve_jobs', NULL);
SELECT count(*) FROM ecto_job.reserve_available_jobs('reserve_jobs', 0);
SELECT count(*) FROM ecto_job.reserve_available_jobs('reserve_jobs', NULL);
SELECT pg_temp.outcome('SELECT ecto_job.available_jobs(''reserve_jobs'', -1)');
SELECT pg_temp.outcome('SELECT ecto_job.reserve_available_jobs(''reserve_jobs'', -2147483648)');

-- Jobs are reserved by priority, schedule, id; all jobs of a call have one lease and one expiry, to the microsecond
CREATE TEMP TABLE claimed AS
SELECT row_number() OVER () AS no, * FROM ecto_job.reserve_available_jobs('reserve_jobs', 3, '2031-01-01 00:00:00.123456', 1500);
SELECT no, id, state, expires, schedule, attempt, max_attempts, params, notify, priority, updated_at, key, error,
       meta, params_binary FROM claimed ORDER BY no;
SELECT count(DISTINCT lease) AS leases, min(lease) > 0 AND max(lease) < 2 ^ 53 AS in_range,
       bool_and(lease % 2 = 0) AS not_bound_to_a_session FROM claimed;
SELECT j.state, j.expires, j.attempt, j.updated_at, j.lease = c.lease AS same FROM reserve_jobs AS j JOIN claimed AS c USING (id)
ORDER BY id;
-- Another call has another lease, and gets the jobs that are left
SELECT id, lease <> (SELECT min(lease) FROM claimed) AS another_lease
FROM ecto_job.reserve_available_jobs('reserve_jobs', 100, '2031-01-01', 1);
SELECT count(*) FROM ecto_job.reserve_available_jobs('reserve_jobs', 100);
SELECT count(*) AS untouched FROM reserve_jobs WHERE params = '{"n": 0}' AND lease IS NULL AND state <> 'AVAILABLE';

-- now is by default the clock, the timeout the queue's reservation_timeout
INSERT INTO reserve_jobs (params) VALUES ('{}');
SELECT id, expires - updated_at AS timeout FROM ecto_job.reserve_available_jobs('reserve_jobs', 1);

-- update_job_in_progress: the attempt must be the job's at its reservation; a lease that is given must be the job's
SELECT id, lease FROM claimed WHERE no = 1 \gset
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 1, '2031-01-01');
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01', 1000, :lease + 2);
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01', 1000, 0);
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', 999, 0, '2031-01-01');
-- A job can be started until the expiry of its reservation, that moment included
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01 00:00:01.623456', 1000, :lease);
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01 00:00:01.623457', 1000, :lease);
SELECT state, attempt, updated_at FROM reserve_jobs WHERE id = :id;
SELECT id, state, attempt, expires, updated_at, lease = :lease AS lease_stays
FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01 00:00:01.623455', 1000, :lease);
-- A job is not started twice
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01', 1000, :lease);
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 1, '2031-01-01', 1000, :lease);
-- Without a lease only the attempt is checked, as in EctoJob; the timeout is multiplied by the number of the attempt
SELECT id FROM claimed WHERE no = 2 \gset
UPDATE reserve_jobs SET attempt = 2 WHERE id = :id;
SELECT id, state, attempt, expires FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 2, '2031-01-01', 1000);
-- The timeout is by default the queue's execution_timeout
SELECT id FROM claimed WHERE no = 3 \gset
SELECT attempt, expires - updated_at AS timeout FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 0, '2031-01-01');
-- A reservation without expiry counts as expired
UPDATE reserve_jobs SET state = 'RESERVED', expires = NULL WHERE id = :id;
SELECT count(*) FROM ecto_job.update_job_in_progress('reserve_jobs', :id, 1);
-- A job in another state cannot be started
TRUNCATE reserve_jobs RESTART IDENTITY;
INSERT INTO reserve_jobs (params, state, expires)
SELECT '{}', unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), '2031-01-01';
SELECT array_agg(j.id) FROM generate_series(1, 6) AS n
CROSS JOIN LATERAL ecto_job.update_job_in_progress('reserve_jobs', n, 0, '2030-01-01') AS j;
SELECT id, state, attempt FROM reserve_jobs ORDER BY id;

-- Arguments out of range
TRUNCATE reserve_jobs RESTART IDENTITY;
INSERT INTO reserve_jobs (params) VALUES ('{}');
SELECT pg_temp.outcome(format('SELECT ecto_job.reserve_available_jobs(''reserve_jobs'', 1, %s)', arguments))
FROM unnest(ARRAY['''infinity''', '''-infinity''', 'NULL, 0', 'NULL, -1', 'NULL, 9223372036854775807',
    '''294276-12-31 23:59:59.999'', 1', '''294276-12-31 23:59:59.998'', 1']) AS arguments;
SELECT state FROM reserve_jobs;
SELECT count(*) FROM ecto_job.reserve_available_jobs('reserve_jobs', 1, '2031-01-01', 1);
SELECT pg_temp.outcome(format('SELECT ecto_job.update_job_in_progress(''reserve_jobs'', %s)', arguments))
FROM unnest(ARRAY['NULL, 0', '1, NULL', '1, 0, ''infinity''', '1, 0, ''-infinity''', '1, 0, ''2030-01-01'', 0',
    '1, 0, ''2030-01-01'', -1', '1, 0, ''2030-01-01'', 9223372036854775807',
    '-9223372036854775808, -2147483648', '9223372036854775807, 2147483647']) AS arguments;
SELECT state, attempt, expires FROM reserve_jobs;

SELECT ecto_job.drop_queue('reserve_jobs');
