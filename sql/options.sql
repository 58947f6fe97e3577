-- The options of configure_queue: which are taken and refused, how they are merged, and what the retry back-off does.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('opt_jobs');
SELECT ecto_job.create_queue('opt_other');
SELECT retry_timeout, options FROM ecto_job.configure_queue('opt_jobs', retry_timeout => '10 s');

-- Keys that are given replace, null resets, keys that are not given stay
SELECT options FROM ecto_job.configure_queue('opt_jobs', options => '{"backoff": "exponential", "retry_jitter": 0.5}');
SELECT options FROM ecto_job.configure_queue('opt_jobs', options => '{"max_retry_delay": "1 hour", "backoff": "constant"}');
SELECT options FROM ecto_job.configure_queue('opt_jobs', poll_interval => '7 s');
SELECT options FROM ecto_job.configure_queue('opt_jobs', options => '{}');
SELECT options FROM ecto_job.configure_queue('opt_jobs', options => '{"retry_jitter": null, "backoff": null}');
SELECT queue, options FROM ecto_job.queues WHERE queue::text LIKE 'opt%' ORDER BY queue::text;
-- A dump of the table has them
SELECT encode(tgargs, 'escape') LIKE '%"options": {"max_retry_delay": "1 hour"}%' AS dumped FROM pg_trigger
WHERE tgrelid = 'opt_jobs'::regclass AND tgname = 'ecto_job_changed';
BEGIN;
SELECT options FROM ecto_job.configure_queue('opt_jobs', options => '{"max_retry_delay": "2 hours"}');
ROLLBACK;
SELECT options FROM ecto_job.queues WHERE queue = 'opt_jobs'::regclass;

-- Refused, and nothing is changed
SELECT pg_temp.outcome(format('SELECT ecto_job.configure_queue(''opt_jobs'', poll_interval => ''9 s'', options => %L)', value))
FROM unnest(ARRAY['null', '1', '[]', '["backoff"]', '{"Backoff": "linear"}', '{"a": null}', '{"backoff": "Linear"}', '{"backoff": 1}',
    '{"backoff": {"a": 1}}', '{"max_retry_delay": 60}', '{"max_retry_delay": "1 month"}', '{"max_retry_delay": "0"}',
    '{"max_retry_delay": "-1 s"}', '{"max_retry_delay": "2 days -1 hours"}', '{"max_retry_delay": "soon"}', '{"max_retry_delay": "99999999999999 days"}', '{"max_retry_delay": "3651 days"}',
    '{"retry_jitter": "0.5"}', '{"retry_jitter": -0.1}', '{"retry_jitter": 1.1}', '{"retry_jitter": 1e40}',
    '{"backoff": "linear", "retry_jitter": true}']) AS value;
SELECT poll_interval, options FROM ecto_job.queues WHERE queue = 'opt_jobs'::regclass;
-- Nor can a restore bring what no function would read
SELECT pg_temp.outcome($$UPDATE ecto_job.queue_settings SET options = '{"backoff": "none"}' WHERE queue = 'opt_jobs'::regclass$$);
-- Only the owner
CREATE ROLE regress_ecto_job_options;
SET ROLE regress_ecto_job_options;
SELECT pg_temp.outcome('SELECT ecto_job.configure_queue(''opt_jobs'', options => ''{}'')');
RESET ROLE;
DROP ROLE regress_ecto_job_options;

-- The delay of each attempt: by the queue's retry_timeout, and by EctoJob's argument
CREATE FUNCTION pg_temp.delays(options jsonb, timeout_ms bigint DEFAULT NULL) RETURNS TABLE (attempt int, delay interval)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ecto_job.configure_queue('opt_jobs', options => '{"backoff": null, "max_retry_delay": null, "retry_jitter": null}' || options);
    TRUNCATE opt_jobs RESTART IDENTITY;
    INSERT INTO opt_jobs (params, state, attempt, max_attempts, lease)
    SELECT '{}', 'IN_PROGRESS', a, 2147483647, 44 FROM unnest('{0,1,2,3,10,2147483646}'::int[]) AS a;
    IF timeout_ms IS NULL THEN
        RETURN QUERY SELECT j.attempt, j.schedule - '2031-01-01' FROM opt_jobs AS o
        CROSS JOIN LATERAL ecto_job.fail_job('opt_jobs', o.id, 44, now => '2031-01-01') AS j ORDER BY 1;
    ELSE
        RETURN QUERY SELECT j.attempt, j.schedule - '2031-01-01' FROM opt_jobs AS o
        CROSS JOIN LATERAL ecto_job.job_failed('opt_jobs', o.id, o.attempt, '2031-01-01', timeout_ms) AS j ORDER BY 1;
    END IF;
END $$;
SELECT * FROM pg_temp.delays('{}');
SELECT * FROM pg_temp.delays('{"backoff": "linear", "max_retry_delay": "39 s"}');
SELECT * FROM pg_temp.delays('{"backoff": "constant"}');
SELECT * FROM pg_temp.delays('{"backoff": "exponential", "max_retry_delay": "3650 days"}');
SELECT * FROM pg_temp.delays('{"backoff": "exponential", "max_retry_delay": "1 minute"}');
SELECT * FROM pg_temp.delays('{"backoff": "exponential", "max_retry_delay": "1 minute"}', 1500);
SELECT * FROM pg_temp.delays('{"backoff": "exponential"}', 0);
SELECT attempt, delay > '292000 years' AS to_the_end_of_the_calendar FROM pg_temp.delays('{"backoff": "exponential"}');
-- Jobs that fail at once do not come back at once
SELECT bool_and(delay BETWEEN '7.5 s' AND '10 s') AS within, count(DISTINCT delay) > 1 AS spread
FROM pg_temp.delays('{"backoff": "constant", "retry_jitter": 0.25}');
SELECT bool_and(delay BETWEEN '0' AND '10 s') AS within FROM pg_temp.delays('{"backoff": "constant", "retry_jitter": 1}');

-- A delay that the caller gives is taken as it is; without a retry there is none
TRUNCATE opt_jobs RESTART IDENTITY;
INSERT INTO opt_jobs (params, state, attempt, max_attempts, lease, schedule)
SELECT '{}', 'IN_PROGRESS', a, 3, 44, '2001-01-01' FROM unnest('{1,1,3}'::int[]) AS a;
SELECT state, schedule FROM ecto_job.fail_job('opt_jobs', 1, 44, delay => '1 day', now => '2031-01-01');
SELECT state, schedule FROM ecto_job.fail_job('opt_jobs', 2, 44, retry => false, now => '2031-01-01');
SELECT state, schedule FROM ecto_job.fail_job('opt_jobs', 3, 44, now => '2031-01-01');
SELECT pg_temp.outcome('SELECT ecto_job.fail_job(''opt_jobs'', 9, 44, now => ''infinity'')');

-- retry_time, which the statements call
SELECT a AS attempt, ecto_job.retry_time('2031-01-01', a, 1000, 'exponential', 60000, 0, 1, 1) FROM unnest('{-1,0,1,2,7,2147483647}'::int[]) AS a;
SELECT ecto_job.retry_time('2031-01-01', 1, 1000, 'linear', 60000, 0.5, s, i) BETWEEN '2031-01-01 00:00:01' AND '2031-01-01 00:00:02' AS within, count(*)
FROM generate_series(1, 10) AS s, generate_series(1, 10) AS i GROUP BY 1;
SELECT ecto_job.retry_time('2031-01-01', 1, 1000, 'linear', NULL, 0, 1, 1);
SELECT pg_temp.outcome(format('SELECT ecto_job.retry_time(%s)', arguments))
FROM unnest(ARRAY['''infinity'', 1, 1, ''linear'', 1, 0, 1, 1', 'now(), 1, 1, ''square'', 1, 0, 1, 1', 'now(), 1, -1, ''linear'', 1, 0, 1, 1',
    'now(), 1, 1, ''linear'', -1, 0, 1, 1', 'now(), 1, 1, ''linear'', 1, 1.5, 1, 1', 'now(), 1, 1, ''linear'', 1, ''NaN'', 1, 1',
    'now(), 2147483647, 9223372036854775807, ''linear'', 9223372036854775807, 0, 1, 1']) AS arguments;

SELECT ecto_job.drop_queue('opt_jobs'), ecto_job.drop_queue('opt_other');
