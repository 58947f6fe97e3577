-- queue_depth counts the jobs of each state up to a limit, and running_jobs lists those that are held, in every kind of
-- queue, for readers whom no policy restricts and for pg_monitor.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\i :top/test/regress/ectojob.sql
\set ECHO all
CREATE ROLE regress_depth_reader;
CREATE ROLE regress_depth_restricted;
CREATE ROLE regress_depth_column;
CREATE ROLE regress_depth_monitor IN ROLE pg_monitor;
SELECT ecto_job.create_queue('depth_native');
SELECT ecto_job.create_queue('depth_binary', params_type => 'binary');
SELECT ecto_job.create_queue('depth_ectojob', ectojob => true);
SELECT ecto_job.create_queue('depth_timeless', timestamps_opts => 'false');
SELECT pg_temp.ectojob_table('depth_adopted', 3) \g /dev/null
SELECT ecto_job.adopt_queue('depth_adopted');
SELECT pg_temp.ectojob_table('depth_old', 2) \g /dev/null
SELECT ecto_job.adopt_queue('depth_old');

-- An empty queue has all six states
SELECT * FROM ecto_job.queue_depth('depth_native');
SELECT * FROM ecto_job.running_jobs('depth_native');

-- Each kind of queue: 1 SCHEDULED, 2 AVAILABLE, 3 RESERVED, 4 IN_PROGRESS, 5 RETRY and 6 FAILED jobs, the failed ones
-- first, as in a queue that has been at work for long
CREATE FUNCTION pg_temp.fill(queue regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own text := CASE WHEN queue::text IN ('depth_adopted', 'depth_old') THEN ', inserted_at, updated_at' ELSE '' END;
    times text := CASE WHEN own <> '' THEN $q$, '2026-02-02', '2026-02-02'$q$ ELSE '' END;
BEGIN
    EXECUTE format($q$INSERT INTO %s (params, state, schedule, attempt, lease, expires%s)
        SELECT %L, s.state, timestamptz '2026-01-01' + g * interval '1 hour' + s.n * interval '1 day', s.n, s.lease, s.expires::timestamptz%s
        FROM (VALUES (1, 'FAILED', 6, NULL::bigint, NULL), (2, 'IN_PROGRESS', 4, 8, '2026-03-03'), (3, 'RESERVED', 3, 9, '2026-02-03'),
                     (4, 'RETRY', 5, NULL, NULL), (5, 'AVAILABLE', 2, NULL, NULL), (6, 'SCHEDULED', 1, NULL, NULL))
             AS s (n, state, jobs, lease, expires), generate_series(1, s.jobs) AS g ORDER BY s.n, g$q$,
        queue, own, CASE WHEN queue::text = 'depth_binary' THEN '' ELSE '{}' END, times);
    -- triggers of the queue may have made another state of it
    EXECUTE format($q$UPDATE %s SET state = 'SCHEDULED' WHERE attempt = 6$q$, queue);
END
$$;
SELECT pg_temp.fill(q::regclass)
FROM unnest('{depth_native,depth_binary,depth_ectojob,depth_timeless,depth_adopted,depth_old}'::text[]) AS q \g /dev/null
SELECT * FROM ecto_job.queue_depth('depth_native');
SELECT q AS queue, string_agg(d.jobs || CASE WHEN d.capped THEN '+' ELSE '' END, ' ') AS jobs, min(d.oldest) AS oldest
FROM unnest('{depth_native,depth_binary,depth_ectojob,depth_timeless,depth_adopted,depth_old}'::text[]) AS q,
     ecto_job.queue_depth(q::regclass) AS d GROUP BY q ORDER BY q;
SELECT q AS queue, count(*), count(*) FILTER (WHERE j.state = 'RESERVED') AS reserved, min(j.id), max(j.id), min(j.lease), max(j.lease),
       count(j.since) AS since, min(j.expires) AS first_end, max(j.expires) AS last_end, count(j.pid) AS pids, count(j.locked_by_pid) AS locked
FROM unnest('{depth_native,depth_binary,depth_ectojob,depth_timeless,depth_adopted,depth_old}'::text[]) AS q,
     ecto_job.running_jobs(q::regclass) AS j GROUP BY q ORDER BY q;
-- Those whose leases end first come first
SELECT id, state, attempt, lease, expires FROM ecto_job.running_jobs('depth_native');
SELECT since FROM ecto_job.running_jobs('depth_adopted', 1);

-- Limits. Of 21 jobs, 20 by the primary key are not all; 21 are
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_native', 21) WHERE capped;
SELECT count(*) FILTER (WHERE capped) AS capped FROM ecto_job.queue_depth('depth_native', 20);
-- What the other indexes have is exact; of FAILED jobs as many are known as the primary key shows from the oldest job
SELECT state, jobs, capped, oldest FROM ecto_job.queue_depth('depth_native', 9);
SELECT state, jobs, capped, oldest FROM ecto_job.queue_depth('depth_native', 5);
SELECT state, jobs, capped, oldest FROM ecto_job.queue_depth('depth_native', 1);
-- Without the partial indexes both ends of the primary key are counted
SELECT state, jobs, capped, oldest FROM ecto_job.queue_depth('depth_adopted', 10);
SELECT id, state FROM ecto_job.running_jobs('depth_native', 2);
SELECT count(*) FROM ecto_job.running_jobs('depth_adopted', 2);

-- The oldest is the lowest schedule, whatever its priority, if all were counted
UPDATE depth_native SET priority = 9, schedule = '2020-01-01' WHERE id = (SELECT max(id) FROM depth_native WHERE state = 'AVAILABLE');
SELECT state, oldest FROM ecto_job.queue_depth('depth_native', 9) WHERE state = 'AVAILABLE';

-- The search for running jobs ends after a hundred times as many entries, and says so. A job of low priority is last
INSERT INTO depth_native (params, priority) SELECT '{}', 10 FROM generate_series(1, 250);
UPDATE depth_native SET priority = 20 WHERE state IN ('RESERVED', 'IN_PROGRESS') AND id % 2 = 0;
SELECT count(*) FROM ecto_job.running_jobs('depth_native', 7);
UPDATE depth_native SET priority = 20 WHERE state IN ('RESERVED', 'IN_PROGRESS');
SELECT count(*) FROM ecto_job.running_jobs('depth_native', 2);
-- A table without the index in play is searched from both ends, and no job is listed twice
INSERT INTO depth_adopted (params, state, inserted_at, updated_at)
SELECT '{}', 'FAILED', '2026-01-01', '2026-01-01' FROM generate_series(1, 400);
INSERT INTO depth_adopted (params, state, expires, inserted_at, updated_at) VALUES ('{}', 'IN_PROGRESS', '2026-01-01', '2026-01-01', '2026-01-01');
SELECT count(*), count(DISTINCT id) FROM ecto_job.running_jobs('depth_adopted', 8);
SELECT count(*), count(DISTINCT id) FROM ecto_job.running_jobs('depth_adopted', 3);
INSERT INTO depth_adopted (params, state, inserted_at, updated_at)
SELECT '{}', 'FAILED', '2026-01-01', '2026-01-01' FROM generate_series(1, 600);
SELECT count(*), count(DISTINCT id) FROM ecto_job.running_jobs('depth_adopted', 9);
DELETE FROM depth_adopted WHERE state = 'FAILED' AND id % 8 > 0;
SELECT count(*), count(DISTINCT id) FROM ecto_job.running_jobs('depth_adopted', 8);

-- Entries of deleted jobs count, ten for each job: where they are too many, the other end of the index is read, too
TRUNCATE depth_native;
INSERT INTO depth_native (params, state, schedule) SELECT '{}', 'FAILED', '2001-01-01' FROM generate_series(1, 30);
INSERT INTO depth_native (params, state) VALUES ('{}', 'RESERVED');
INSERT INTO depth_native (params) SELECT '{}' FROM generate_series(1, 30);
INSERT INTO depth_native (params, state) VALUES ('{}', 'RESERVED');
BEGIN;
DELETE FROM depth_native WHERE state IN ('FAILED', 'AVAILABLE');
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_native', 2) WHERE jobs > 0 OR capped;
UPDATE depth_native SET state = 'IN_PROGRESS' WHERE id = (SELECT max(id) FROM depth_native);
DELETE FROM depth_native WHERE state = 'RESERVED';
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_native', 2) WHERE jobs > 0 OR capped;
SELECT count(*) FROM ecto_job.running_jobs('depth_native', 1);
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_native', 2000) WHERE jobs > 0 OR capped;
ROLLBACK;
DELETE FROM depth_native WHERE state IN ('RESERVED', 'AVAILABLE');

-- The transaction's own lock on a running job
SELECT ecto_job.enqueue('depth_native', '{}') \g /dev/null
SELECT id, lease FROM ecto_job.start_available_jobs('depth_native', timeout => '1 day') \gset
SELECT id = :id AS id, state, attempt, lease = :lease AS lease, now() - since < '1 min' AS since, expires > now() AS expires,
       pid, application_name, client_addr, locked_by_pid, locked_by_gid FROM ecto_job.running_jobs('depth_native');
BEGIN;
SELECT FROM depth_native WHERE id = :id FOR UPDATE;
SELECT locked_by_pid = pg_backend_pid() AS locked FROM ecto_job.running_jobs('depth_native');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT FROM depth_native WHERE id = :id FOR KEY SHARE;
SAVEPOINT t;
SELECT FROM depth_native WHERE id = :id FOR UPDATE;
SELECT locked_by_pid = pg_backend_pid() AS locked FROM ecto_job.running_jobs('depth_native');
ROLLBACK;
SELECT locked_by_pid IS NULL AS free FROM ecto_job.running_jobs('depth_native');

-- Without NOT NULL a schedule may be unknown
BEGIN;
ALTER TABLE depth_native ALTER schedule DROP NOT NULL;
UPDATE depth_native SET schedule = NULL;
SELECT jobs, oldest FROM ecto_job.queue_depth('depth_native') WHERE jobs > 0;
SELECT ecto_job.enqueue('depth_native', '{}', schedule => '2001-01-01') \g /dev/null
UPDATE depth_native SET state = 'IN_PROGRESS';
SELECT jobs, oldest FROM ecto_job.queue_depth('depth_native') WHERE jobs > 0;
ROLLBACK;

-- nor need an id be known, where an index is no primary key. A job is found from the end of the index
BEGIN;
INSERT INTO depth_timeless (params, state) SELECT '{}', 'FAILED' FROM generate_series(1, 900);
INSERT INTO depth_timeless (params, state) VALUES ('{}', 'RESERVED');
DROP INDEX depth_timeless_priority_schedule_id_idx;
ALTER TABLE depth_timeless DROP CONSTRAINT depth_timeless_pkey, ALTER id DROP IDENTITY, ALTER id DROP NOT NULL;
INSERT INTO depth_timeless (id, params, state) VALUES (NULL, '{}', 'FAILED');
CREATE INDEX ON depth_timeless (id);
SELECT count(*) FROM ecto_job.running_jobs('depth_timeless', 8);
ROLLBACK;

-- NULL, limits, and what is no queue
SELECT pg_temp.outcome(format('SELECT * FROM ecto_job.%s(%s)', f, a))
FROM unnest('{queue_depth,running_jobs,held_jobs}'::text[]) AS f,
     unnest(ARRAY[$$NULL, 1$$, $$'depth_native', NULL$$, $$'depth_native', 0$$, $$'depth_native', -1$$, $$'pg_class', 1$$, $$'1', 1$$,
                  $$'depth_native', 9223372036854775807$$]) AS a;

-- Without an index there is nothing to count by, and the count says so
ALTER TABLE depth_timeless DROP CONSTRAINT depth_timeless_pkey;
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless');
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid = 'depth_timeless'::regclass ORDER BY 1 \gexec
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless');
SELECT * FROM ecto_job.running_jobs('depth_timeless');
-- An index with another predicate, an order from the end, or an expression is none of those
CREATE FUNCTION depth_spy(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql
    AS $$BEGIN RAISE WARNING 'the owner''s code runs as %', current_user; RETURN $1; END$$;
CREATE INDEX ON depth_timeless (id) WHERE state = 'FAILED';
CREATE INDEX ON depth_timeless (id DESC);
SET client_min_messages = error;
CREATE INDEX ON depth_timeless (depth_spy(id));
CREATE INDEX ON depth_timeless (id) WHERE id > depth_spy(1);
RESET client_min_messages;
CREATE INDEX ON depth_timeless USING hash (id);
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless') WHERE jobs > 0;
-- nor is one that is not valid, or that a snapshot may not use since rows changed while it was built
SET client_min_messages = error;
INSERT INTO depth_timeless (id, params) OVERRIDING SYSTEM VALUE VALUES (1, '{}');
RESET client_min_messages;
CREATE UNIQUE INDEX CONCURRENTLY depth_invalid ON depth_timeless (id);
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless') WHERE jobs > 0;
DROP INDEX depth_invalid;
DO $$
DECLARE
    index text;
BEGIN
    FOR index IN SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'depth_timeless'::regclass LOOP
        EXECUTE 'DROP INDEX ' || index;
    END LOOP;
END
$$;
BEGIN;
UPDATE depth_timeless SET id = id + 100;
CREATE INDEX ON depth_timeless (id);
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless') WHERE jobs > 0;
COMMIT;
SELECT state, jobs, capped FROM ecto_job.queue_depth('depth_timeless') WHERE jobs > 0;

SET client_min_messages = error;
CREATE INDEX ON depth_timeless (priority) WHERE id > depth_spy(1);
RESET client_min_messages;

-- Rights: SELECT on the whole table, no policy; or pg_monitor, for whom the owner's code does not run either
GRANT SELECT ON depth_timeless, depth_native TO regress_depth_reader, regress_depth_restricted;
GRANT SELECT (id, state, schedule) ON depth_timeless, depth_native TO regress_depth_column;
CREATE POLICY own ON depth_native TO regress_depth_reader USING (true);
SET ROLE regress_depth_monitor;
SELECT pg_temp.outcome('SELECT params FROM depth_native');
SELECT sum(jobs) FROM ecto_job.queue_depth('depth_native');
SELECT count(*) FROM ecto_job.running_jobs('depth_native');
SELECT count(*) FROM ecto_job.queue_depth('depth_timeless', 1);
SELECT count(*) FROM ecto_job.running_jobs('depth_timeless', 1);
SET ROLE regress_depth_reader;
SELECT sum(jobs) FROM ecto_job.queue_depth('depth_native');
SELECT count(*) FROM ecto_job.running_jobs('depth_native');
SET ROLE regress_depth_column;
SELECT pg_temp.outcome(format('SELECT * FROM ecto_job.%s(''depth_native'', 9)', f)) FROM unnest('{queue_depth,running_jobs,held_jobs}'::text[]) AS f;
RESET ROLE;
ALTER TABLE depth_native ENABLE ROW LEVEL SECURITY;
SET ROLE regress_depth_restricted;
SELECT pg_temp.outcome(format('SELECT * FROM ecto_job.%s(''depth_native'', 9)', f)) FROM unnest('{queue_depth,running_jobs,held_jobs}'::text[]) AS f;
SET ROLE regress_depth_monitor;
SELECT sum(jobs) FROM ecto_job.queue_depth('depth_native');
RESET ROLE;
SELECT sum(jobs) FROM ecto_job.queue_depth('depth_native');
-- In a read-only transaction, and for every queue that one may ask about
SET default_transaction_read_only = on;
SELECT q.queue, sum(d.jobs) FROM ecto_job.queues AS q, ecto_job.queue_depth(q.queue) AS d
WHERE q.queue IN ('depth_binary'::regclass, 'depth_native'::regclass) GROUP BY q.queue ORDER BY q.queue::text;
SELECT q.queue, count(j) FROM ecto_job.queues AS q, ecto_job.running_jobs(q.queue) AS j
WHERE q.queue IN ('depth_binary'::regclass, 'depth_native'::regclass) GROUP BY q.queue ORDER BY q.queue::text;
RESET default_transaction_read_only;
SELECT ecto_job.drop_queue(q::regclass) FROM unnest('{depth_native,depth_binary,depth_ectojob,depth_timeless,depth_adopted,depth_old}'::text[]) AS q;
DROP FUNCTION depth_spy;
DROP ROLE regress_depth_reader, regress_depth_restricted, regress_depth_column, regress_depth_monitor;
