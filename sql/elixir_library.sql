-- The statements of EctoJob's Elixir library on every kind of queue, whatever the session's TimeZone. Ours
-- work with what they leave, and they with what ours do.
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

-- Upgraded by EctoJob's own migration after it was adopted
SELECT pg_temp.ectojob_table('jobs', 2);
SELECT ecto_job.adopt_queue('jobs');
SELECT pg_temp.ectojob_up_3('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

-- Erlang terms
\set params '\'\\x836101\''
SELECT ecto_job.create_queue('jobs', ectojob => true, params_type => 'binary', timestamps_opts => '{"type": "naive_datetime"}');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

SELECT pg_temp.ectojob_table('jobs', 3, 'public', 'inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL', 'bytea');
SELECT ecto_job.adopt_queue('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');
RESET timezone;

-- A node whose clock is ahead enqueues what is due by that clock; what is for the future is SCHEDULED. The
-- library cuts the time at which it enqueues to whole seconds, or does not.
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
