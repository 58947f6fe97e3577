# The doorbell: who announces a job, and when; nobody is told of what was not committed, and nothing that
# was is lost when the scheduler goes at any moment.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use BellTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node(conf => "max_prepared_transactions = 10\necto_job.max_queues = 4\necto_job.further_queues = 0\necto_job.sweep_timeout = '60 s'\nwal_level = replica\nmax_wal_senders = 1\n");
my $job = "INSERT INTO jobs (params) VALUES ('{}')";

sub sql { return $node->safe_psql('postgres', shift); }

sql("SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs,other}'::text[]) AS name");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 3, 'three queues');
my $listener = listen_to($node, qw(jobs other renamed third));
at_rest($node);

# hears($expected, $name, $statements): in a session of their own
sub hears
{
	my ($expected, $name, $statements, $answered) = @_;
	at_rest($node) unless $answered;
	sql($statements);
	is(heard($listener), $expected, $name);
}

# At commit
hears('jobs:scheduler', 'the scheduler announces a job', $job);
hears('jobs:scheduler', 'and those of a COPY', "COPY jobs (params) FROM STDIN;\n{}\n{}\n\\.\n");
hears('jobs:scheduler', 'of many rows', "INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 1000)");
hears('jobs:scheduler', 'of enqueue', "SELECT ecto_job.enqueue('jobs', '{}')");
hears('jobs:scheduler other:scheduler', 'two queues in one transaction',
	"BEGIN; $job; INSERT INTO other (params) VALUES ('{}'); COMMIT");
hears('', 'ROLLBACK rings nothing', "BEGIN; $job; ROLLBACK");
hears('', 'nor does ROLLBACK TO', "BEGIN; SAVEPOINT a; $job; ROLLBACK TO a; COMMIT");
hears('', 'with what was released within',
	"BEGIN; SAVEPOINT a; SAVEPOINT b; $job; RELEASE b; SAVEPOINT c; $job; RELEASE c; ROLLBACK TO a; COMMIT");
hears('jobs:scheduler', 'what is released rings',
	"BEGIN; SAVEPOINT a; SAVEPOINT b; $job; RELEASE b; SAVEPOINT c; $job; ROLLBACK TO c; RELEASE a; COMMIT");
hears('other:scheduler', 'each queue for itself',
	"BEGIN; SAVEPOINT a; $job; ROLLBACK TO a; INSERT INTO other (params) VALUES ('{}'); COMMIT");
hears('', 'an exception block that is left by an error rings nothing',
	"DO \$\$ BEGIN BEGIN $job; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END \$\$");
hears('jobs:scheduler', 'but what stood before it does',
	"DO \$\$ BEGIN $job; BEGIN $job; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END \$\$");
hears('jobs:scheduler', 'a procedure that commits and goes on',
	"DO \$\$ BEGIN $job; COMMIT; $job; ROLLBACK; END \$\$");
hears('', 'a job for later rings nothing',
	"INSERT INTO jobs (params, schedule) VALUES ('{\"later\": 1}', clock_timestamp() + interval '1 day')");
hears('jobs:scheduler', 'until it is made AVAILABLE',
	"UPDATE jobs SET state = 'AVAILABLE', schedule = clock_timestamp() WHERE state = 'SCHEDULED'");
hears('', 'one that is so already rings nothing', "UPDATE jobs SET priority = 1");
hears('jobs:scheduler', 'a job that comes back does',
	"SELECT ecto_job.start_available_jobs('jobs', 1); UPDATE jobs SET state = 'AVAILABLE' WHERE state = 'IN_PROGRESS'");
hears('', 'nor does DELETE', 'DELETE FROM jobs');
hears('', 'nor an UPDATE without a row: a claim on an empty queue wakes nobody',
	"UPDATE jobs SET state = 'AVAILABLE'; SELECT * FROM ecto_job.start_available_jobs('jobs', 10)");
hears('jobs:scheduler', 'after a parallel query in the same transaction',
	"BEGIN; SET LOCAL force_parallel_mode = on; $job; SELECT count(*) FROM pg_class; $job; COMMIT");
hears('jobs:scheduler', 'of a table that moves', "CREATE SCHEMA elsewhere; BEGIN; $job; ALTER TABLE jobs SET SCHEMA elsewhere; COMMIT");
sql('ALTER TABLE elsewhere.jobs SET SCHEMA public');

# Renamed in the same transaction: the listeners are those of the new name. Whoever rings wakes the
# scheduler before the caches know, so again and again.
my ($from, $to) = ('jobs', 'renamed');
my $misled = 0;
my $renamer = session($node);
for (1 .. 60)
{
	at_rest($node) if $_ == 1;
	$renamer->query_safe("BEGIN; ALTER TABLE $from RENAME TO $to; INSERT INTO $to (params) VALUES ('{}'); COMMIT");
	my $got = heard($listener);
	$misled++ unless $got =~ /^$to:\w+$/;
	($from, $to) = ($to, $from);
}
is($misled, 0, 'a table that is renamed is announced by its new name');
my $long = 'x' x 60;
my $offset = -s $node->logfile;
sql("ALTER TABLE jobs RENAME TO $long");
hears('', 'a name that is too long for a channel sends nothing', "INSERT INTO $long (params) VALUES ('{}')");
ok(wait_for_log($node, qr/WARNING:  queue "$long" sends no notifications/, $offset), 'and the log says so');
sql("ALTER TABLE $long RENAME TO jobs");
hears('jobs:scheduler', 'renamed back it is announced', $job);
$renamer->quit;

# Written with triggers off: the safety sweep
hears('', 'triggers that are off ring nothing', "SET session_replication_role = replica; $job");
sql("ALTER SYSTEM SET ecto_job.safety_interval = '1 s'");
$node->reload;
is(heard_next($listener, 'jobs'), 'jobs:scheduler', 'the safety sweep announces');
sql('DELETE FROM jobs; DELETE FROM other; ALTER SYSTEM RESET ecto_job.safety_interval');
$node->reload;
# The sweep that it had planned announces what it finds; the one after it is far away
my $reset = sql('SELECT clock_timestamp()');
becomes($node, "SELECT bool_and(last_sweep > '$reset') FROM ecto_job.queues", 't', 'the last of those sweeps');
at_rest($node);
heard($listener);

# Prepared
my $prepare = "BEGIN; $job; PREPARE TRANSACTION 'p'";
hears('', 'PREPARE rings nothing', $prepare);
hears('jobs:scheduler', 'COMMIT PREPARED rings, in another session', "COMMIT PREPARED 'p'");
hears('', 'nor does ROLLBACK PREPARED', "$prepare; ROLLBACK PREPARED 'p'");
hears('jobs:scheduler', 'the name again, in the same session', "$prepare; COMMIT PREPARED 'p'");
hears('jobs:scheduler', 'a rolled back savepoint in it',
	"BEGIN; $job; SAVEPOINT a; INSERT INTO other (params) VALUES ('{}'); ROLLBACK TO a; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
hears('', 'one that failed to prepare',
	"BEGIN; $job; CREATE TEMP TABLE t (); SAVEPOINT s; ROLLBACK; BEGIN; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
sql('DELETE FROM jobs; DELETE FROM other; DELETE FROM fence');
my $missed = 0;
my ($preparer, $finisher, $claimer) = map { session($node) } 1 .. 3;
$claimer->query_safe('LISTEN jobs');
for my $n (1 .. 100)
{
	$preparer->query_safe("BEGIN; $job; PREPARE TRANSACTION 'p$n'");
	# Not waited for: whoever is notified too early looks too early
	$finisher->{stdin} .= "COMMIT PREPARED 'p$n';\n";
	$finisher->{run}->pump_nb;
	my $text = '';
	poll_until(sub { for (1 .. 20) { return 1 if ($text .= $claimer->query('SELECT 1')) =~ /"jobs"/ } return 0 },
		'the notification of a prepared job') or die "not told of job $n\n";
	$missed++ if $claimer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs')") ne 1;
	$finisher->query_safe('SELECT 1');
}
is($missed, 0, 'whoever is notified of a prepared job finds it');
$_->quit for $preparer, $finisher, $claimer;
heard($listener);

sql("BEGIN; SELECT ecto_job.create_queue('third'); INSERT INTO third (params) VALUES ('{}'); PREPARE TRANSACTION 'q'");
is(heard($listener), '', 'a queue that is prepared is none');
sql("COMMIT PREPARED 'q'");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'third'::regclass", 'ok', 'COMMIT PREPARED makes it one');
like(heard($listener), qr/\bthird:/, 'and announces its job');
sql("SELECT ecto_job.drop_queue('third')");

# A note that is lost: every queue is rung
sql("INSERT INTO other (params) VALUES ('{}'); BEGIN; $job; PREPARE TRANSACTION 'r'");
$listener->{session}->quit;
$node->restart;
$listener = listen_to($node, qw(jobs other renamed third));
at_rest($node);
heard($listener);
hears('jobs:scheduler other:scheduler', 'prepared before a restart: every queue is rung', "COMMIT PREPARED 'r'");

sql($prepare);
eval { $listener->{session}->quit };
$offset = -s $node->logfile;
kill 9, scheduler_pid($node);
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'a crash');
$node->poll_query_until('postgres', 'SELECT true');
$listener = listen_to($node, qw(jobs other renamed third));
at_rest($node);
heard($listener);
hears('jobs:scheduler other:scheduler', 'the same after a crash', "COMMIT PREPARED 'p'");
sql('DELETE FROM jobs; DELETE FROM other; DELETE FROM fence');

# One notification for each queue, however many commits have rung
sub count_of
{
	my ($statements) = @_;
	my $text = '';
	$statements->();
	sql("INSERT INTO fence (params) VALUES ('{}')");
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
	return join ' ', map { my $channel = $_; $channel . ':' . (() = $text =~ /notification "$channel"/g) } qw(jobs other);
}
at_rest($node);
heard($listener);
my $asleep = scheduler_pid($node);
is(count_of(sub {
			kill 'STOP', $asleep;
			sql(join ';', ($job, "INSERT INTO other (params) VALUES ('{}')") x 50);
			kill 'CONT', $asleep;
		}), 'jobs:1 other:1', 'one notification for 50 commits, in each of two queues');

# Without a scheduler that answers the session notifies itself
sql("SELECT ecto_job.disable()");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0, 'disabled');
hears('jobs:session', 'disabled: the session notifies', $job, 1);
hears('', 'but not when it rolls back', "BEGIN; $job; ROLLBACK", 1);
hears('', 'a transaction can be prepared', $prepare, 1);
hears('jobs:session', 'and COMMIT PREPARED notifies', "COMMIT PREPARED 'p'", 1);
sql("SELECT ecto_job.enable()");
at_rest($node);
heard($listener);
sql('ALTER SYSTEM SET ecto_job.enabled = off');
$node->reload;
ok( poll_until(sub { sql($job); heard($listener) eq 'jobs:session' }, 'the stop'),
	'ecto_job.enabled = off: the session notifies');
sql('ALTER SYSTEM RESET ecto_job.enabled');
$node->reload;
ok( poll_until(sub { sql($job); heard($listener) eq 'jobs:scheduler' }, 'the end of the stop'),
	'on again: the scheduler');
hears('jobs:session', 'terminated and backing off: the session notifies', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'; $job", 1);
at_rest($node);

# A scheduler that is ended with rings that it has not taken: the next one need not wait until the launcher
# tries again, which is 4 s after the third end
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
at_rest($node);
heard($listener);
my $stopped = scheduler_pid($node);
kill 'STOP', $stopped;
sql($job);
kill 'TERM', $stopped;
kill 'CONT', $stopped;
my $start = time;
is(heard_next($listener, 'jobs'), 'jobs:scheduler', 'what a scheduler leaves is announced');
my $took = time - $start;
cmp_ok($took, '<', 3, "by the next one, at once ($took s)");
at_rest($node);
heard($listener);

# While another session has NOTIFY's lock, for as long as its commit waits for a standby
sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$node->reload;
my $waiting = IPC::Run::start(
	[ 'psql', '-X', '-q', '-c', 'BEGIN; CREATE TABLE written (); NOTIFY held; COMMIT', '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', '/dev/null', '2>', '/dev/null');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", 1, "somebody has NOTIFY's lock");
is($node->psql('postgres', "SET lock_timeout = '10 s'; SET synchronous_commit = local; $job"),
	0, 'enqueuing does not need it');
becomes($node, "SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'Lock', 'the scheduler waits for it');
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
sql('ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
$waiting->finish;
$start = time;
is(heard_next($listener, 'jobs'), 'jobs:scheduler', 'ended while it announces, the next one does');
$took = time - $start;
cmp_ok($took, '<', 4, "at once, too ($took s)");
at_rest($node);
heard($listener);

# While another queue's turn lasts
sql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION slow()});
my $slow = session($node);
$slow->query_safe('SELECT pg_advisory_lock(42)');
heard($listener);
sql("INSERT INTO other (params, schedule, state) VALUES ('{}', '2000-01-01', 'SCHEDULED')");
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'advisory', 'a long turn');
$start = time;
sql($job);
$took = time - $start;
is(heard($listener), 'jobs:session', 'during it the session notifies');
ok($took < 5, "and does not wait ($took s)");
$slow->query_safe('SELECT pg_advisory_unlock(42)');
$slow->quit;
sql('DROP TRIGGER a_slow ON other');
at_rest($node);
like(heard($listener), qr/other:scheduler/, 'then it goes on');

# While it waits for the registry
my $lock = session($node);
$lock->query_safe('BEGIN; LOCK TABLE ecto_job.queue_settings');
heard($listener);
sql('SELECT ecto_job.enable()'); # it looks
becomes($node, "SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'Lock', 'the registry is locked');
sql($job);
is(heard($listener), 'jobs:session', 'the session notifies');
$lock->query_safe('COMMIT');
$lock->quit;
at_rest($node);
heard($listener);

# More queues than places
my $full = -s $node->logfile;
sql("SELECT ecto_job.create_queue(name) FROM unnest('{third,fourth}'::text[]) AS name");
ok(wait_for_log($node, qr/WARNING:  more queues than places in shared memory/), 'more queues than places');
my $unplaced = sql("SELECT queue FROM ecto_job.queues WHERE status ~ '^not recorded'");
at_rest($node);
$listener->{session}->query_safe('LISTEN fourth');
heard($listener);
hears("$unplaced:session", 'in a queue without a place the session notifies',
	"INSERT INTO $unplaced (params) VALUES ('{}')");
hears('jobs:scheduler', 'in another the scheduler', $job);
$node->safe_psql('postgres', "SELECT ecto_job.enqueue('$unplaced', '{}') FROM generate_series(1, 100)");
pass('no enqueuing fails of it');
sql("SELECT ecto_job.configure_queue('$unplaced', poll_interval => '200 ms')");
sql("INSERT INTO $unplaced (params, schedule, state) VALUES ('{\"what\": \"unplaced\"}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM $unplaced WHERE params ->> 'what' = 'unplaced'", 'AVAILABLE', 'what is due there is found by polling');
is(() = slurp_file($node->logfile, $full) =~ /more queues than/g, 1, 'one WARNING');
my ($placed) = grep { $_ ne $unplaced } qw(third fourth);
sql("SELECT ecto_job.drop_queue('$placed')");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = '$unplaced'::regclass", 'ok', 'it gets the place of one that is dropped');
at_rest($node);
heard($listener);
hears("$unplaced:scheduler", 'and the scheduler announces', "INSERT INTO $unplaced (params) VALUES ('{}')");
sql("SELECT ecto_job.drop_queue('$unplaced')");

# When nobody can notify: pages of the notification queue that cannot be written. Commits do not fail of it
my $pages = $node->data_dir . '/pg_notify';
my $holder = session($node);
$holder->query_safe('LISTEN filler');
$holder->query_safe('BEGIN');
rename $pages, "$pages.away" or die $!;
# Each of the first takes a page; the last ones what is left of it
for my $payload ("repeat('x', 7900)", "''")
{
	my $n = 0;
	1 while $n++ < 500 && $node->psql('postgres', "SELECT pg_notify('filler', $payload)") == 0;
}
$offset = -s $node->logfile;
is($node->psql('postgres', $job), 0, 'a commit that enqueues does not fail of NOTIFY');
ok(wait_for_log($node, qr/WARNING:  notifying consumers failed: /, $offset), 'the scheduler does, and says so');
is($node->psql('postgres', $job), 0, 'nor does a later one');
sql(q{INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes($node, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0, 'what is due is moved meanwhile');
like(sql("SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass"), qr/^not announced: /,
	'the status says that nobody is told');
rename "$pages.away", $pages or die $!;
is(heard_next($listener, 'jobs'), 'jobs:scheduler', 'it is announced when that works again');
$holder->query_safe('COMMIT');
$holder->quit;
heard($listener);
# It would outlive its limit while it is not asked
$listener->{session}->quit;

# 100,000 rings
my $memory = q{SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'};
sub memory_of_scheduler
{
	my $log = -s $node->logfile;
	sql($memory);
	sql($job); # it looks at the request when it wakes
	wait_for_log($node, qr/Grand total: \d+ bytes/, $log);
	slurp_file($node->logfile, $log) =~ /Grand total: (\d+) bytes/;
	return $1;
}
at_rest($node);
my $before = memory_of_scheduler();
my $pid = scheduler_pid($node);
# A commit each; which of them ring once more depends on how fast the scheduler is
sql("DO \$\$ BEGIN FOR i IN 1 .. 100000 LOOP $job; COMMIT; END LOOP; END \$\$");
at_rest($node);
cmp_ok(memory_of_scheduler(), '<', $before + 65536, '100,000 rings leave nothing in its memory');
is(scheduler_pid($node), $pid, 'it is the same one');
sql('TRUNCATE jobs');

# Killed at any moment, under load; the consumer wakes by notifications only
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
note("killed $killed times");
cmp_ok($killed, '>', 2, 'the scheduler and the launcher were killed');
my $waited = time;
ok( consume($consumer, 30, sub { sql("SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'") eq 0 }),
	'no announcement is lost');
note(sprintf 'after %.1f s', time - $waited);
$consumer->quit;

# And killed, which ends every session: a consumer that comes back looks, as it must, and then listens
for my $crash (1, 2)
{
	$load = IPC::Run::start(
		[ 'pgbench', '-n', '-c', 3, '-T', 30, '-D', 'pause=1000', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', '/dev/null', '2>', '/dev/null');
	at_rest($node);
	becomes($node, "SELECT count(*) > 100 FROM jobs WHERE state = 'AVAILABLE'", 't', "load, $crash");
	$offset = -s $node->logfile;
	kill 9, scheduler_pid($node);
	$load->finish;
	ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'a crash');
	$node->poll_query_until('postgres', 'SELECT true');
	$consumer = session($node);
	$consumer->query_safe('LISTEN jobs');
	$consumer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1000000); DELETE FROM jobs");
	sql($job);
	ok( consume($consumer, 10, sub { sql("SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'") eq 0 }),
		'what comes after it is announced');
	$consumer->quit;
}

# A transaction with very many savepoints does not keep what they did
my $many = session($node);
my $memory_of = "SELECT total_bytes FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext'";
for my $fate ("RAISE 'x'", 'NULL')
{
	$many->query_safe('BEGIN');
	$many->query_safe("DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP
			BEGIN $job; $fate; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END \$\$");
	cmp_ok($many->query_safe($memory_of), '<', 1_000_000, "20,000 savepoints with $fate leave little memory");
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
cmp_ok(abs($bytes - $documented), '<=', 50, "$bytes bytes for a queue, $documented in the documentation");

# No worker is free
my $crowded = new_node(name => 'full', conf => "max_worker_processes = 1\nmax_logical_replication_workers = 0\n");
$crowded->safe_psql('postgres', "SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
becomes($crowded, "SELECT DISTINCT status ~ 'no background worker is free' FROM ecto_job.queues", 't', 'no worker is free');
my $other = listen_to($crowded, 'jobs');
$crowded->safe_psql('postgres', $job);
is(heard($other), 'jobs:session', 'the session notifies');
$other->{session}->quit;
$crowded->stop;

my $bare = new_node(name => 'bare', preload => 0, conf => "max_prepared_transactions = 2\n");
$bare->safe_psql('postgres', "SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
$other = listen_to($bare, 'jobs');
$bare->safe_psql('postgres', $job);
is(heard($other), 'jobs:session', 'without preload the session notifies');
my (undef, undef, $error) = $bare->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; $job; PREPARE TRANSACTION 'p'");
like($error, qr/ERROR:  0A000: cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY$/m, 'and cannot be prepared');
is($bare->safe_psql('postgres', 'SELECT count(*) FROM jobs'), 1, 'so its job never was');
is(heard($other), '', 'nor is anything sent');
$other->{session}->quit;
$bare->stop;

done_testing();
