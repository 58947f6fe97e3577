# The code of a queue's owner runs in the scheduler's session. The code cannot make that session end at its next error,
# and leaves nothing there that affects other owners. When the code leaves what a process cannot release, or ends the
# process, only the queues of its owner back off.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $node = new_node(conf => "ecto_job.sweep_timeout = '500 ms'\nlog_timezone = 'UTC'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub as_mallory { return $node->safe_psql('postgres', shift, extra_params => [ '-U', 'mallory' ]); }
sub job_due { return "INSERT INTO $_[0] (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')"; }

sub victim_is_swept
{
	my ($name) = @_;
	sql(job_due('victim'));
	return becomes($node, "SELECT count(*) FROM victim WHERE state = 'SCHEDULED'", 0, $name);
}

# exit_on_error, set for the database, does not affect the scheduler
sql(q{CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory;
	ALTER DATABASE postgres SET exit_on_error = on;
	SELECT ecto_job.create_queue('victim'); CREATE TABLE tried (what text, result text);
	GRANT INSERT, SELECT ON tried TO mallory});
as_mallory('CREATE SEQUENCE numbers');
victim_is_swept('a queue is swept before the tries');
my $pid = scheduler_pid($node);

# What code in a sweep may try, and the result
my @tries = (
	[ q{SELECT set_config('exit_on_error', 'on', false)}, qr/within security-restricted operation/ ],
	[ q{SET LOCAL exit_on_error = on}, qr/within security-restricted operation/ ],
	[ q{SELECT set_config('role', 'postgres', false)}, qr/within security-restricted operation/ ],
	[ q{LISTEN mine}, qr/within security-restricted operation/ ],
	[ q{CREATE TEMP TABLE kept ()}, qr/within security-restricted operation/ ],
	[ q{PREPARE kept AS SELECT 1}, qr/within security-restricted operation/ ],
	[ q{DISCARD PLANS}, qr/within security-restricted operation/ ],
	[ q{LOAD 'anything'}, qr/access to library "anything" is not allowed/ ],
	[ q{SET TRANSACTION ISOLATION LEVEL SERIALIZABLE}, qr/must be called before any query/ ],
	# PostgreSQL 16 has changed the messages
	[ q{SELECT pg_terminate_backend(pg_backend_pid())}, qr/^must be a superuser to terminate superuser process$|^permission denied to terminate process$/ ],
	[ q{SELECT pg_cancel_backend(pg_backend_pid())}, qr/^must be a superuser to cancel superuser query$|^permission denied to cancel query$/ ],
	[ q{SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY}, qr/^done/ ],
	[ q{SELECT set_config('statement_timeout', '1', false)}, qr/^done/ ],
	[ q{SELECT set_config('lock_timeout', '1', false)}, qr/^done/ ],
	[ q{SELECT set_config('mallory.own', 'hers', false)}, qr/^done/ ],
	[ q{SELECT pg_advisory_lock(31)}, qr/^done/ ],
	[ q{SELECT nextval('public.numbers')}, qr/^done/ ],
	[ q{SELECT lo_open(lo_create(0), 131072)}, qr/^done/ ],
	[ q{SELECT pg_notify('mine', 'by mallory')}, qr/^done/ ],);
my $statements = join ', ', map { "\$s\$$_->[0]\$s\$" } @tries;
as_mallory(qq{SELECT ecto_job.create_queue('tries');
	CREATE FUNCTION try() RETURNS trigger LANGUAGE plpgsql AS \$\$
	DECLARE statement text;
	BEGIN
		INSERT INTO public.tried SELECT 'seen ' || name, setting FROM pg_settings
			WHERE name IN ('exit_on_error', 'default_transaction_read_only', 'statement_timeout', 'lock_timeout', 'application_name');
		INSERT INTO public.tried VALUES ('seen mallory.own', coalesce(current_setting('mallory.own', true), ''));
		INSERT INTO public.tried SELECT 'seen cursor', name FROM pg_cursors WHERE is_holdable;
		BEGIN
			INSERT INTO public.tried VALUES ('seen sequence', currval('public.numbers'));
		EXCEPTION WHEN OTHERS THEN NULL; END;
		FOREACH statement IN ARRAY ARRAY[$statements] LOOP
			BEGIN
				EXECUTE statement;
				INSERT INTO public.tried VALUES (statement, 'done');
			EXCEPTION WHEN OTHERS THEN INSERT INTO public.tried VALUES (statement, SQLERRM); END;
		END LOOP;
		BEGIN
			DECLARE kept CURSOR FOR SELECT 1; BEGIN OPEN kept; END;
			EXECUTE 'DECLARE holding CURSOR WITH HOLD FOR SELECT 1';
			INSERT INTO public.tried VALUES ('holding', 'done');
		EXCEPTION WHEN OTHERS THEN INSERT INTO public.tried VALUES ('holding', SQLERRM); END;
		RETURN NEW;
	END \$\$;
	CREATE TRIGGER try BEFORE UPDATE ON tries FOR EACH ROW EXECUTE FUNCTION try()});
as_mallory(job_due('tries'));
becomes($node, "SELECT count(*) FROM tries WHERE state = 'AVAILABLE'", 1, 'the tries are made in a sweep');
for my $try (@tries)
{
	my ($statement, $result) = @$try;
	like(sql("SELECT result FROM tried WHERE what = \$s\$$statement\$s\$"), $result,
		"in a sweep this has its expected result: $statement");
}
like(sql("SELECT result FROM tried WHERE what = 'holding'"), qr/WITH HOLD within security-restricted|cannot/,
	'in a sweep a cursor WITH HOLD is refused');
sql('TRUNCATE tried');
as_mallory(job_due('tries'));
becomes($node, "SELECT count(*) FROM tries WHERE state = 'AVAILABLE'", 2, 'the tries are made in another sweep');
is(sql("SELECT string_agg(what || ' = ' || result, ', ' ORDER BY what) FROM tried WHERE what ~ '^seen'"),
	'seen application_name = ecto_job scheduler, seen default_transaction_read_only = off, seen exit_on_error = off, '
	  . 'seen lock_timeout = 0, seen mallory.own = , seen statement_timeout = 0',
	'the next sweep meets nothing of what was tried: no setting, no sequence, no cursor');
becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 31", 0,
	'no advisory lock stays after the sweep');
is(scheduler_pid($node), $pid, 'the scheduler is the same process after the tries');

# The setting that turns an error into the end of the process
as_mallory(q{CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM set_config('exit_on_error', 'on', true); RAISE EXCEPTION 'x'; END $$});
for my $i (1 .. 3)
{
	as_mallory("SELECT ecto_job.create_queue('boom$i');
		CREATE TRIGGER b BEFORE UPDATE ON boom$i FOR EACH ROW EXECUTE FUNCTION boom(); " . job_due("boom$i"));
}
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE queue::text ~ 'boom' AND status ~ '^failing: cannot set parameter'",
	3, 'code that wants errors to end the process fails');
victim_is_swept('another queue is swept beside those that want errors to end the process');
is(scheduler_pid($node), $pid, 'the scheduler is the same process after code that wants errors to end it');

# Settings of new names, which a process keeps until it ends
as_mallory(q{SELECT ecto_job.create_queue('litter');
	CREATE FUNCTION litter() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('mallory.' || repeat('x', 200) || NEW.id || '_' || i, '', true) FROM generate_series(1, 100) AS i;
		RETURN NEW;
	END $$;
	CREATE TRIGGER litter BEFORE UPDATE ON litter FOR EACH ROW EXECUTE FUNCTION litter()});
my $offset = -s $node->logfile;
as_mallory(job_due('litter'));
ok(wait_for_log($node, qr/WARNING:  sweep of queue "public.litter" failed: its code leaves settings behind/, $offset),
	'a sweep that leaves settings behind counts as failed');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $pid", 1,
	'the process in which settings were left behind is replaced');
like(sql("SELECT status FROM ecto_job.queues WHERE queue = 'litter'::regclass"), qr/^failing: its code leaves settings behind/,
	'the status says that settings are left behind');
victim_is_swept('another queue is swept by the process without the settings');

# Functions of new names, which PL/pgSQL keeps compiled when they are dropped. Each has many variables, so that few
# functions suffice
sql('CREATE SCHEMA hoard AUTHORIZATION mallory');
as_mallory(q{SELECT ecto_job.create_queue('hoard');
	CREATE FUNCTION hoard() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		variables text := (SELECT string_agg('v' || i || ' int;', ' ') FROM generate_series(1, 2000) AS i);
	BEGIN
		FOR i IN 1 .. 10 LOOP
			EXECUTE format('CREATE FUNCTION hoard.f_%s_%s() RETURNS int LANGUAGE plpgsql AS $f$ DECLARE %s BEGIN RETURN 1; END $f$', NEW.id, i, variables);
			EXECUTE format('SELECT hoard.f_%s_%s()', NEW.id, i);
			EXECUTE format('DROP FUNCTION hoard.f_%s_%s()', NEW.id, i);
		END LOOP;
		RETURN NEW;
	END $$;
	CREATE TRIGGER hoard BEFORE UPDATE ON hoard FOR EACH ROW EXECUTE FUNCTION hoard()});
$pid = scheduler_pid($node);
$offset = -s $node->logfile;
as_mallory("INSERT INTO hoard (params, schedule, state) SELECT '{}', clock_timestamp(), 'SCHEDULED' FROM generate_series(1, 100)");
ok(wait_for_log($node, qr/WARNING:  sweep of queue "public.hoard" failed: its code leaves memory behind/, $offset),
	'a sweep that leaves memory behind counts as failed');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $pid", 1,
	'the process that kept the memory is replaced');
like(sql("SELECT status FROM ecto_job.queues WHERE queue = 'hoard'::regclass"), qr/^failing: its code leaves memory behind/,
	'the status says that memory is left behind');
victim_is_swept('another queue is swept by the process without the memory');
as_mallory("SELECT ecto_job.drop_queue(queue) FROM ecto_job.queues WHERE queue <> 'victim'::regclass");

# Code that forces the end of the process, since it catches the cancellation at the time limit. One owner has many such queues
as_mallory(q{CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$});
$offset = -s $node->logfile;
for my $i (1 .. 6)
{
	as_mallory("SELECT ecto_job.create_queue('hold$i');
		CREATE TRIGGER h BEFORE UPDATE ON hold$i FOR EACH ROW EXECUTE FUNCTION hold(); " . job_due("hold$i"));
}
# moments($pattern): returns the times of the log's lines that match, in seconds
sub moments
{
	my ($pattern) = @_;
	my @times;
	for (split /\n/, slurp_file($node->logfile, $offset))
	{
		push @times, timegm($6, $5, $4, $3, $2 - 1, $1) + $7 / 1000
		  if /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)\.(\d+) UTC.*$pattern/;
	}
	return @times;
}
my $ended = qr/FATAL:  terminating background worker "ecto_job scheduler/;
my $said = qr/WARNING:  sweep of queue "public.hold\d" failed: the scheduler ended during it/;
ok(poll_until(sub { moments($said) >= 4 }, 'four ends of the scheduler'), 'code that does not stop ends the scheduler');
victim_is_swept('another queue is swept between the ends of the scheduler');
my @ended = moments($ended);
my @said = moments($said);
# Four pauses of the launcher would be 1, 2, 4 and 8 s
cmp_ok($said[3] - $ended[3], '<', 6, 'a scheduler that ended in a sweep is started again at once');
cmp_ok($ended[3] - $ended[2], '>', 4, 'the other queues of that owner wait more than 4 s before the fourth end');
is(sql("SELECT status FROM ecto_job.queues WHERE queue = 'victim'::regclass"), 'ok', "another owner's queue is ok");

$node->stop;
done_testing();
