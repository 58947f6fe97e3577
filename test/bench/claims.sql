-- What test/bench/run measures. :rows is the number of jobs of each kind in the large queue.
--
-- Buffers: of the second call in a session, so without reading catalogs and making plans. Time: median,
-- minimum and maximum of 90 calls, each with its commit, in turns on both queues, three rounds.
\pset footer off
CREATE EXTENSION ecto_job;

\echo
\echo == Server
SHOW server_version;
SELECT name, current_setting(name) AS value
FROM pg_settings
WHERE name IN ('shared_preload_libraries', 'ecto_job.enabled', 'shared_buffers', 'max_wal_size', 'fsync',
               'synchronous_commit', 'full_page_writes', 'autovacuum', 'jit')
ORDER BY name;

SET client_min_messages = warning;
SELECT ecto_job.create_queue('large'), ecto_job.create_queue('small') \g /dev/null

CREATE PROCEDURE fill(queue regclass, rows bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %s (params) SELECT jsonb_build_object(''n'', n) FROM generate_series(1, $1) AS n',
                   queue) USING rows;
    EXECUTE format('INSERT INTO %s (params, state) SELECT jsonb_build_object(''n'', n), ''FAILED'''
                   ' FROM generate_series(1, $1) AS n', queue) USING rows;
    EXECUTE format('INSERT INTO %s (params, schedule) SELECT jsonb_build_object(''n'', n),'
                   ' clock_timestamp() + interval ''1 day'' FROM generate_series(1, $1) AS n', queue) USING rows;
END $$;
CALL fill('large', :rows);
CALL fill('small', 20000);
VACUUM ANALYZE large, small;
CHECKPOINT;

CREATE TABLE measured (queue regclass, what text, buffers bigint, ms numeric);

-- Runs a call and notes its buffers
CREATE FUNCTION buffers(queue regclass, what text, call text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || call INTO plan;
    plan := plan -> 0 -> 'Plan';
    INSERT INTO measured (queue, what, buffers)
    VALUES (queue, what, (plan ->> 'Shared Hit Blocks')::bigint + (plan ->> 'Shared Read Blocks')::bigint);
END $$;

-- A claim of 100 and its completion; each commits
CREATE PROCEDURE life(name regclass, noted boolean) LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
    leases bigint[];
    started timestamptz := clock_timestamp();
BEGIN
    SELECT array_agg(j.id), array_agg(j.lease) INTO ids, leases
    FROM ecto_job.start_available_jobs(name, 100) AS j;
    COMMIT;
    IF noted THEN
        INSERT INTO measured (queue, what, ms)
        VALUES (name, 'start 100', 1000 * extract(epoch FROM clock_timestamp() - started));
    END IF;
    COMMIT;
    started := clock_timestamp();
    PERFORM ecto_job.complete_jobs(name, ids, leases);
    COMMIT;
    IF noted THEN
        INSERT INTO measured (queue, what, ms)
        VALUES (name, 'complete 100', 1000 * extract(epoch FROM clock_timestamp() - started));
    END IF;
    COMMIT;
END $$;

CREATE PROCEDURE measure_buffers(name regclass) LANGUAGE plpgsql AS $$
BEGIN
    CALL life(name, false);
    PERFORM ecto_job.reserve_available_jobs(name, 1);
    PERFORM ecto_job.activate_scheduled_jobs(name);
    PERFORM buffers(name, 'start 100', format('SELECT * FROM ecto_job.start_available_jobs(%L, 100)', name));
    PERFORM buffers(name, 'reserve 100', format('SELECT * FROM ecto_job.reserve_available_jobs(%L, 100)', name));
    PERFORM ecto_job.start_available_jobs(name, 1000);
    PERFORM buffers(name, 'start 100 behind 1,200 in flight',
                    format('SELECT * FROM ecto_job.start_available_jobs(%L, 100)', name));
    EXECUTE format('UPDATE %s SET schedule = clock_timestamp() WHERE id IN'
                   ' (SELECT id FROM %1$s WHERE state = ''SCHEDULED'' ORDER BY id LIMIT 5)', name);
    PERFORM buffers(name, 'activate 5 due', format('SELECT ecto_job.activate_scheduled_jobs(%L)', name));
    PERFORM buffers(name, 'activate, none due', format('SELECT ecto_job.activate_scheduled_jobs(%L)', name));
END $$;

CREATE PROCEDURE measure_time(name regclass, calls integer) LANGUAGE plpgsql AS $$
BEGIN
    CALL life(name, false);
    FOR i IN 1 .. calls LOOP
        CALL life(name, true);
    END LOOP;
END $$;

CALL measure_time('small', 30);
CALL measure_time('large', 30);
CALL measure_time('small', 30);
CALL measure_time('large', 30);
CALL measure_time('small', 30);
CALL measure_time('large', 30);
\echo
\echo == Buffers of a call
SELECT c.relname AS queue, c.relpages AS pages, c.reltuples::bigint AS jobs
FROM pg_class AS c WHERE c.oid IN ('large'::regclass, 'small'::regclass) ORDER BY jobs;
CALL measure_buffers('small');
CALL measure_buffers('large');
SELECT what, max(buffers) FILTER (WHERE queue = 'small'::regclass) AS small,
       max(buffers) FILTER (WHERE queue = 'large'::regclass) AS large
FROM measured WHERE buffers IS NOT NULL GROUP BY what ORDER BY what;

\echo == Milliseconds of a call, with its commit
SELECT what, queue, count(*) AS calls,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 3) AS median,
       round(min(ms), 3) AS minimum, round(max(ms), 3) AS maximum
FROM measured WHERE ms IS NOT NULL GROUP BY what, queue ORDER BY what, queue::text DESC;
