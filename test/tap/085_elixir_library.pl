# EctoJob's Elixir library, represented by its statements, works on one queue with the scheduler and the consumer program
# of ecto_job at the same time. The test shows which notifications are sent, and that each job is done once, whichever
# side fails, dies or sweeps.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use ConsumerTest;
use IPC::Run;
use Test::More;

my $jobs = 300;
my $node = new_node(conf => "timezone = 'Asia/Kolkata'\ndeadlock_timeout = 100ms\n");

sub sql { return $node->safe_psql('postgres', shift); }

# A node of an Elixir application polls, reserves, starts and performs, each in a transaction of its own, until the
# queue is empty. Times are truncated to seconds, as in the library.
my $library = <<'SQL';
CREATE TABLE effects (n int PRIMARY KEY, who text);
CREATE PROCEDURE library_poll() LANGUAGE plpgsql AS $$
DECLARE
	time timestamptz := clock_timestamp();
BEGIN
	UPDATE "jobs" AS j0 SET "state" = 'FAILED', "expires" = NULL, "updated_at" = time WHERE (j0."state" IN ('IN_PROGRESS')) AND (j0."attempt" >= j0."max_attempts") AND (j0."expires" < time);
	COMMIT;
	UPDATE "jobs" AS j0 SET "state" = 'AVAILABLE', "updated_at" = time WHERE (j0."state" IN ('SCHEDULED','RETRY')) AND (j0."schedule" <= time);
	COMMIT;
	UPDATE "jobs" AS j0 SET "state" = 'AVAILABLE', "expires" = NULL, "updated_at" = time WHERE (j0."state" IN ('RESERVED','IN_PROGRESS')) AND (j0."attempt" < j0."max_attempts") AND (j0."expires" < time);
	COMMIT;
END
$$;
CREATE PROCEDURE library_work(demand int) LANGUAGE plpgsql AS $$
DECLARE
	time timestamptz := clock_timestamp();
	reserved jobs[];
	job jobs;
	started int;
BEGIN
	WITH library AS (WITH "available_jobs" AS (SELECT sj0."id" AS "id" FROM "jobs" AS sj0 WHERE (sj0."state" = 'AVAILABLE') ORDER BY sj0."priority", sj0."schedule", sj0."id" LIMIT demand FOR UPDATE SKIP LOCKED) UPDATE "jobs" AS j0 SET "state" = 'RESERVED', "expires" = date_trunc('second', time) + interval '2 s', "updated_at" = time FROM "available_jobs" AS a1 WHERE (j0."id" = a1."id") RETURNING j0)
	SELECT array_agg(j0) INTO reserved FROM library;
	COMMIT;
	FOREACH job IN ARRAY COALESCE(reserved, '{}') LOOP
		CONTINUE WHEN job.params ->> 'what' = 'never starts' AND random() < 0.5;
		time := clock_timestamp();
		UPDATE "jobs" AS j0 SET "attempt" = job.attempt + 1, "state" = 'IN_PROGRESS', "expires" = date_trunc('second', time) + interval '2 s', "updated_at" = time WHERE (j0."id" = job.id) AND (j0."attempt" = job.attempt) AND (j0."state" = 'RESERVED') AND (j0."expires" >= time);
		GET DIAGNOSTICS started = ROW_COUNT;
		COMMIT;
		CONTINUE WHEN started = 0 OR job.params ->> 'what' = 'dies' AND random() < 0.5;
		IF job.params ->> 'what' = 'fails' AND random() < 0.5 THEN
			UPDATE "jobs" AS j0 SET "state" = 'RETRY', "schedule" = date_trunc('second', clock_timestamp()) WHERE (j0."id" = job.id) AND (j0."state" = 'IN_PROGRESS') AND (j0."attempt" = job.attempt + 1);
		ELSE
			DELETE FROM "jobs" WHERE "attempt" = job.attempt + 1 AND "id" = job.id;
			IF FOUND THEN -- else Ecto.StaleEntryError
				INSERT INTO effects VALUES ((job.params ->> 'n')::int, 'library');
			END IF;
		END IF;
		COMMIT;
	END LOOP;
END
$$;
CREATE PROCEDURE library_node() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM jobs) LOOP
		CALL library_poll();
		CALL library_work(7);
	END LOOP;
END
$$;
CREATE FUNCTION perform(params jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF params ->> 'what' = 'fails' AND random() < 0.5 THEN
		RAISE 'failed';
	END IF;
	INSERT INTO effects VALUES ((params ->> 'n')::int, 'ours');
END
$$;
SQL

# insert($what, $n): returns the library's INSERT, from a node whose clock is right
sub insert
{
	my ($what, $n, $state, $schedule) = (@_, 'AVAILABLE', 'now()');
	return qq{INSERT INTO "jobs" ("attempt","max_attempts","params","priority","schedule","state","inserted_at","updated_at")
		SELECT 0, 1000, jsonb_build_object('what', '$what', 'n', n), 0, $schedule, '$state', now(), now() FROM $n AS n;};
}

# by_the_trigger($kind): tests queues whose trigger handles the library's statements: leases of nodes whose clock is
# wrong, and of sessions that have ended
sub by_the_trigger
{
	my $kind = shift;
	my $job = q{SELECT state, attempt FROM jobs WHERE params ->> 'n' = };
	my $start = q{UPDATE "jobs" SET "attempt" = 1, "state" = 'IN_PROGRESS', "expires" = time + interval '5 min', "updated_at" = time
		FROM date_trunc('second', clock_timestamp() - interval '%s') AS time WHERE params ->> 'n' = '3' AND "attempt" = 0 AND "state" = 'RESERVED' AND "expires" >= time};

	# A node whose clock is an hour behind
	wait_for_sleep($node);
	sql(insert('is done', 'generate_series(3, 3)'));
	sql(q{UPDATE "jobs" SET "state" = 'RESERVED', "expires" = time + interval '1 min', "updated_at" = time
		FROM date_trunc('second', clock_timestamp() - interval '1 hour') AS time});
	wait_for_sleep($node);
	is(sql($job . "'3'"), 'RESERVED|0', "$kind: a job that a node whose clock is behind has reserved is not taken back");
	sql(sprintf($start, '1 hour'));
	wait_for_sleep($node);
	is(sql($job . "'3'"), 'IN_PROGRESS|1', "$kind: a job that a node whose clock is behind has started is not taken back");
	sql('DELETE FROM jobs');

	# A session reserves two jobs by ecto_job's function, and the library starts one of them
	sql(insert('is done', 'generate_series(3, 4)'));
	my $session = session($node);
	$session->query_safe(q{SET ecto_job.session_leases = on; SELECT count(*) FROM ecto_job.reserve_available_jobs('jobs', 2)});
	sql(sprintf($start, '0'));
	$session->quit;
	becomes($node, $job . "'4'", 'AVAILABLE|0', "$kind: a job that an ended session of ours had reserved comes back");
	is(sql($job . "'3'"), 'IN_PROGRESS|1', "$kind: a job that an ended session of ours had reserved and the library has started stays the library's");
	sql('DELETE FROM jobs');
	return;
}

sub check
{
	my ($kind, $make) = @_;
	sql($make);
	sql($library);
	sql("SELECT ecto_job.create_queue('fence')");
	becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 2, "$kind: the scheduler serves both queues");
	sql("SELECT ecto_job.configure_queue('jobs', execution_timeout => '2 s', retry_timeout => '0')");
	$ENV{PGTZ} = 'UTC'; # the statements here have times with a zone, the library's have not
	by_the_trigger($kind) if $kind ne 'native';
	wait_for_sleep($node);

	# A job that becomes AVAILABLE is announced; its reserve, start and deletion are not, or notifications would never end
	my $listener = new_listener($node, 'jobs');
	sql(insert('is done', 'generate_series(1, 1)'));
	is(notifications($listener), 'jobs:scheduler', "$kind: the library's INSERT notifies");
	sql('CALL library_work(7)');
	sql('CALL library_work(7)');
	sql('CALL library_poll()');
	is(notifications($listener), '', "$kind: the library's other statements send no notification");
	is(sql('SELECT * FROM effects'), '1|library', "$kind: the library does the job");
	sql(insert('is done', 'generate_series(2, 2)', 'SCHEDULED', "now() + interval '300 ms'"));
	is(next_notification($listener, 'jobs', 10), 'jobs:scheduler', "$kind: a job that is due notifies");
	$listener->{session}->quit;

	# The library, the consumer program and the scheduler at the same time
	my $step = 3;
	for my $what ('is done', 'fails', 'dies', 'never starts')
	{
		my $last = $step + $jobs / 4 - 1;
		sql(insert($what, "generate_series($step, $last)", 'SCHEDULED', "clock_timestamp() + n * interval '5 ms'"));
		$step = $last + 1;
	}
	my @nodes = map { IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'CALL library_node()' ],
			'<', \undef, '>&', \my $output) } 1;
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--sql', 'SELECT perform($1)', '-j', '2', '--log-level', 'warning');
	becomes($node, 'SELECT count(*) FROM jobs', 0, "$kind: the library and our consumer do all jobs");
	ok($_->finish, "$kind: the library's node ended without an error") for @nodes;
	$consumer->signal('TERM');
	is($consumer->end, 0, "$kind: our consumer exits with 0 after SIGTERM");
	is(sql('SELECT count(*), count(DISTINCT n) FROM effects'), join('|', ($jobs + 2) x 2), "$kind: each job is done once");
	note($kind, ': ', sql("SELECT string_agg(who || ' ' || count, ', ') FROM (SELECT who, count(*) FROM effects GROUP BY 1 ORDER BY 1) AS c"));
	my ($ours, $its) = map { sql("SELECT count(*) FROM effects WHERE who = '$_'") } 'ours', 'library';
	ok($ours > 0 && $its > 2, "$kind: the library and our consumer both do some of the jobs");
	delete $ENV{PGTZ};
	sql(q{DROP TABLE effects, jobs, fence; DROP FUNCTION perform; DROP PROCEDURE library_poll, library_work, library_node});
}

check('native', "SELECT ecto_job.create_queue('jobs')");
check('ectojob', "SELECT ecto_job.create_queue('jobs', ectojob => true)");

(my $ectojob = slurp_source('test/regress/ectojob.sql')) =~ s/^--.*\n//mg;
check('adopted', "$ectojob SELECT pg_temp.ectojob_table('jobs', 3); SELECT ecto_job.adopt_queue('jobs')");

$node->stop;
done_testing();
