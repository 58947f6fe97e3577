-- enqueue: the columns that it writes, its defaults, and its errors.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('enqueue_jobs');

-- Only params are given
BEGIN;
SELECT ecto_job.enqueue('enqueue_jobs', '{"to": "ada"}');
SELECT id, state, expires, attempt, lease, max_attempts, priority, params, notify, key, error, meta,
       schedule >= now() AND schedule <= clock_timestamp() AS clock, inserted_at = now() AT TIME ZONE 'UTC' AS utc
FROM enqueue_jobs;
COMMIT;

-- All arguments, in named notation
SELECT ecto_job.enqueue(queue => 'enqueue_jobs', params => '{"to": "bob"}', schedule => '2001-02-03 04:05:06.789',
    max_attempts => 2147483647, priority => -2147483648, notify => 'to bob', meta => '[1, {"trace": null}]',
    on_conflict => 'keep', now => '1999-01-01');
SELECT id, state, schedule, max_attempts, priority, notify, meta FROM enqueue_jobs WHERE id = 2;

-- schedule is `now` if NULL; the job is SCHEDULED if its schedule is in the future by the clock, whatever `now` is
SELECT ecto_job.enqueue('enqueue_jobs', '{}', now => '2002-01-01');
SELECT ecto_job.enqueue('enqueue_jobs', '{}', now => '2999-01-01');
SELECT ecto_job.enqueue('enqueue_jobs', '{}', '2999-01-01', now => '3000-01-01');
SELECT ecto_job.enqueue('enqueue_jobs', '{}', '4713-01-01 BC');
SELECT ecto_job.enqueue('enqueue_jobs', '{}', '294276-12-31 23:59:59.999999');
SELECT id, state, schedule FROM enqueue_jobs WHERE id > 2 ORDER BY id;

-- The clock counts, not the transaction's now()
BEGIN;
SELECT pg_sleep(0.002);
SELECT ecto_job.enqueue('enqueue_jobs', '{}');
SELECT schedule > now() AS later_than_the_transaction FROM enqueue_jobs WHERE id = 8;
ROLLBACK;
SELECT count(*) FROM enqueue_jobs WHERE id = 8;

-- max_attempts is by default the queue's setting
SELECT max_attempts FROM ecto_job.configure_queue('enqueue_jobs', max_attempts => 9);
SELECT ecto_job.enqueue('enqueue_jobs', '{}');
SELECT max_attempts FROM enqueue_jobs WHERE id = 9;

-- notify has at most 255 characters, not bytes; an empty text is a payload
SELECT ecto_job.enqueue('enqueue_jobs', '{}', notify => repeat('ä', 255));
SELECT ecto_job.enqueue('enqueue_jobs', '{}', notify => '');
SELECT length(notify), octet_length(notify) FROM enqueue_jobs WHERE id > 9 ORDER BY id;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''enqueue_jobs'', ''{}'', notify => repeat(''ä'', 256))');

-- Arguments that are refused
SELECT pg_temp.outcome(format('SELECT ecto_job.enqueue(''enqueue_jobs'', %s)', arguments))
FROM unnest(ARRAY[
    'NULL', '''[]''', '''1''', '''null''', '''"text"''',
    'NULL, params_binary => ''x''', '''{}'', params_binary => ''x''',
    '''{}'', ''infinity''', '''{}'', ''-infinity''', '''{}'', now => ''infinity''', '''{}'', now => ''-infinity''',
    '''{}'', max_attempts => 0', '''{}'', max_attempts => -2147483648',
    '''{}'', on_conflict => ''other''', '''{}'', on_conflict => ''''']) AS arguments;
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(NULL, ''{}'')');
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''no_such_table'', ''{}'')');
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''pg_class'', ''{}'')');
SELECT ecto_job.enqueue('enqueue_jobs', '{}', on_conflict => NULL);

-- A trigger that suppresses the INSERT makes the call an error
CREATE FUNCTION enqueue_swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER enqueue_swallow BEFORE INSERT ON enqueue_jobs FOR EACH ROW EXECUTE FUNCTION enqueue_swallow();
SELECT pg_temp.outcome('SELECT ecto_job.enqueue(''enqueue_jobs'', ''{}'')');
DROP TRIGGER enqueue_swallow ON enqueue_jobs;
DROP FUNCTION enqueue_swallow;
SELECT count(*), min(id), max(id) FROM enqueue_jobs WHERE params = '{}' AND id > 9;

SELECT ecto_job.drop_queue('enqueue_jobs');
