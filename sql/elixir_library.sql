-- The statements of EctoJob's Elixir library on every kind of queue, whatever the session's TimeZone. Ours
-- work with what they leave, and they with what ours do.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
\set params '\'{"n": 1}\''
SELECT ecto_job.create_queue('jobs');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

SET timezone = 'America/New_York';
SELECT ecto_job.create_queue('jobs', ectojob => true);
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');

-- Erlang terms
\set params '\'\\x836101\''
SELECT ecto_job.create_queue('jobs', ectojob => true, params_type => 'binary', timestamps_opts => '{"type": "naive_datetime"}');
\i :top/test/regress/elixir_library.sql
SELECT ecto_job.drop_queue('jobs');
