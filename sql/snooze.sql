-- snooze_job: a held job is put back for later, or at once, and the attempt does not count.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set notifications '|sed "s/ received from .*//"'
SELECT ecto_job.create_queue('snooze_jobs');
LISTEN "snooze_jobs.retry";
LISTEN "snooze_jobs.failed";

-- With a delay SCHEDULED after the delay, without one AVAILABLE at the old place; only held jobs, and only a started job
-- gets its attempt back
INSERT INTO snooze_jobs (params, state, attempt, lease, expires, schedule, error, notify)
SELECT '{}', unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]), 3, 44, '2001-01-02', '2001-01-01', 'why', 'n';
BEGIN;
\o :notifications
SELECT j.id, j.state, j.attempt, j.lease, j.expires, j.schedule, j.error, j.updated_at
FROM generate_series(0, 7) AS n CROSS JOIN LATERAL ecto_job.snooze_job('snooze_jobs', n, 44, '90 s', '2031-01-01 00:00:00.5') AS j;
\o
SELECT id, state, attempt, lease, schedule FROM snooze_jobs ORDER BY id;
-- The sweep at the end of the delay makes the job AVAILABLE
DELETE FROM snooze_jobs WHERE id NOT IN (3, 4);
SELECT ecto_job.activate_scheduled_jobs('snooze_jobs', '2031-01-01 00:01:30.499999');
SELECT ecto_job.activate_scheduled_jobs('snooze_jobs', '2031-01-01 00:01:30.5');
ROLLBACK;
SELECT j.id, j.state, j.attempt, j.lease, j.expires, j.schedule, j.error, j.updated_at
FROM generate_series(0, 7) AS n CROSS JOIN LATERAL ecto_job.snooze_job('snooze_jobs', n, 44, now => '2031-01-01') AS j;

-- Another lease, none; the second call; a delay below a millisecond is none; an attempt never falls below 0
TRUNCATE snooze_jobs RESTART IDENTITY;
INSERT INTO snooze_jobs (params, state, attempt, lease) SELECT '{}', 'IN_PROGRESS', n, 44 FROM generate_series(0, 1) AS n;
SELECT count(*) FROM ecto_job.snooze_job('snooze_jobs', 1, 46);
SELECT count(*) FROM ecto_job.snooze_job('snooze_jobs', 1, 0);
SELECT state, attempt FROM ecto_job.snooze_job('snooze_jobs', 1, 44, '0.9 ms');
SELECT count(*) FROM ecto_job.snooze_job('snooze_jobs', 1, 44);
-- now is by default the clock
SELECT state, attempt, schedule - updated_at AS delay, updated_at BETWEEN now() AND clock_timestamp() AS clock
FROM ecto_job.snooze_job('snooze_jobs', 2, 44, '1 day');

-- A job may be snoozed as often as its consumer wants, and never fails by it
TRUNCATE snooze_jobs RESTART IDENTITY;
INSERT INTO snooze_jobs (params, max_attempts) VALUES ('{}', 1);
DO $$ BEGIN FOR i IN 1..5 LOOP
    PERFORM ecto_job.snooze_job('snooze_jobs', id, lease) FROM ecto_job.start_available_jobs('snooze_jobs');
END LOOP; END $$;
SELECT state, attempt FROM snooze_jobs;

-- Arguments that are refused, and change nothing
UPDATE snooze_jobs SET state = 'IN_PROGRESS', attempt = 1, lease = 44;
SELECT pg_temp.outcome(format('SELECT ecto_job.snooze_job(%s)', arguments))
FROM unnest(ARRAY[$$NULL, 1, 44$$, $$'snooze_jobs', NULL, 44$$, $$'snooze_jobs', 1, NULL$$, $$'snooze_jobs', 1, 44, NULL$$,
    $$'snooze_jobs', 1, 44, '-1 us'$$, $$'snooze_jobs', 1, 44, '1 month'$$, $$'snooze_jobs', 1, 44, '1 s', 'infinity'$$,
    $$'snooze_jobs', 1, 44, '1 s', '294276-12-31 23:59:59'$$, $$'snooze_jobs', 1, 44, '2147483647 days'$$, $$'pg_class', 1, 44$$]) AS arguments;
SELECT state, attempt FROM snooze_jobs;
UNLISTEN *;
SELECT ecto_job.drop_queue('snooze_jobs');
