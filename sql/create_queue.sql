-- create_queue: the table, the registry's row, every option, and the errors.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.create_queue('cq_jobs');
SELECT params_type, inserted_at, updated_at, poll_interval, reservation_timeout, execution_timeout,
       retry_timeout, max_attempts, options
FROM ecto_job.queue_settings WHERE queue = 'cq_jobs'::regclass;

-- The table
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull AS not_null, attidentity AS identity,
       attgenerated AS generated, pg_get_expr(adbin, adrelid) AS default
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'cq_jobs'::regclass AND attnum > 0 ORDER BY attnum;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'cq_jobs'::regclass AND contype <> 'n' ORDER BY conname;
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'cq_jobs'::regclass ORDER BY indexrelid::regclass::text COLLATE "C";
SELECT pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = 'cq_jobs'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT unnest(reloptions) FROM pg_class WHERE oid = 'cq_jobs'::regclass ORDER BY 1;
SELECT unnest(t.reloptions) FROM pg_class AS c JOIN pg_class AS t ON t.oid = c.reltoastrelid
WHERE c.oid = 'cq_jobs'::regclass ORDER BY 1;
SELECT count(*) AS columns_without_comment FROM pg_attribute
WHERE attrelid = 'cq_jobs'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL;
SELECT count(*) AS triggers_without_comment FROM pg_trigger
WHERE tgrelid = 'cq_jobs'::regclass AND NOT tgisinternal AND obj_description(oid, 'pg_trigger') IS NULL;
SELECT obj_description('cq_jobs'::regclass, 'pg_class');

-- CHECKs of state, attempt and params; expires has none
SELECT pg_temp.outcome(format('INSERT INTO cq_jobs (params, state) VALUES (''{}'', %L)', state))
FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED,DONE,available,NULL}'::text[]) AS state;
SELECT pg_temp.outcome($$INSERT INTO cq_jobs (params, attempt) VALUES ('{}', -1)$$);
SELECT pg_temp.outcome($$INSERT INTO cq_jobs (params, max_attempts) VALUES ('{}', 0)$$);
SELECT pg_temp.outcome(format('INSERT INTO cq_jobs (params) VALUES (%L)', params))
FROM unnest('{"[]",1,"\"text\"",null}'::text[]) AS params;
SELECT pg_temp.outcome($$INSERT INTO cq_jobs (params) VALUES ('null')$$);
SELECT pg_temp.outcome(format('INSERT INTO cq_jobs (params, notify) VALUES (''{}'', repeat(''x'', %s))', n))
FROM generate_series(255, 256) AS n;
SELECT pg_temp.outcome($$INSERT INTO cq_jobs (params, state, expires) VALUES ('{}', 'IN_PROGRESS', NULL)$$);
SELECT pg_temp.outcome($$INSERT INTO cq_jobs (params, in_play) VALUES ('{}', true)$$);
TRUNCATE cq_jobs RESTART IDENTITY;

-- The generated columns
INSERT INTO cq_jobs (params, state, key)
SELECT '{}', state, lower(state) FROM unnest('{SCHEDULED,AVAILABLE,RESERVED,IN_PROGRESS,RETRY,FAILED}'::text[]) AS state;
SELECT state, in_play, waiting_key FROM cq_jobs ORDER BY id;

-- A second call returns the queue if the options are equal
SELECT ecto_job.create_queue('cq_jobs');
SELECT ecto_job.create_queue('cq_jobs', 'public', '{"type": "utc_datetime_usec", "inserted_at": "inserted_at"}');
SELECT count(*) FROM cq_jobs;
SELECT pg_temp.outcome(format('SELECT ecto_job.create_queue(''cq_jobs'', %s)', options))
FROM unnest(ARRAY[
    'params_type => ''binary''',
    'timestamps_opts => ''false''',
    'timestamps_opts => ''{"updated_at": false}''',
    'timestamps_opts => ''{"inserted_at": "created"}''',
    'timestamps_opts => ''{"type": "naive_datetime"}''', 'ectojob => true']) AS options;

-- ectojob => true: the index that the library's reserve needs, no statistics of state, the trigger that clears leases
SELECT ecto_job.create_queue('cq_ectojob', ectojob => true);
SELECT ecto_job.create_queue('cq_ectojob', ectojob => true);
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''cq_ectojob'')');
SELECT queue, kind FROM ecto_job.queue_settings WHERE queue IN ('cq_jobs'::regclass, 'cq_ectojob'::regclass) ORDER BY 1;
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'cq_ectojob'::regclass ORDER BY indexrelid::regclass::text COLLATE "C";
SELECT attstattarget FROM pg_attribute WHERE attrelid = 'cq_ectojob'::regclass AND attname = 'state';
SELECT pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger') FROM pg_trigger
WHERE tgrelid = 'cq_ectojob'::regclass AND tgname = 'ecto_job_lease';
-- The leases after the library's reserve, start, sweeps and requeue
INSERT INTO cq_ectojob (params) VALUES ('{}');
UPDATE cq_ectojob SET lease = 8, state = 'RESERVED' RETURNING lease;
UPDATE cq_ectojob SET expires = '2031-01-01' RETURNING state, lease;
UPDATE cq_ectojob SET state = 'IN_PROGRESS', attempt = 1 RETURNING state, lease;
UPDATE cq_ectojob SET state = 'AVAILABLE', expires = NULL RETURNING state, lease;
UPDATE cq_ectojob SET state = 'IN_PROGRESS', lease = 8 RETURNING state, lease;
UPDATE cq_ectojob SET state = 'RETRY', schedule = '2040-01-01' RETURNING state, lease;
UPDATE cq_ectojob SET state = 'FAILED', lease = 8 RETURNING state, lease;
UPDATE cq_ectojob SET state = 'SCHEDULED', attempt = 0 RETURNING state, lease;
SELECT ecto_job.drop_queue('cq_ectojob');
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''cq_null'', ectojob => NULL)');

-- timestamps_opts
SELECT ecto_job.create_queue('cq_named', timestamps_opts =>
    '{"inserted_at": "Born \"here\"", "updated_at": "changed", "type": "utc_datetime"}');
SELECT ecto_job.create_queue('cq_naive', timestamps_opts => '{"updated_at": false, "type": "naive_datetime_usec"}');
SELECT ecto_job.create_queue('cq_timeless', timestamps_opts => 'false');
SELECT attrelid::regclass::text AS queue, attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid IN ('cq_named'::regclass, 'cq_naive'::regclass, 'cq_timeless'::regclass)
  AND atttypid = 'timestamp'::regtype ORDER BY 1, 2;
SELECT queue, inserted_at, updated_at FROM ecto_job.queue_settings
WHERE queue IN ('cq_named'::regclass, 'cq_naive'::regclass, 'cq_timeless'::regclass) ORDER BY queue::text;
SELECT pg_temp.outcome(format('SELECT ecto_job.create_queue(''cq_bad'', timestamps_opts => %L)', options))
FROM unnest(ARRAY['true', 'null', '[]', '"false"', '1', '{"Type": "naive_datetime"}',
    '{"inserted_at": true}', '{"inserted_at": null}', '{"updated_at": ""}', '{"updated_at": 7}',
    '{"type": "timestamptz"}', '{"type": null}', '{"type": {}}', '{"inserted_at": ["id"]}',
    '{"inserted_at": "' || repeat('x', 63) || 'y"}', '{"inserted_at": "id"}',
    '{"inserted_at": "t", "updated_at": "t"}', '{"inserted_at": "ctid"}']) AS options;
SELECT ecto_job.create_queue('cq_named', timestamps_opts =>
    '{"inserted_at": "Born \"here\"", "updated_at": "changed", "type": "naive_datetime"}');

-- The functions write times into whichever timestamp columns a table has
SELECT ecto_job.enqueue('cq_named', '{"n": 1}') > 0 AS enqueued;
SELECT ecto_job.enqueue('cq_naive', '{"n": 1}') > 0 AS enqueued;
SELECT ecto_job.enqueue('cq_timeless', '{"n": 1}') > 0 AS enqueued;
SELECT state, updated_at, inserted_at IS NULL AS timeless
FROM (SELECT *, 1 AS no FROM ecto_job.start_available_jobs('cq_named', now => '2031-02-03 04:05:06')
      UNION ALL SELECT *, 2 FROM ecto_job.start_available_jobs('cq_naive', now => '2031-02-03 04:05:06')
      UNION ALL SELECT *, 3 FROM ecto_job.start_available_jobs('cq_timeless', now => '2031-02-03 04:05:06')) AS j
ORDER BY no;

-- Schemas: named, the first of the search_path, none
CREATE SCHEMA cq_app;
SELECT ecto_job.create_queue('cq_jobs', 'cq_app');
SELECT ecto_job.create_queue('cq_jobs', schema_prefix => 'cq_app');
SET search_path = cq_app;
SELECT ecto_job.create_queue('cq_second');
SELECT ecto_job.enqueue('cq_jobs', '{}'), ecto_job.enqueue('public.cq_jobs', '{}') AS other;
SET search_path = public;
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''cq_jobs'', ''nowhere'')');
SELECT pg_temp.outcome('SET LOCAL search_path = ''''; SELECT ecto_job.create_queue(''cq_jobs'')');
-- Without a right on the schema the error says what to do, and shows no internal statement
CREATE ROLE cq_stranger;
CREATE SCHEMA "Cq closed";
SET ROLE cq_stranger;
SELECT ecto_job.create_queue('cq_jobs', 'Cq closed');
RESET ROLE;
-- CREATE or USAGE alone is not enough
GRANT CREATE ON SCHEMA "Cq closed" TO cq_stranger;
SET ROLE cq_stranger;
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(''cq_jobs'', ''Cq closed'')');
RESET ROLE;
GRANT USAGE ON SCHEMA "Cq closed" TO cq_stranger;
SET ROLE cq_stranger;
SELECT ecto_job.create_queue('cq_jobs', 'Cq closed');
SELECT ecto_job.drop_queue('"Cq closed".cq_jobs');
RESET ROLE;
DROP SCHEMA "Cq closed";
DROP ROLE cq_stranger;

-- Names
SELECT ecto_job.create_queue('Odd "name"; DROP');
SELECT ecto_job.enqueue('"Odd ""name""; DROP"', '{}');
SELECT ecto_job.create_queue(repeat('n', 53)) = repeat('n', 53)::regclass AS made;
SELECT ecto_job.create_queue(repeat('ä', 26) || 'a') = (repeat('ä', 26) || 'a')::regclass AS made;
SELECT pg_temp.outcome(format('SELECT ecto_job.create_queue(%L)', name))
FROM unnest(ARRAY[repeat('n', 54), repeat('ä', 27), '', E'line\nfeed', E'bell\x07', E'del\x7f']) AS name;
SELECT pg_temp.outcome('SELECT ecto_job.create_queue(NULL)');
SELECT left(pg_temp.outcome(format('SELECT ecto_job.create_queue(repeat(''n'', %s))', n)), 30)
FROM unnest('{63,64,1000000}'::int[]) AS n;

-- A relation of that name exists
CREATE TABLE cq_table (id bigint);
CREATE VIEW cq_view AS SELECT 1 AS id;
CREATE SEQUENCE cq_sequence;
CREATE INDEX cq_index ON cq_table (id);
SELECT pg_temp.outcome(format('SELECT ecto_job.create_queue(%L)', name))
FROM unnest('{cq_table,cq_view,cq_sequence,cq_index}'::text[]) AS name;

-- Other arguments
SELECT pg_temp.outcome(format('SELECT ecto_job.create_queue(''cq_bad'', %s)', options))
FROM unnest(ARRAY['params_type => ''json''', 'params_type => ''''', 'params_type => ''Map''',
    'params_type => NULL']) AS options;
SELECT to_regclass('cq_bad') IS NULL AS nothing_made;

-- All or nothing
BEGIN;
SELECT ecto_job.create_queue('cq_rolled_back');
ROLLBACK;
SELECT to_regclass('cq_rolled_back') IS NULL AS no_table;
SELECT count(*) AS registered_without_table FROM ecto_job.queue_settings AS s
WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = s.queue);

-- The owner has renamed a column
ALTER TABLE cq_naive RENAME inserted_at TO renamed_at;
SELECT ecto_job.create_queue('cq_naive');
SELECT ecto_job.drop_queue('cq_app.cq_jobs'), ecto_job.drop_queue('cq_app.cq_second'),
       ecto_job.drop_queue('"Odd ""name""; DROP"'), ecto_job.drop_queue(repeat('n', 53)::regclass),
       ecto_job.drop_queue((repeat('ä', 26) || 'a')::regclass), ecto_job.drop_queue('cq_named'),
       ecto_job.drop_queue('cq_naive'), ecto_job.drop_queue('cq_timeless'), ecto_job.drop_queue('cq_jobs');
DROP SCHEMA cq_app;
DROP VIEW cq_view;
DROP SEQUENCE cq_sequence;
DROP TABLE cq_table;
