# Due times: a job is moved at its time, with poll_interval at its default of 60 s, and an idle scheduler runs no query
# and hardly wakes. The test prints how late each job was, and asserts limits that a slow machine keeps, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# $soon, in seconds, is far below the 60 s of poll_interval, and of sweep_timeout: PostgreSQL does not stop the timer of
# sweep_timeout with the sweep, so it wakes the scheduler, which then finds due jobs by accident
my $soon = 10;
my $node = new_node(conf => "max_prepared_transactions = 2\necto_job.sweep_timeout = '1 min'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub becomes_soon { becomes($node, @_[ 0 .. 2 ], $soon); }

# schedule($what, $interval): enqueues a job, which is SCHEDULED even if it is due before the INSERT ends
sub schedule
{
	my ($what, $in, $queue) = (@_, 'jobs');
	sql("INSERT INTO $queue (params, schedule, state)
	     VALUES ('{\"what\": \"$what\"}', clock_timestamp() + interval '$in', 'SCHEDULED')");
}

sub moves
{
	my ($what, $name, $queue) = (@_, 'jobs');
	becomes_soon("SELECT state FROM $queue WHERE params ->> 'what' = '$what'", 'AVAILABLE', $name);
	my $late = sql("SELECT round(1000 * extract(epoch FROM updated_at AT TIME ZONE 'UTC' - schedule)) FROM $queue WHERE params ->> 'what' = '$what'");
	note("late by $late ms: $name");
}

sql("SELECT ecto_job.create_queue(name) FROM unnest('{jobs,beside}'::text[]) AS name");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 2, 'two queues are ok');
is(sql("SELECT DISTINCT poll_interval FROM ecto_job.queues"), '00:01:00', 'queues are polled once a minute by default');
wait_for_sleep($node);

# Each event that comes due
sql(q{SELECT ecto_job.enqueue('jobs', '{"what": "first"}', schedule => clock_timestamp() + interval '300 ms')});
moves('first', 'a scheduled job is moved');
schedule('far', '1 year');
wait_for_sleep($node);
schedule('earlier', '300 ms');
moves('earlier', 'a job that is due earlier than what the scheduler sleeps for is moved');
sql("UPDATE jobs SET schedule = clock_timestamp() + interval '200 ms' WHERE params ->> 'what' = 'far'");
moves('far', 'a job that is rescheduled to be earlier is moved');
schedule('postponed', '700 ms');
sql("UPDATE jobs SET schedule = clock_timestamp() + interval '1 day' WHERE params ->> 'what' = 'postponed'");
schedule('after that', '900 ms');
moves('after that', 'a job that is due after a postponed one is moved');
is(sql("SELECT state FROM jobs WHERE params ->> 'what' = 'postponed'"), 'SCHEDULED', 'a postponed job stays SCHEDULED');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"past\"}', '2000-01-01', 'SCHEDULED')");
becomes_soon("SELECT state FROM jobs WHERE params ->> 'what' = 'past'", 'AVAILABLE',
	'a job that is SCHEDULED in the past, as by EctoJob, is moved');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"ever\"}', '-infinity', 'SCHEDULED')");
becomes_soon("SELECT state FROM jobs WHERE params ->> 'what' = 'ever'", 'AVAILABLE',
	'a job that is SCHEDULED at -infinity is moved');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', 'infinity', 'SCHEDULED'), ('{}', '290000-01-01', 'SCHEDULED')");
schedule('beside those', '100 ms');
moves('beside those', 'a job beside jobs that are due at the end of time is moved');
sql('DELETE FROM jobs');

my $start = q{SELECT id AS job, lease FROM ecto_job.start_available_jobs('jobs', 1, '%s') \gset
};
sql("INSERT INTO jobs (params) VALUES ('{\"what\": \"retry\"}')");
sql("SELECT ecto_job.configure_queue('jobs', retry_timeout => '150 ms')");
wait_for_sleep($node);
$node->safe_psql('postgres', sprintf($start, '1 min') . q{SELECT ecto_job.fail_job('jobs', :job, :lease)});
moves('retry', 'a job that failed is moved for its next attempt');
$node->safe_psql('postgres', sprintf($start, '100 ms'));
becomes_soon('SELECT state, attempt FROM jobs', 'AVAILABLE|2',
	'a job whose lease has ended is AVAILABLE, in its next attempt');
sql("SELECT ecto_job.reserve_available_jobs('jobs', 1, timeout_ms => 200)");
becomes_soon('SELECT state, attempt FROM jobs', 'AVAILABLE|2',
	'a job whose reservation has ended is AVAILABLE, in the same attempt');
sql("UPDATE jobs SET state = 'IN_PROGRESS', expires = NULL");
becomes_soon('SELECT state FROM jobs', 'AVAILABLE', 'a job IN_PROGRESS whose lease has no end is made AVAILABLE');
sql("UPDATE jobs SET max_attempts = 3");
$node->safe_psql('postgres', sprintf($start, '100 ms'));
becomes_soon('SELECT state, attempt FROM jobs', 'FAILED|3', 'a job whose last attempt has ended is FAILED');
sql("SELECT ecto_job.requeue('jobs', id) FROM jobs");
becomes_soon('SELECT state FROM jobs', 'AVAILABLE', 'a job that is requeued is AVAILABLE');

# A trigger of the table postpones a claimed job; the claim by itself signals only the end of a lease
sql(q{
	CREATE FUNCTION put_off() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW.state := 'SCHEDULED'; NEW.schedule := clock_timestamp() + interval '300 ms'; NEW.expires := NULL;
		RETURN NEW;
	END $$;
	CREATE TRIGGER put_off BEFORE UPDATE ON beside FOR EACH ROW WHEN (NEW.state = 'IN_PROGRESS')
		EXECUTE FUNCTION put_off();
	INSERT INTO beside (params) VALUES ('{"what": "put off"}')});
wait_for_sleep($node);
is(sql("SELECT state FROM ecto_job.start_available_jobs('beside')"), 'SCHEDULED',
	'a claim returns a job that a trigger has made SCHEDULED');
moves('put off', 'a job that a trigger put off is moved at its new time', 'beside');
sql('DROP TRIGGER put_off ON beside; DELETE FROM beside');

# Jobs that are locked when they are due, and unlocked later
my $locker = session($node);
before_the_scheduler($node, sub {
		schedule('beside', '700 ms');
		schedule('locked', '300 ms');
		$locker->query_safe("BEGIN; SELECT FROM jobs WHERE params ->> 'what' = 'locked' FOR UPDATE");
	});
moves('beside', 'a job beside a locked one is moved');
is(sql("SELECT state FROM jobs WHERE params ->> 'what' = 'locked'"), 'SCHEDULED', 'a locked job stays SCHEDULED');
$locker->query_safe('COMMIT');
moves('locked', 'a job that was locked is moved when it is unlocked');
sql('DELETE FROM jobs; ' . "INSERT INTO jobs (params) VALUES ('{}')");
before_the_scheduler($node, sub {
		$locker->query_safe(sprintf($start, '100 ms'));
		$locker->query_safe('BEGIN; SELECT FROM jobs FOR UPDATE');
	});
becomes_soon('SELECT expires < clock_timestamp() FROM jobs', 't', 'a lease ends while its holder has the job locked');
$locker->query_safe('ROLLBACK');
becomes_soon('SELECT state FROM jobs', 'AVAILABLE',
	'a job whose lease ended while it was locked is AVAILABLE when it is unlocked');

# A due job that cannot be moved does not make the scheduler spin
sql(q{DELETE FROM jobs; CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
	CREATE TRIGGER a_keep BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION keep()});
schedule('kept', '10 ms');
becomes_soon("SELECT last_sweep > (SELECT schedule FROM jobs) FROM ecto_job.queues WHERE queue = 'jobs'::regclass", 't',
	'a queue whose trigger keeps its job back is swept after the due time');
my $sweeps = "SELECT last_sweep FROM ecto_job.queues WHERE queue = 'jobs'::regclass";
my %seen;
my $limit = time + 4;
while (time < $limit) { $seen{ sql($sweeps) } = 1 }
cmp_ok(scalar keys %seen, '<=', 5, 'a job that a trigger keeps back causes five sweeps at most in 4 s: ' . keys %seen);
sql('DROP TRIGGER a_keep ON jobs');
moves('kept', 'a job that a trigger kept back is moved when the trigger is dropped');

# A queue that fails does not affect another queue
sql(q{CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
	CREATE TRIGGER a_raise BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION raise()});
schedule('raised', '10 ms');
becomes_soon("SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass", 'failing: no',
	'the status shows that a queue fails');
schedule('unimpressed', '200 ms', 'beside');
moves('unimpressed', 'a job of another queue is moved while one queue fails', 'beside');
sql('DROP TRIGGER a_raise ON jobs');
moves('raised', 'a job of a queue that failed is moved when the trigger is dropped');

# The emergency stop (ecto_job.enabled = off), with a job due
sql('ALTER SYSTEM SET ecto_job.enabled = off');
$node->reload;
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues", 'no scheduler: ecto_job.enabled is off',
	'the status says that ecto_job.enabled is off');
schedule('stopped', '10 ms');
schedule('stopped too', '10 ms', 'beside');
sql("INSERT INTO jobs (params) VALUES ('{}')") for 1 .. 3;
wait_for_sleep($node);
my $pid = scheduler_pid($node);

# quiet($seconds, $name, $switches): passes when the scheduler uses no processor time, and at most $switches context switches
sub quiet
{
	my ($seconds, $name, $switches) = (@_, 3);
	my ($cpu, $before) = (cpu_of($pid), switches_of($pid));
	my $until = time + $seconds;
	usleep(100_000) while time < $until;
	cmp_ok(cpu_of($pid) - $cpu, '<=', 2, "$name: the scheduler uses no processor time");
	cmp_ok(switches_of($pid) - $before, '<=', $switches, "$name: the scheduler stays asleep");
}
quiet(2, 'jobs are due while ecto_job.enabled is off');
sql("INSERT INTO jobs (params, state, schedule) VALUES ('{}', 'SCHEDULED', '-infinity')");
quiet(1, 'more jobs are due while ecto_job.enabled is off');
is(sql("SELECT state FROM jobs WHERE params ->> 'what' = 'stopped'"), 'SCHEDULED',
	'a due job stays SCHEDULED while ecto_job.enabled is off');
sql('ALTER SYSTEM RESET ecto_job.enabled');
$node->reload;
moves('stopped', 'a due job is moved when ecto_job.enabled is on again');
moves('stopped too', 'a due job of the other queue is moved when ecto_job.enabled is on again', 'beside');

# The database is no longer listed while jobs are enqueued: its scheduler leaves and does not spin
my $enqueuer = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-t', 4000, '-f', enqueue_script(), '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', '/dev/null', '2>', '/dev/null');
sub enqueue_script
{
	my $script = $node->basedir . '/enqueue.sql';
	append_to_file($script, "INSERT INTO jobs (params) VALUES ('{}');\n");
	return $script;
}
sql("ALTER SYSTEM SET ecto_job.databases = 'elsewhere'");
$node->reload;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
	'the scheduler leaves a database that is no longer listed, even while jobs are enqueued');
$enqueuer->finish;
sql('ALTER SYSTEM RESET ecto_job.databases');
$node->reload;
wait_for_sleep($node);

# The scheduler searches the queue for leases from its front to the last job that was started, however many jobs wait
# behind that job. The test counts the entries of the queue's indexes that are read
my $waiting = 5_000;
sql(qq{SELECT ecto_job.create_queue('deep'); INSERT INTO deep (params) SELECT '{}' FROM generate_series(1, $waiting)});
sub entries_read { return sql("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'deep'"); }
sub start_deep { return (split /\|/, sql("SELECT id, lease FROM ecto_job.start_available_jobs('deep', $_[1], '$_[0]')"))[0]; }
sub comes_back { becomes_soon("SELECT state FROM deep WHERE id = $_[0]", 'AVAILABLE', $_[1]); }
becomes_soon("SELECT last_sweep IS NOT NULL FROM ecto_job.queues WHERE queue = 'deep'::regclass", 't',
	'a deep queue is swept');
wait_for_sleep($node);
my $read = entries_read();
comes_back(start_deep('100 ms', 1), 'a job of a deep queue whose lease ends is AVAILABLE');
wait_for_sleep($node);
$read = entries_read() - $read;
note("$read entries of indexes");
cmp_ok($read, '<', $waiting / 5, 'a lease that ends in a deep queue is found without reading the queue');

# Leases behind the part of the queue that sweeps search: of jobs that plain SQL has started, or a prepared transaction,
# of which shared memory has a record or, after a restart, none; of a job that was moved to another place in the queue;
# of a job that was started before a restart
my $long = start_deep('1 hour', 1);
my ($end, $before_it, $before_that) = split /\n/, sql("SELECT id FROM deep ORDER BY schedule DESC, id DESC LIMIT 3");
comes_back(start_deep('200 ms', 1), 'a lease that ends behind a long one is found');
my $plainly = "UPDATE deep SET state = 'IN_PROGRESS', expires = clock_timestamp() + interval '%s' WHERE id = %s";
sql(sprintf("BEGIN; $plainly; PREPARE TRANSACTION 'deep'", '500 ms', $before_that));
sql("COMMIT PREPARED 'deep'");
comes_back($before_that, 'the lease of a job that a prepared transaction started is found');
sql(sprintf("BEGIN; $plainly; PREPARE TRANSACTION 'deep'", '10 s', $before_it));
$node->restart;
becomes_soon("SELECT last_sweep IS NOT NULL FROM ecto_job.queues WHERE queue = 'deep'::regclass", 't',
	'a deep queue is swept after a restart');
sql("COMMIT PREPARED 'deep'");
becomes($node, "SELECT state FROM deep WHERE id = $before_it", 'AVAILABLE',
	'the lease of a job whose start was prepared before a restart is found', 2 * $soon);
sql(sprintf($plainly, '500 ms', $end));
comes_back($end, 'the lease of a job that plain SQL started at the end of the queue is found');
my $moved = start_deep('2 s', 1); # times the number of the job's attempt
sql("UPDATE deep SET schedule = (SELECT max(schedule) + interval '1 ms' FROM deep) WHERE id = $moved");
comes_back($moved, 'the lease of a job that was given another place in the queue is found');
sql(sprintf($plainly, '5 s', $end));
$node->restart;
comes_back($end, 'the lease of a job that was started before a restart is found');
sql("UPDATE deep SET expires = clock_timestamp() + interval '100 ms' WHERE id = $long");
comes_back($long, 'a long lease that is shortened is found');

# No trigger reports a new priority in a table that was EctoJob's
sql(q{
	CREATE TABLE theirs (id bigserial PRIMARY KEY, state varchar(255) DEFAULT 'AVAILABLE' NOT NULL, expires timestamp,
		schedule timestamp DEFAULT timezone('UTC', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
		max_attempts integer DEFAULT 5 NOT NULL, params jsonb NOT NULL, notify varchar(255),
		priority integer DEFAULT 0 NOT NULL, inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL);
	CREATE INDEX ON theirs (priority, schedule, id);
	SELECT ecto_job.adopt_queue('theirs');
	INSERT INTO theirs (params, inserted_at, updated_at) VALUES ('{}', now(), now()), ('{}', now(), now())});
wait_for_sleep($node);
sql("SELECT ecto_job.start_available_jobs('theirs', 1, '3 s'); UPDATE theirs SET priority = 5");
becomes_soon("SELECT count(*) FROM theirs WHERE state = 'AVAILABLE'", 2,
	'a lease that ends in an adopted table is found after its priority was changed');

# Tables that are truncated or dropped
sql('TRUNCATE jobs');
schedule('gone', '300 ms');
sql('TRUNCATE jobs');
schedule('after TRUNCATE', '200 ms');
moves('after TRUNCATE', 'a job that is enqueued after a TRUNCATE is moved');
sql("SELECT ecto_job.create_queue('brief')");
schedule('brief', '300 ms', 'brief');
sql('DROP TABLE brief');
schedule('after DROP', '400 ms');
moves('after DROP', 'a job is moved after a DROP TABLE of another queue');

# Many sessions enqueue jobs that are due soon: none is forgotten between a sweep and the sleep after it
sql('TRUNCATE jobs');
wait_for_sleep($node);
my $script = $node->basedir . '/short.sql';
append_to_file($script, <<'SQL');
\set us random(0, 20000)
INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + :us * interval '1 us');
\set us random(0, 3000)
\sleep :us us
SQL
command_ok([ 'pgbench', '-n', '-c', 4, '-t', 500, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'pgbench enqueues 2,000 jobs');
my $waits = "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'";
becomes_soon($waits, 0, 'all of 2,000 jobs become AVAILABLE');
my ($worst, $median) = split /\|/,
  sql("SELECT round(max(ms)), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)) FROM
	(SELECT 1000 * extract(epoch FROM updated_at AT TIME ZONE 'UTC' - schedule) AS ms FROM jobs WHERE updated_at > inserted_at) AS j");
note("late: median $median ms, worst $worst ms");
cmp_ok($worst, '<', 1000, "each of 2,000 jobs is moved within a second of its time: $worst ms at worst");

# An idle scheduler with many queues, in a database in which no other session runs transactions
$node->safe_psql('postgres', 'CREATE DATABASE idle');
$node->safe_psql('idle', 'CREATE EXTENSION ecto_job');
my $bulk = "SELECT count(ecto_job.create_queue('q' || n)) FROM generate_series(%d, %d) AS n";
$node->safe_psql('idle', sprintf($bulk, 100 * $_ + 1, 100 * $_ + 100)) for 0 .. 9;
ok( poll_until(sub {
			$node->safe_psql('idle', "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'") eq '1000' },
		'1,000 queues'), '1,000 queues are ok');
$node->safe_psql('idle', "INSERT INTO q7 (params, schedule) VALUES ('{}', clock_timestamp() + interval '1 day')");
wait_for_sleep($node, 'idle');
$pid = scheduler_pid($node, 'idle');
# pg_stat_database counts a session's transactions when it reports them, the scheduler's at once
my $work = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'idle'";
my $last = sql($work);
ok( poll_until(sub { my $now = sql($work); my $same = $now == $last; $last = $now; usleep(1_500_000) unless $same; return $same },
		'the last reports'), 'all transactions of the sessions are counted');
quiet(5, '1,000 queues are idle');
is(sql($work), $last, 'the scheduler of 1,000 idle queues runs no transaction');

# A prepared transaction writes to more queues than its record in shared memory holds
my $far = $node->background_psql('idle');
$far->query_safe('LISTEN q16');
$node->safe_psql('idle', 'BEGIN; ' . join(';', map { "INSERT INTO q$_ (params) VALUES ('{}')" } 11 .. 16) . "; PREPARE TRANSACTION 'p'");
my $notified = '';
my $before = $node->safe_psql('idle', 'SELECT clock_timestamp()');
$node->safe_psql('idle', "COMMIT PREPARED 'p'");
ok(poll_until(sub { ($notified .= $far->query('SELECT 1')) =~ /"q16"/ }, 'a notification', $soon),
	'COMMIT PREPARED of a transaction that wrote to many queues announces the last');
$far->quit;
wait_for_sleep($node, 'idle');
cmp_ok($node->safe_psql('idle', "SELECT count(*) FROM ecto_job.queues WHERE last_sweep > '$before'"), '<', 50,
	'COMMIT PREPARED of a transaction that wrote to many queues has few others of the 1,000 swept');

# Two databases
$node->safe_psql('idle', "INSERT INTO q1 (params, schedule) VALUES ('{}', clock_timestamp() + interval '200 ms')");
schedule('both', '200 ms');
moves('both', 'a due job is moved in one database');
ok(poll_until(sub { $node->safe_psql('idle', 'SELECT state FROM q1') eq 'AVAILABLE' },
		'the job of the other database', $soon),
	'a job that is due at the same time is moved in the other database');

# A sleeping scheduler notices what takes the extension away
sub leaves
{
	my ($statement, $name) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE brief');
	$node->safe_psql('brief', 'CREATE ROLE mayfly SUPERUSER') if $statement =~ /OWNED/;
	my $role = $statement =~ /OWNED/ ? 'SET ROLE mayfly;' : '';
	$node->safe_psql('brief', "$role CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs')");
	wait_for_sleep($node, 'brief');
	$node->safe_psql('brief', "SET client_min_messages = error; $statement");
	ok(poll_until(sub { scheduler_pid($node, 'brief') eq '' }, "the scheduler's end", $soon),
		"the scheduler leaves after $name");
	$node->safe_psql('postgres', 'DROP DATABASE brief');
}
leaves('DROP EXTENSION ecto_job CASCADE', 'DROP EXTENSION');
leaves("BEGIN; DROP EXTENSION ecto_job CASCADE; PREPARE TRANSACTION 'd'; COMMIT PREPARED 'd'", 'DROP EXTENSION that was prepared');
leaves('DROP OWNED BY mayfly CASCADE', 'DROP OWNED');
leaves('DROP TABLE jobs', 'DROP TABLE of the last queue');
leaves('DO $$ BEGIN EXECUTE \'DROP EXTENSION ecto_job CASCADE\'; END $$', 'DROP EXTENSION in a DO block');

$node->stop;
done_testing();
