# Announcements of jobs: which process sends them, and when. A job that was not committed is not announced, and every
# committed job is announced, at whatever moment the scheduler ends.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node(conf => "max_prepared_transactions = 10\necto_job.max_queues = 4\necto_job.further_queues = 0\necto_job.sweep_timeout = '60 s'\nwal_level = replica\nmax_wal_senders = 1\n");
my $job = "INSERT INTO jobs (params) VALUES ('{}')";

sub sql { return $node->safe_psql('postgres', shift); }

sql("SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs,other}'::text[]) AS name");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 3, 'three queues are ok');
my $listener = new_listener($node, qw(jobs other renamed third));
wait_for_sleep($node);

# is_notified($expected, $name, $statements, $now): passes when the listener receives the expected notifications of the
# statements, which run in a session of their own while the scheduler sleeps; with $now without waiting for its sleep
sub is_notified
{
	my ($expected, $name, $statements, $now) = @_;
	wait_for_sleep($node) unless $now;
	sql($statements);
	is(notifications($listener), $expected, $name);
}

# At commit
is_notified('jobs:scheduler', 'the scheduler announces a job', $job);
is_notified('jobs:scheduler', 'the scheduler announces the jobs of a COPY',
	"COPY jobs (params) FROM STDIN;\n{}\n{}\n\\.\n");
is_notified('jobs:scheduler', 'the scheduler announces the jobs of an INSERT of many rows',
	"INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 1000)");
is_notified('jobs:scheduler', 'the scheduler announces a job of enqueue()', "SELECT ecto_job.enqueue('jobs', '{}')");
is_notified('jobs:scheduler other:scheduler', 'the scheduler announces two queues that one transaction wrote to',
	"BEGIN; $job; INSERT INTO other (params) VALUES ('{}'); COMMIT");
is_notified('', 'ROLLBACK sends no notification', "BEGIN; $job; ROLLBACK");
is_notified('', 'ROLLBACK TO before COMMIT sends no notification', "BEGIN; SAVEPOINT a; $job; ROLLBACK TO a; COMMIT");
is_notified('', 'ROLLBACK TO sends no notification of savepoints that were released within',
	"BEGIN; SAVEPOINT a; SAVEPOINT b; $job; RELEASE b; SAVEPOINT c; $job; RELEASE c; ROLLBACK TO a; COMMIT");
is_notified('jobs:scheduler', 'a job of a released savepoint is announced',
	"BEGIN; SAVEPOINT a; SAVEPOINT b; $job; RELEASE b; SAVEPOINT c; $job; ROLLBACK TO c; RELEASE a; COMMIT");
is_notified('other:scheduler', 'ROLLBACK TO leaves the announcement of another queue',
	"BEGIN; SAVEPOINT a; $job; ROLLBACK TO a; INSERT INTO other (params) VALUES ('{}'); COMMIT");
is_notified('', 'a job of an exception block that an error ends is not announced',
	"DO \$\$ BEGIN BEGIN $job; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END \$\$");
is_notified('jobs:scheduler', 'a job written before an exception block that an error ends is announced',
	"DO \$\$ BEGIN $job; BEGIN $job; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END \$\$");
is_notified('jobs:scheduler', 'a job that a DO block commits is announced when the next one is rolled back',
	"DO \$\$ BEGIN $job; COMMIT; $job; ROLLBACK; END \$\$");
is_notified('', 'a job for later is not announced at commit',
	"INSERT INTO jobs (params, schedule) VALUES ('{\"later\": 1}', clock_timestamp() + interval '1 day')");
is_notified('jobs:scheduler', 'a SCHEDULED job that an UPDATE makes AVAILABLE is announced',
	"UPDATE jobs SET state = 'AVAILABLE', schedule = clock_timestamp() WHERE state = 'SCHEDULED'");
is_notified('', 'an UPDATE of jobs that stay AVAILABLE sends no notification', "UPDATE jobs SET priority = 1");
is_notified('jobs:scheduler', 'a job that an UPDATE takes back from IN_PROGRESS is announced',
	"SELECT ecto_job.start_available_jobs('jobs', 1); UPDATE jobs SET state = 'AVAILABLE' WHERE state = 'IN_PROGRESS'");
# While their transaction was open, claims have skipped a job that waits under a key
my $keep = "SELECT ecto_job.enqueue('jobs', '{}', key => 'k')";
is_notified('jobs:scheduler', 'a new job with a key is announced', $keep);
is_notified('jobs:scheduler', 'a job that an enqueue keeps is announced at the commit', $keep);
is_notified('jobs:scheduler', 'a job that ON CONFLICT DO UPDATE changes is announced at the commit',
	"INSERT INTO jobs (params, key) VALUES ('{}', 'k') ON CONFLICT (waiting_key) WHERE waiting_key IS NOT NULL DO UPDATE SET params = excluded.params");
is_notified('', 'a job that an enqueue keeps is not announced at ROLLBACK', "BEGIN; $keep; ROLLBACK");
is_notified('', 'DELETE sends no notification', 'DELETE FROM jobs');
is_notified('', 'an UPDATE and a claim that find no row send no notification',
	"UPDATE jobs SET state = 'AVAILABLE'; SELECT * FROM ecto_job.start_available_jobs('jobs', 10)");
# PostgreSQL 16 has renamed the setting
my $forced = sql(q{SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
is_notified('jobs:scheduler', 'jobs before and after a parallel query of the same transaction are announced',
	"BEGIN; SET LOCAL $forced = on; $job; SELECT count(*) FROM pg_class; $job; COMMIT");
is_notified('jobs:scheduler', 'a job is announced when its transaction moves the table to another schema',
	"CREATE SCHEMA elsewhere; BEGIN; $job; ALTER TABLE jobs SET SCHEMA elsewhere; COMMIT");
sql('ALTER TABLE elsewhere.jobs SET SCHEMA public');

# A table is renamed by the transaction that writes to it: the listeners are those of the new name. The signal may
# wake the scheduler before its caches know the new name, so the test repeats this many times.
my ($from, $to) = ('jobs', 'renamed');
my $misled = 0;
my $renamer = session($node);
for (1 .. 60)
{
	wait_for_sleep($node) if $_ == 1;
	$renamer->query_safe("BEGIN; ALTER TABLE $from RENAME TO $to; INSERT INTO $to (params) VALUES ('{}'); COMMIT");
	my $got = notifications($listener);
	$misled++ unless $got =~ /^$to:\w+$/;
	($from, $to) = ($to, $from);
}
is($misled, 0, 'a table that its transaction renames is announced by the new name');
my $long = 'x' x 60;
my $offset = -s $node->logfile;
sql("ALTER TABLE jobs RENAME TO $long");
is_notified('', 'a queue whose name is too long for a channel sends no notification',
	"INSERT INTO $long (params) VALUES ('{}')");
ok(wait_for_log($node, qr/WARNING:  queue "$long" sends no notifications/, $offset),
	'the log warns of a queue whose name is too long for a channel');
sql("ALTER TABLE $long RENAME TO jobs");
is_notified('jobs:scheduler', 'a job is announced when its queue has a shorter name again', $job);
$renamer->quit;

# The safety sweep finds jobs that are written with triggers off
is_notified('', 'a job written with triggers off is not announced at commit',
	"SET session_replication_role = replica; $job");
sql("ALTER SYSTEM SET ecto_job.safety_interval = '1 s'");
$node->reload;
is(next_notification($listener, 'jobs'), 'jobs:scheduler',
	'the safety sweep announces a job written with triggers off');
sql('DELETE FROM jobs; DELETE FROM other; ALTER SYSTEM RESET ecto_job.safety_interval');
$node->reload;
# The planned sweep announces the jobs that it finds; the sweep after it is far away
my $reset = sql('SELECT clock_timestamp()');
becomes($node, "SELECT bool_and(last_sweep > '$reset') FROM ecto_job.queues", 't',
	'every queue is swept once after safety_interval is reset');
wait_for_sleep($node);
notifications($listener);

# Prepared transactions
my $prepare = "BEGIN; $job; PREPARE TRANSACTION 'p'";
is_notified('', 'PREPARE TRANSACTION sends no notification', $prepare);
is_notified('jobs:scheduler', 'COMMIT PREPARED in another session announces the job', "COMMIT PREPARED 'p'");
is_notified('', 'ROLLBACK PREPARED sends no notification', "$prepare; ROLLBACK PREPARED 'p'");
is_notified('jobs:scheduler', 'COMMIT PREPARED in the same session, of a name used before, announces the job',
	"$prepare; COMMIT PREPARED 'p'");
is_notified('jobs:scheduler', 'COMMIT PREPARED does not announce what ROLLBACK TO undid before PREPARE',
	"BEGIN; $job; SAVEPOINT a; INSERT INTO other (params) VALUES ('{}'); ROLLBACK TO a; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
is_notified('', 'COMMIT PREPARED does not announce the job of a transaction rolled back before',
	"BEGIN; $job; CREATE TEMP TABLE t (); SAVEPOINT s; ROLLBACK; BEGIN; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
sql('DELETE FROM jobs; DELETE FROM other; DELETE FROM fence');
my $missed = 0;
my ($preparer, $finisher, $claimer) = map { session($node) } 1 .. 3;
$claimer->query_safe('LISTEN jobs');
for my $n (1 .. 100)
{
	$preparer->query_safe("BEGIN; $job; PREPARE TRANSACTION 'p$n'");
	# The test does not wait for COMMIT PREPARED: a consumer that is notified before the commit would find no job
	$finisher->{stdin} .= "COMMIT PREPARED 'p$n';\n";
	$finisher->{run}->pump_nb;
	my $text = '';
	poll_until(sub { for (1 .. 20) { return 1 if ($text .= $claimer->query('SELECT 1')) =~ /"jobs"/ } return 0 },
		'the notification of a prepared job') or die "no notification of job $n\n";
	$missed++ if $claimer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs')") ne 1;
	$finisher->query_safe('SELECT 1');
}
is($missed, 0, 'whoever is notified of a prepared job finds it');
$_->quit for $preparer, $finisher, $claimer;
notifications($listener);

sql("BEGIN; SELECT ecto_job.create_queue('third'); INSERT INTO third (params) VALUES ('{}'); PREPARE TRANSACTION 'q'");
is(notifications($listener), '', 'the job of a queue that is created in a prepared transaction is not announced');
sql("COMMIT PREPARED 'q'");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'third'::regclass", 'ok',
	'a queue is ok after COMMIT PREPARED of its creation');
like(notifications($listener), qr/\bthird:/, 'COMMIT PREPARED announces the job of the queue that it creates');
sql("SELECT ecto_job.drop_queue('third')");

# A restart loses the record of the queues that a prepared transaction wrote to: every queue is announced
sql("INSERT INTO other (params) VALUES ('{}'); BEGIN; $job; PREPARE TRANSACTION 'r'");
$listener->{session}->quit;
$node->restart;
$listener = new_listener($node, qw(jobs other renamed third));
wait_for_sleep($node);
notifications($listener);
is_notified('jobs:scheduler other:scheduler',
	'COMMIT PREPARED of a transaction prepared before a restart announces every queue',
	"COMMIT PREPARED 'r'");

sql($prepare);
eval { $listener->{session}->quit };
$offset = -s $node->logfile;
kill 9, scheduler_pid($node);
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset),
	'the server restarts after a crash with a prepared transaction');
$node->poll_query_until('postgres', 'SELECT true');
$listener = new_listener($node, qw(jobs other renamed third));
wait_for_sleep($node);
notifications($listener);
is_notified('jobs:scheduler other:scheduler',
	'COMMIT PREPARED of a transaction prepared before a crash announces every queue',
	"COMMIT PREPARED 'p'");
sql('DELETE FROM jobs; DELETE FROM other; DELETE FROM fence');

# The scheduler sends one notification for each queue, however many commits have signalled it
sub count_of
{
	my ($statements) = @_;
	my $text = '';
	$statements->();
	sql("INSERT INTO fence (params) VALUES ('{}')");
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
	return join ' ', map { my $channel = $_; $channel . ':' . (() = $text =~ /notification "$channel"/g) } qw(jobs other);
}
wait_for_sleep($node);
notifications($listener);
my $asleep = scheduler_pid($node);
is(count_of(sub {
			kill 'STOP', $asleep;
			sql(join ';', ($job, "INSERT INTO other (params) VALUES ('{}')") x 50);
			kill 'CONT', $asleep;
		}), 'jobs:1 other:1', '50 commits send one notification for each of two queues');

# Without a scheduler that serves the queue, the session sends the notification itself
sql("SELECT ecto_job.disable()");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
	'the scheduler has left after disable()');
is_notified('jobs:session', 'the session notifies by itself while the scheduler is disabled', $job, 1);
is_notified('', 'ROLLBACK sends no notification while the scheduler is disabled', "BEGIN; $job; ROLLBACK", 1);
is_notified('', 'PREPARE TRANSACTION sends no notification while the scheduler is disabled', $prepare, 1);
is_notified('jobs:session', 'COMMIT PREPARED notifies by itself while the scheduler is disabled',
	"COMMIT PREPARED 'p'", 1);
sql("SELECT ecto_job.enable()");
wait_for_sleep($node);
notifications($listener);
sql('ALTER SYSTEM SET ecto_job.enabled = off');
$node->reload;
ok( poll_until(sub { sql($job); notifications($listener) eq 'jobs:session' }, 'the stop'),
	'the session notifies by itself while ecto_job.enabled is off');
sql('ALTER SYSTEM RESET ecto_job.enabled');
$node->reload;
ok( poll_until(sub { sql($job); notifications($listener) eq 'jobs:scheduler' }, 'the end of the stop'),
	'the scheduler announces when ecto_job.enabled is on again');
is_notified('jobs:session', 'the session notifies by itself before a terminated scheduler is started again',
	"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'; $job", 1);
wait_for_sleep($node);

# A scheduler is terminated with signals that it has not read: the next scheduler starts before the launcher's pause of
# 4 s after the third end is over
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
wait_for_sleep($node);
notifications($listener);
my $stopped = scheduler_pid($node);
kill 'STOP', $stopped;
sql($job);
kill 'TERM', $stopped;
kill 'CONT', $stopped;
my $start = time;
is(next_notification($listener, 'jobs'), 'jobs:scheduler',
	'a job signalled to a scheduler that is terminated is announced by the next one');
my $took = time - $start;
cmp_ok($took, '<', 3, "the next scheduler reads at once the signals that the last one left ($took s)");
wait_for_sleep($node);
notifications($listener);

# Another session holds NOTIFY's lock for as long as its commit waits for a standby
sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$node->reload;
my $waiting = IPC::Run::start(
	[ 'psql', '-X', '-q', '-c', 'BEGIN; CREATE TABLE written (); NOTIFY held; COMMIT', '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', '/dev/null', '2>', '/dev/null');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", 1,
	"a session that waits for a standby has NOTIFY's lock");
is($node->psql('postgres', "SET lock_timeout = '10 s'; SET synchronous_commit = local; $job"),
	0, "a commit that enqueues does not need NOTIFY's lock");
becomes($node, "SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'Lock',
	"the scheduler waits for NOTIFY's lock");
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
sql('ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
$waiting->finish;
$start = time;
is(next_notification($listener, 'jobs'), 'jobs:scheduler',
	'a job whose announcing scheduler is terminated is announced by the next one');
$took = time - $start;
cmp_ok($took, '<', 4, "the next scheduler announces at once what the last one was announcing ($took s)");
wait_for_sleep($node);
notifications($listener);

# A job is enqueued while another queue is swept
sql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION slow()});
my $slow = session($node);
$slow->query_safe('SELECT pg_advisory_lock(42)');
notifications($listener);
sql("INSERT INTO other (params, schedule, state) VALUES ('{}', '2000-01-01', 'SCHEDULED')");
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'advisory',
	'the sweep of another queue waits in a trigger');
$start = time;
sql($job);
$took = time - $start;
is(notifications($listener), 'jobs:session', 'the session notifies by itself during the sweep of another queue');
ok($took < 5, "a commit that enqueues does not wait for the sweep of another queue ($took s)");
$slow->query_safe('SELECT pg_advisory_unlock(42)');
$slow->quit;
sql('DROP TRIGGER a_slow ON other');
wait_for_sleep($node);
like(notifications($listener), qr/other:scheduler/,
	'the scheduler announces the job of the long sweep when that has ended');

# A job is enqueued while the scheduler waits for the registry
my $lock = session($node);
$lock->query_safe('BEGIN; LOCK TABLE ecto_job.queue_settings');
notifications($listener);
sql('SELECT ecto_job.enable()'); # the scheduler reads the registry
becomes($node, "SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'Lock',
	'the scheduler waits for the lock on the registry');
sql($job);
is(notifications($listener), 'jobs:session',
	'the session notifies by itself while the scheduler waits for the registry');
$lock->query_safe('COMMIT');
$lock->quit;
wait_for_sleep($node);
notifications($listener);

# More queues than places in shared memory
my $full = -s $node->logfile;
sql("SELECT ecto_job.create_queue(name) FROM unnest('{third,fourth}'::text[]) AS name");
ok(wait_for_log($node, qr/WARNING:  more queues than places in shared memory/),
	'the log warns of more queues than places in shared memory');
my $unplaced = sql("SELECT queue FROM ecto_job.queues WHERE status ~ '^not recorded'");
wait_for_sleep($node);
$listener->{session}->query_safe('LISTEN fourth');
notifications($listener);
is_notified("$unplaced:session", 'the session notifies by itself of a job in a queue without a place',
	"INSERT INTO $unplaced (params) VALUES ('{}')");
is_notified('jobs:scheduler', 'the scheduler announces a job of a queue with a place', $job);
$node->safe_psql('postgres', "SELECT ecto_job.enqueue('$unplaced', '{}') FROM generate_series(1, 100)");
pass('100 calls of enqueue() in a queue without a place succeed');
sql("SELECT ecto_job.configure_queue('$unplaced', poll_interval => '200 ms')");
sql("INSERT INTO $unplaced (params, schedule, state) VALUES ('{\"what\": \"unplaced\"}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM $unplaced WHERE params ->> 'what' = 'unplaced'", 'AVAILABLE',
	'a due job in a queue without a place is moved after poll_interval');
is(() = slurp_file($node->logfile, $full) =~ /more queues than/g, 1, 'the log warns once of more queues than places');
my ($placed) = grep { $_ ne $unplaced } qw(third fourth);
sql("SELECT ecto_job.drop_queue('$placed')");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = '$unplaced'::regclass", 'ok',
	'a queue without a place gets that of a dropped queue');
wait_for_sleep($node);
notifications($listener);
is_notified("$unplaced:scheduler", 'the scheduler announces a job of a queue that has got a place',
	"INSERT INTO $unplaced (params) VALUES ('{}')");
sql("SELECT ecto_job.drop_queue('$unplaced')");

# No session can NOTIFY, since the pages of the notification queue cannot be written. Commits do not fail
my $pages = $node->data_dir . '/pg_notify';
my $holder = session($node);
$holder->query_safe('LISTEN filler');
$holder->query_safe('BEGIN');
rename $pages, "$pages.away" or die $!;
# A long payload fills a page; the empty payloads fill the rest of the last page
for my $payload ("repeat('x', 7900)", "''")
{
	my $n = 0;
	1 while $n++ < 500 && $node->psql('postgres', "SELECT pg_notify('filler', $payload)") == 0;
}
$offset = -s $node->logfile;
is($node->psql('postgres', $job), 0, 'a commit that enqueues succeeds while NOTIFY fails');
ok(wait_for_log($node, qr/WARNING:  notifying consumers failed: /, $offset),
	"the log warns that the scheduler's NOTIFY fails");
is($node->psql('postgres', $job), 0, 'a later commit that enqueues succeeds while NOTIFY fails');
sql(q{INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes($node, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0, 'a due job is moved while NOTIFY fails');
like(sql("SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass"), qr/^not announced: /,
	'the status says that jobs are not announced while NOTIFY fails');
rename "$pages.away", $pages or die $!;
is(next_notification($listener, 'jobs'), 'jobs:scheduler', 'the jobs are announced when NOTIFY works again');
$holder->query_safe('COMMIT');
$holder->quit;
notifications($listener);
# The listener's session would reach its time limit, which only a query starts anew
$listener->{session}->quit;

# 100,000 signals
my $memory = q{SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'};
sub memory_of_scheduler
{
	my $log = -s $node->logfile;
	sql($memory);
	sql($job); # the scheduler serves the request when it wakes
	wait_for_log($node, qr/Grand total: \d+ bytes/, $log);
	slurp_file($node->logfile, $log) =~ /Grand total: (\d+) bytes/;
	return $1;
}
wait_for_sleep($node);
my $before = memory_of_scheduler();
my $pid = scheduler_pid($node);
# Each job is a commit of its own; how many of these commits signal depends on how fast the scheduler is
sql("DO \$\$ BEGIN FOR i IN 1 .. 100000 LOOP $job; COMMIT; END LOOP; END \$\$");
wait_for_sleep($node);
cmp_ok(memory_of_scheduler(), '<', $before + 65536, "100,000 commits leave nothing in the scheduler's memory");
is(scheduler_pid($node), $pid, 'the scheduler is the same process after 100,000 commits');
sql('TRUNCATE jobs');

# Scheduler and launcher are terminated at any moment, under load; the consumer wakes by notifications only
sub consume
{
	my ($session, $seconds) = @_;
	my $limit = time + $seconds;
	while (time < $limit)
	{
		if ($session->query('SELECT 1') =~ /"jobs"/)
		{
			1 while $session->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1000)") =~ /^[1-9]/m;
			$session->query_safe("DELETE FROM jobs WHERE state = 'IN_PROGRESS'");
		}
		usleep(5_000);
		return 1 if $_[2] && $_[2]->();
	}
	return 0;
}
srand(7);
my $consumer = session($node);
$consumer->query_safe('LISTEN jobs');
$node->safe_psql('postgres', 'CREATE TABLE script (n int)');
my $script = $node->basedir . '/enqueue.sql';
append_to_file($script, "INSERT INTO jobs (params) VALUES ('{}');\n\\sleep :pause us\n");
my $load = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 3, '-T', 12, '-D', 'pause=3000', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', '/dev/null', '2>', '/dev/null');
my $end = time + 10;
my $killed = 0;
while (time < $end)
{
	consume($consumer, rand(0.4));
	my $whom = rand() < 0.3 ? 'launcher' : 'scheduler';
	my $victim = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job $whom'");
	$killed += kill 'TERM', $victim if $victim;
}
$load->finish;
note("terminated $killed times");
cmp_ok($killed, '>', 2, 'scheduler and launcher were terminated more than twice under load');
my $waited = time;
ok( consume($consumer, 30, sub { sql("SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'") eq 0 }),
	'no announcement is lost when scheduler and launcher are terminated under load');
note(sprintf 'the queue was empty %.1f s after the load', time - $waited);
$consumer->quit;

# The scheduler is killed, which ends every session: a consumer that reconnects listens and then claims, as the protocol
# demands
for my $crash (1, 2)
{
	$load = IPC::Run::start(
		[ 'pgbench', '-n', '-c', 3, '-T', 30, '-D', 'pause=1000', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', '/dev/null', '2>', '/dev/null');
	wait_for_sleep($node);
	becomes($node, "SELECT count(*) > 100 FROM jobs WHERE state = 'AVAILABLE'", 't',
		"more than 100 jobs wait under load before crash $crash");
	$offset = -s $node->logfile;
	kill 9, scheduler_pid($node);
	$load->finish;
	ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset),
		"the server restarts after crash $crash under load");
	$node->poll_query_until('postgres', 'SELECT true');
	$consumer = session($node);
	$consumer->query_safe('LISTEN jobs');
	$consumer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1000000); DELETE FROM jobs");
	sql($job);
	ok( consume($consumer, 10, sub { sql("SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'") eq 0 }),
		"a job enqueued after crash $crash is announced");
	$consumer->quit;
}

# A transaction with very many savepoints keeps little memory of them
my $many = session($node);
my $memory_of = "SELECT total_bytes FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext'";
for my $fate ("RAISE 'x'", 'NULL')
{
	$many->query_safe('BEGIN');
	$many->query_safe("DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP
			BEGIN $job; $fate; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END \$\$");
	cmp_ok($many->query_safe($memory_of), '<', 1_000_000,
		"20,000 savepoints with $fate leave less than 1 MB in the transaction's memory");
	$many->query_safe('ROLLBACK');
}
$many->quit;
$node->stop;

# A place in shared memory has the size that the documentation says
my ($documented) = slurp_source('docs/operations.md') =~ /A place for a queue takes about (\d+) bytes/;
my %size;
for my $places (1000, 3000)
{
	$node->append_conf('postgresql.conf', "ecto_job.max_queues = $places\n");
	$node->start;
	$size{$places} = sql("SELECT size FROM pg_shmem_allocations WHERE name = 'ecto_job'");
	$node->stop;
}
my $bytes = ($size{3000} - $size{1000}) / 2000;
cmp_ok(abs($bytes - $documented), '<=', 50,
	"a place for a queue takes $bytes bytes, and $documented in the documentation");

# No worker is free
my $crowded = new_node(name => 'full', conf => "max_worker_processes = 1\nmax_logical_replication_workers = 0\n");
$crowded->safe_psql('postgres', "SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
becomes($crowded, "SELECT DISTINCT status ~ 'no background worker is free' FROM ecto_job.queues", 't',
	'the view says that no background worker is free');
my $other = new_listener($crowded, 'jobs');
$crowded->safe_psql('postgres', $job);
is(notifications($other), 'jobs:session', 'the session notifies by itself when no background worker is free');
$other->{session}->quit;
$crowded->stop;

my $bare = new_node(name => 'bare', preload => 0, conf => "max_prepared_transactions = 2\n");
$bare->safe_psql('postgres', "SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
$other = new_listener($bare, 'jobs');
$bare->safe_psql('postgres', $job);
is(notifications($other), 'jobs:session', 'the session notifies by itself without preload');
my (undef, undef, $error) = $bare->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; $job; PREPARE TRANSACTION 'p'");
like($error, qr/ERROR:  0A000: cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY$/m,
	'a transaction that enqueues cannot be prepared without preload');
is($bare->safe_psql('postgres', 'SELECT count(*) FROM jobs'), 1,
	'a transaction that could not be prepared leaves no job');
is(notifications($other), '', 'a transaction that could not be prepared sends no notification');
$other->{session}->quit;
$bare->stop;

done_testing();
