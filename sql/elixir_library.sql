-- The statements of EctoJob's Elixir library on every kind of queue, whatever the session's TimeZone. The extension's
-- functions work on rows that the statements have changed, and the statements on rows that the functions have changed.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\i :top/test/regress/ectojob.sql
\set ECHO all
\set params '\'{"n": 1}\''
SELECT ecto_job.create_queue('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

SET timezone = 'America/New_York';
SELECT ecto_job.create_queue('jobs', ectojob => true);
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

SET timezone = 'Asia/Kolkata';
SELECT pg_temp.ectojob_table('jobs', 3);
SELECT ecto_job.adopt_queue('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

-- A table that EctoJob's own migration upgrades after the adoption
SELECT pg_temp.ectojob_table('jobs', 2);
SELECT ecto_job.adopt_queue('jobs');
SELECT pg_temp.ectojob_up_3('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

-- Erlang terms as params
\set params '\'\\x836101\''
SELECT ecto_job.create_queue('jobs', ectojob => true, params_type => 'binary', timestamps_opts => '{"type": "naive_datetime"}');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

SELECT pg_temp.ectojob_table('jobs', 3, 'public', 'inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL', 'bytea');
SELECT ecto_job.adopt_queue('jobs');
\i :top/test/regress/elixir_library.sql

-- Features that the library does not know. Another job waits under the key of a job that the library performs: the
-- library's failure and its sweep, which has two jobs to activate, raise a unique violation until our sweep has decided
TRUNCATE jobs RESTART IDENTITY;
CREATE UNIQUE INDEX jobs_of_key ON jobs (key) WHERE key IS NOT NULL AND state IN ('SCHEDULED', 'AVAILABLE', 'RETRY');
INSERT INTO jobs (params, key, state, attempt, expires, schedule, inserted_at, updated_at)
SELECT :params, key, state, attempt, expires, '2001-01-01', '2001-01-01', '2001-01-01'
FROM (VALUES ('k', 'IN_PROGRESS', 1, timestamp '2001-01-01 00:05:00'), ('k', 'AVAILABLE', 0, NULL), (NULL, 'IN_PROGRESS', 1, '2001-01-01 00:05:00'))
    AS j (key, state, attempt, expires);
EXECUTE job_failed_retry ('RETRY', '2001-01-01 00:01:00Z', 1, 1);
EXECUTE activate_expired_jobs ('AVAILABLE', NULL, '2001-01-01 00:10:00Z', '2001-01-01 00:10:00Z');
:show
SELECT expired, failed FROM ecto_job.sweep('jobs', '2001-01-01 00:10:00Z');
EXECUTE activate_expired_jobs ('AVAILABLE', NULL, '2001-01-01 00:10:00Z', '2001-01-01 00:10:00Z');
:show
-- A pause does not hold the library back. The library's completion of a cancelled job deletes no row, its StaleEntryError
SELECT ecto_job.pause_queue('jobs');
SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1, '1 minute', '2001-01-01 00:11:00Z');
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:20:00Z', '2001-01-01 00:11:00Z');
EXECUTE update_job_in_progress (1, 'IN_PROGRESS', '2001-01-01 00:30:00Z', '2001-01-01 00:11:00Z', 2, 0, '2001-01-01 00:11:00Z');
SELECT ecto_job.resume_queue('jobs');
SELECT id, state FROM ecto_job.cancel_job('jobs', 2);
EXECUTE delete_job (1, 2);
\echo rows: :ROW_COUNT
-- The library performs a job that one of our consumers has snoozed. It fails without a change of updated_at, by which
-- failed_retention deletes it
SELECT id, lease FROM ecto_job.start_available_jobs('jobs', 1, '1 minute', '2001-01-01 00:12:00Z') \gset
SELECT id, state, attempt FROM ecto_job.snooze_job('jobs', :id, :lease, '1 minute', '2001-01-01 00:12:00Z');
EXECUTE activate_scheduled_jobs ('AVAILABLE', '2001-01-01 00:13:00Z', '2001-01-01 00:13:00Z');
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:20:00Z', '2001-01-01 00:13:00Z');
EXECUTE update_job_in_progress (2, 'IN_PROGRESS', '2001-01-01 00:30:00Z', '2001-01-01 00:14:00Z', 3, 1, '2001-01-01 00:14:00Z');
EXECUTE job_failed_last ('FAILED', NULL, 3, 2);
SELECT options FROM ecto_job.configure_queue('jobs', options => '{"failed_retention": "1 day"}');
SELECT * FROM ecto_job.sweep('jobs', '2001-01-02 00:13:59Z');
SELECT count(*) FROM jobs;
SELECT * FROM ecto_job.sweep('jobs', '2001-01-02 00:14:00Z');
SELECT count(*) FROM jobs;
SELECT ecto_job.drop_queue('jobs');
RESET timezone;

-- A node whose clock is ahead enqueues a job that is due by the node's clock; a job for the future is SCHEDULED. The
-- library writes the time of the INSERT truncated to seconds, or in full.
CREATE FUNCTION pg_temp.born(queue regclass, OUT enqueued text, OUT schedule text, OUT state text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOR enqueued, schedule IN VALUES
        ('2999-01-01 00:00:07Z', '2999-01-01 00:00:07Z'), ('2999-01-01 00:00:07Z', '2999-01-01 00:00:08Z'),
        ('2999-01-01 00:00:07Z', '2999-01-01 00:00:08.000001Z'), ('2999-01-01 00:00:07.5Z', '2999-01-01 00:00:07.5Z'),
        ('2999-01-01 00:00:07.5Z', '2999-01-01 00:00:07.500001Z'), ('2001-01-01 00:00:07Z', '2999-01-01 00:00:07Z'),
        ('2999-01-01 00:00:07Z', '2001-01-01 00:00:07Z')
    LOOP
        EXECUTE format('INSERT INTO %s AS j (params, state, schedule, inserted_at, updated_at) VALUES (''{}'', ''AVAILABLE'', %L, %L, %2$L) RETURNING j.state', queue, schedule, enqueued)
            INTO state;
        RETURN NEXT;
    END LOOP;
END
$$;
SELECT ecto_job.create_queue('native'), ecto_job.create_queue('clocks', ectojob => true);
SELECT pg_temp.ectojob_table('adopted', 3, 'public', 'inserted_at timestamptz NOT NULL, updated_at timestamptz NOT NULL');
SELECT ecto_job.adopt_queue('adopted');
SELECT * FROM pg_temp.born('native');
SELECT * FROM pg_temp.born('clocks');
SELECT * FROM pg_temp.born('adopted');
INSERT INTO clocks (params, schedule) VALUES ('{}', now() + interval '1 minute') RETURNING state;
SELECT ecto_job.drop_queue('native'), ecto_job.drop_queue('clocks'), ecto_job.drop_queue('adopted');
SELECT ecto_job.create_queue('clocks', ectojob => true, timestamps_opts => '{"inserted_at": false}');
INSERT INTO clocks (params, state, schedule, updated_at) VALUES ('{}', 'AVAILABLE', '2999-01-01 00:00:07Z', '2999-01-01 00:00:07Z') RETURNING state;
SELECT ecto_job.drop_queue('clocks');
SELECT ecto_job.create_queue('clocks', ectojob => true, timestamps_opts => 'false');
INSERT INTO clocks (params, state, schedule) VALUES ('{}', 'AVAILABLE', '2999-01-01 00:00:07Z') RETURNING state;
SELECT ecto_job.drop_queue('clocks');

-- The trigger ecto_job_lease, which only queues of these two kinds have
SET timezone = 'UTC';
CREATE FUNCTION pg_temp.reserve(queue regclass, id bigint, node_time timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('UPDATE %s SET state = ''RESERVED'', expires = date_trunc(''second'', $2) + interval ''1 minute'', updated_at = $2 WHERE id = $1', queue)
        USING id, node_time;
END
$$;
-- Returns whether the library's statement started the job
CREATE FUNCTION pg_temp.start(queue regclass, id bigint, node_time timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    started bigint;
BEGIN
    EXECUTE format('UPDATE %s SET attempt = attempt + 1, state = ''IN_PROGRESS'', expires = date_trunc(''second'', $2) + interval ''5 minutes'', updated_at = $2
                    WHERE id = $1 AND state = ''RESERVED'' AND expires >= $2', queue) USING id, node_time;
    GET DIAGNOSTICS started = ROW_COUNT;
    RETURN started = 1;
END
$$;
CREATE FUNCTION pg_temp.job(queue regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT concat_ws('' '', state, attempt, CASE WHEN lease IS NOT NULL THEN ''leased'' END, error) FROM %s', queue) INTO result;
    RETURN result;
END
$$;

-- A node whose clock is some minutes behind or ahead reserves and starts a job, with a sweep after each step. The
-- function returns the states, and the lengths of the leases by the server's clock, in minutes. All is one transaction,
-- which no scheduler sees
CREATE FUNCTION pg_temp.by_a_clock(queue regclass, behind interval, OUT reserved text, OUT reserved_for numeric, OUT started boolean, OUT performs text,
    OUT performs_for numeric) LANGUAGE plpgsql AS $$
DECLARE
    job bigint := ecto_job.enqueue(queue, '{}');
    lasts text := format('SELECT round(extract(epoch FROM expires - timezone(''UTC'', clock_timestamp())) / 60)::int FROM %s', queue);
BEGIN
    PERFORM pg_temp.reserve(queue, job, clock_timestamp() - behind);
    PERFORM ecto_job.sweep(queue);
    reserved := pg_temp.job(queue);
    EXECUTE lasts INTO reserved_for;
    started := pg_temp.start(queue, job, clock_timestamp() - behind);
    PERFORM ecto_job.sweep(queue);
    performs := pg_temp.job(queue);
    EXECUTE lasts INTO performs_for;
    EXECUTE format('DELETE FROM %s', queue);
END
$$;
SELECT ecto_job.create_queue('native'), ecto_job.create_queue('clocks', ectojob => true);
SELECT pg_temp.ectojob_table('adopted', 3);
SELECT ecto_job.adopt_queue('adopted');
SELECT queue, behind, r.* FROM unnest('{clocks,adopted}'::regclass[]) AS queue,
    unnest('{0,10 minutes,1 hour,23 hours,-10 minutes,49 hours}'::interval[]) AS behind, pg_temp.by_a_clock(queue, behind) AS r;
SELECT r.* FROM pg_temp.by_a_clock('native', '1 hour') AS r;
-- A lease that a user sets stays as it is
CREATE FUNCTION pg_temp.by_hand(queue regclass, OUT expired bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.reserve(queue, ecto_job.enqueue(queue, '{}'), clock_timestamp());
    EXECUTE format('UPDATE %s SET expires = clock_timestamp() - interval ''1 hour'', updated_at = clock_timestamp() - interval ''2 hours''', queue);
    expired := ecto_job.activate_expired_jobs(queue);
    EXECUTE format('UPDATE %s SET state = ''RESERVED'', expires = clock_timestamp() - interval ''1 hour'', updated_at = clock_timestamp()', queue);
    expired := expired + ecto_job.activate_expired_jobs(queue);
    EXECUTE format('DELETE FROM %s', queue);
END
$$;
SELECT pg_temp.by_hand('clocks'), pg_temp.by_hand('adopted');
-- The argument `now` of the extension's functions does not count as a node's clock
SELECT ecto_job.enqueue('clocks', '{}') > 0 AS enqueued;
SELECT state, expires - now AS lasts FROM (SELECT clock_timestamp() - interval '1 hour' AS now OFFSET 0) AS c, ecto_job.reserve_available_jobs('clocks', 1, now, 1000);
DELETE FROM clocks;

-- A job that the extension's function has reserved and the library starts is the library's: the lease has ended
CREATE FUNCTION pg_temp.started_late(queue regclass, OUT reserved text, OUT started text, OUT ours text) LANGUAGE plpgsql AS $$
DECLARE
    job ecto_job.job;
BEGIN
    PERFORM ecto_job.enqueue(queue, '{}');
    SELECT * INTO job FROM ecto_job.reserve_available_jobs(queue, 1);
    reserved := pg_temp.job(queue);
    PERFORM pg_temp.start(queue, job.id, clock_timestamp());
    started := pg_temp.job(queue);
    ours := pg_temp.outcome(format('SELECT ecto_job.complete_job(%L, %s, %s)', queue, job.id, job.lease));
    EXECUTE format('DELETE FROM %s', queue);
    -- a job that the extension's functions reserve and start has a lease
    PERFORM ecto_job.enqueue(queue, '{}');
    SELECT * INTO job FROM ecto_job.reserve_available_jobs(queue, 1);
    SELECT * INTO job FROM ecto_job.update_job_in_progress(queue, job.id, job.attempt);
    ours := concat_ws('; ', regexp_replace(ours, ' \d+ ', ' N '), pg_temp.job(queue));
    PERFORM ecto_job.complete_job(queue, job.id, job.lease);
END
$$;
SELECT queue, r.* FROM unnest('{clocks,adopted}'::regclass[]) AS queue, pg_temp.started_late(queue) AS r;
-- A transition of the extension that ends with an error has no effect on later statements
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
SELECT ecto_job.enqueue('clocks', '{}') > 0 AS enqueued;
SELECT id FROM ecto_job.reserve_available_jobs('clocks', 1) \gset
CREATE TRIGGER refuse BEFORE UPDATE ON clocks FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT pg_temp.outcome(format('SELECT * FROM ecto_job.update_job_in_progress(''clocks'', %s, 0)', :id));
DROP TRIGGER refuse ON clocks;
SELECT pg_temp.start('clocks', :id, clock_timestamp()), pg_temp.job('clocks');
DELETE FROM clocks;
DROP FUNCTION refuse();

-- The job's error is the error of the last attempt, or says that the reason is not known
CREATE FUNCTION pg_temp.reasons(queue regclass, OUT step text, OUT job text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    id bigint := ecto_job.enqueue(queue, '{}', max_attempts => 4);
    ours ecto_job.job;
BEGIN
    SELECT * INTO ours FROM ecto_job.start_available_jobs(queue);
    PERFORM ecto_job.fail_job(queue, id, ours.lease, 'ours');
    FOREACH step IN ARRAY ARRAY['ours fails', 'swept while reserved', 'the library fails', 'ours fails without a word', 'the library''s sweep', 'our sweep',
        'stopped by hand', 'requeued', 'failed by the library', 'expired by it', 'expired by ours'] LOOP
        IF step <> 'ours fails' THEN
            EXECUTE format('UPDATE %s SET state = ''AVAILABLE'', max_attempts = 4, attempt = LEAST(attempt, 2) WHERE state <> ''AVAILABLE''', queue);
        END IF;
        IF step ~ '^(failed|expired) by' THEN
            EXECUTE format('UPDATE %s SET max_attempts = attempt + 1', queue);
        END IF;
        IF step <> 'ours fails' AND step <> 'ours fails without a word' THEN
            PERFORM pg_temp.reserve(queue, id, clock_timestamp());
        END IF;
        IF step ~ 'library|our sweep|stopped|requeued|by it|by ours' THEN
            PERFORM pg_temp.start(queue, id, clock_timestamp());
        END IF;
        CASE step
            WHEN 'ours fails' THEN
            WHEN 'swept while reserved', 'our sweep', 'expired by ours' THEN
                PERFORM ecto_job.sweep(queue, clock_timestamp() + interval '1 hour');
            WHEN 'the library fails' THEN
                EXECUTE format('UPDATE %s SET state = ''RETRY'', schedule = clock_timestamp() + interval ''1 minute''', queue);
            WHEN 'ours fails without a word' THEN
                SELECT * INTO ours FROM ecto_job.start_available_jobs(queue);
                PERFORM ecto_job.fail_job(queue, id, ours.lease);
            WHEN 'the library''s sweep' THEN
                EXECUTE format('UPDATE %s SET state = ''AVAILABLE'', expires = NULL, updated_at = clock_timestamp() + interval ''1 hour''', queue);
            WHEN 'stopped by hand' THEN
                EXECUTE format('UPDATE %s SET state = ''FAILED'', error = ''by hand''', queue);
            WHEN 'requeued' THEN
                EXECUTE format('UPDATE %s SET state = ''SCHEDULED'', attempt = 0, updated_at = clock_timestamp() + interval ''1 hour''', queue);
            WHEN 'failed by the library' THEN
                EXECUTE format('UPDATE %s SET state = ''FAILED'', expires = NULL', queue);
            WHEN 'expired by it' THEN
                EXECUTE format('UPDATE %s SET state = ''FAILED'', expires = NULL, updated_at = clock_timestamp() + interval ''1 hour''', queue);
        END CASE;
        job := pg_temp.job(queue);
        RETURN NEXT;
    END LOOP;
    EXECUTE format('DELETE FROM %s', queue);
END
$$;
SELECT queue, r.* FROM unnest('{clocks,adopted}'::regclass[]) AS queue, pg_temp.reasons(queue) AS r;
SELECT ecto_job.drop_queue('native'), ecto_job.drop_queue('clocks'), ecto_job.drop_queue('adopted');
