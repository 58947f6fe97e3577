# start_scheduler() and stop_scheduler() start and stop a scheduler, above all where the library is not preloaded: there
# the scheduler is started on demand and ends with the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node(
	preload => 0,
	extension => 0,
	allows_streaming => 1,
	conf => "max_prepared_transactions = 2\nmax_worker_processes = 2\nmax_logical_replication_workers = 0\nmax_parallel_workers = 0\n");
my $start = 'SELECT ecto_job.start_scheduler()';
my $stop = 'SELECT ecto_job.stop_scheduler()';
my $status = 'SELECT DISTINCT status FROM ecto_job.queues';
my $none = 'no scheduler: add ecto_job to shared_preload_libraries and restart the server; until then SELECT ecto_job.start_scheduler()';

sub sql { return $node->safe_psql('postgres', shift); }

# try($statement, role => 'somebody', database => 'other', node => ...): returns psql's stderr, with SQLSTATEs
sub try
{
	my ($statement, %options) = @_;
	my (undef, undef, $error) = ($options{node} // $node)->psql(
		$options{database} // 'postgres',
		"\\set VERBOSITY verbose\n$statement",
		extra_params => [ $options{role} ? ('-U', $options{role}) : () ]);
	return $error;
}

# set_everywhere($statement): runs ALTER SYSTEM in a session that has loaded the library, and so knows its settings, and
# reloads
sub set_everywhere
{
	sql("LOAD 'ecto_job'; $_[0]");
	$node->reload;
}

sub schedulers
{
	my ($database) = (@_, 'postgres');
	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = '$database'";
}

sub moves
{
	my ($name) = @_;
	sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"$name\"}', clock_timestamp() + interval '50 ms', 'SCHEDULED')");
	becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = '$name'", 'AVAILABLE', $name);
}

my $warning = try('CREATE EXTENSION ecto_job');
like($warning, qr/WARNING: .*HINT: .*shared_preload_libraries = 'ecto_job'.*SELECT ecto_job\.start_scheduler\(\)/s,
	'CREATE EXTENSION names the line to add, and what helps until then');
my $again = try('SELECT ecto_job.warn_unless_preloaded()');
is($again =~ s/^LOCATION: .*\n//mr, $warning =~ s/^LOCATION: .*\n//mr,
	'warn_unless_preloaded() gives the same WARNING as CREATE EXTENSION');
sql("SELECT ecto_job.create_queue('fence'); SELECT ecto_job.create_queue('jobs');
     SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
is(sql($status), $none, 'the view says that preload is missing and what helps until then');

# Start
like(try($start),
	qr/WARNING: .*the scheduler of database "postgres" runs until the server's next restart.*HINT: .*shared_preload_libraries = 'ecto_job'/s,
	'start_scheduler() warns that the scheduler runs until the next restart');
becomes($node, schedulers(), 1, 'a scheduler runs after start_scheduler()');
becomes($node, $status, 'ok', 'the view reports the queues as ok after start_scheduler()');
moves('a scheduler started on demand moves a due job');
my $pid = scheduler_pid($node);
like(try($start), qr/WARNING: /, 'start_scheduler() gives its WARNING again when a scheduler runs');
like(try("$start; $start"), qr/WARNING: /, 'start_scheduler() twice at once gives its WARNING, with no worker free');
becomes($node, schedulers(), 1, 'one scheduler runs after repeated start_scheduler()');
is(scheduler_pid($node), $pid, 'the scheduler after repeated start_scheduler() is the first one');
# No job is left that a full sweep would announce
sql("DELETE FROM jobs; SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day');
     INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'the new poll_interval has everything swept once');
sql('DELETE FROM jobs');
wait_for_sleep($node);
my $listener = new_listener($node, 'jobs');
sql("INSERT INTO jobs (params) VALUES ('{}')");
# Without preload each setting of the scheduler's latch makes it sweep, and the sweep may notify, too
like(notifications($listener), qr/\bjobs:session\b/, 'a session notifies by itself beside a scheduler started on demand');
sql("DELETE FROM jobs; SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms');
     INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp() + interval '50 ms', 'SCHEDULED')");
is(next_notification($listener, 'jobs'), 'jobs:scheduler',
	'a scheduler started on demand announces the job that it moves');
$listener->{session}->quit;
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')");
wait_for_sleep($node);
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"told\"}', clock_timestamp(), 'SCHEDULED')");
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = 'told'", 'AVAILABLE',
	'configure_queue() takes effect at once');
sql("SELECT ecto_job.create_queue('more')");
sql("INSERT INTO more (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
sql("SELECT ecto_job.configure_queue('more', poll_interval => '100 ms')");
becomes($node, 'SELECT state FROM more', 'AVAILABLE', 'a scheduler started on demand sweeps a new queue');

# Settings
set_everywhere('ALTER SYSTEM SET ecto_job.enabled = off');
becomes($node, $status, 'no scheduler: ecto_job.enabled is off',
	'ecto_job.enabled = off stops a scheduler started on demand');
set_everywhere('ALTER SYSTEM RESET ecto_job.enabled');
set_everywhere("ALTER SYSTEM SET ecto_job.databases = 'elsewhere'");
moves('a scheduler started on demand ignores ecto_job.databases');
set_everywhere('ALTER SYSTEM RESET ecto_job.databases');

# Stop
like(try("BEGIN; $stop; COMMIT"),
	qr/ERROR: +25001: ecto_job\.stop_scheduler\(\) cannot run inside a transaction block.*HINT: .*ecto_job\.disable\(\)/s,
	'stop_scheduler() is refused in a transaction block');
like(try("DO \$\$ BEGIN PERFORM ecto_job.stop_scheduler(); EXCEPTION WHEN division_by_zero THEN NULL; END \$\$"),
	qr/ERROR: +25001/, 'stop_scheduler() is refused where an exception could be caught');
is(scheduler_pid($node), $pid, 'the scheduler stays when stop_scheduler() was refused');
is(try($stop), '', 'stop_scheduler() succeeds as a statement of its own');
is(sql(schedulers()), 0, 'the scheduler has left when stop_scheduler() returns');
is(sql($status), 'disabled', 'the view reports the queues as disabled after stop_scheduler()');
is(try($stop), '', 'stop_scheduler() succeeds when no scheduler runs');

# A start that is rolled back, and one that is prepared and committed later
for my $undone ("BEGIN; $start; ROLLBACK", "BEGIN; SAVEPOINT s; $start; ROLLBACK TO s; COMMIT", "BEGIN; $start; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'")
{
	my $offset = -s $node->logfile;
	sql('SET client_min_messages = error; ' . $undone);
	becomes($node, schedulers(), 0, "no scheduler runs after $undone");
	is(sql($status), 'disabled', "the view reports the queues as disabled after $undone");
}
sql("SET client_min_messages = error; BEGIN; $start; PREPARE TRANSACTION 'p'");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"prepared\"}', clock_timestamp(), 'SCHEDULED')");
is(sql($status), 'disabled', 'a prepared start_scheduler() leaves the queues disabled');
sql("COMMIT PREPARED 'p'");
becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = 'prepared'", 'AVAILABLE',
	'a due job is moved after COMMIT PREPARED of start_scheduler()');
$pid = scheduler_pid($node);
like(try("$stop; $start"), qr/WARNING/, 'start_scheduler() after stop_scheduler() gives its WARNING');
becomes($node, "SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 't',
	'start_scheduler() after stop_scheduler() starts another process');

# A scheduler is started while the former one is about to leave: the former has read that it is disabled, and a lock
# holds it up
my $holder = session($node);
$holder->query_safe('BEGIN; LOCK TABLE ecto_job.queue_settings');
sql('SELECT ecto_job.disable()');
my $waits = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity USING (pid)
	WHERE backend_type = 'ecto_job scheduler' AND relation = 'ecto_job.queue_settings'::regclass AND NOT granted";
becomes($node, $waits, 1, 'a scheduler is about to leave');
my $former = scheduler_pid($node);
sql("SET client_min_messages = error; $start");
# The test waits until the other scheduler, which reports nothing, has ended
ok(poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $former") eq 0 },
		"the other scheduler's end"),
	'a scheduler started while another is about to leave ends');
$holder->query_safe('COMMIT');
moves('a scheduler that was about to leave stays when another was started');
for my $n (1 .. 5)
{
	sql("SET client_min_messages = error; SELECT ecto_job.disable(); $start");
	moves("a due job is moved after disable() and start_scheduler() at once, $n");
}

# No worker is free: one is used in this database, the other in another
sql("CREATE DATABASE $_") for qw(one two);
for my $database (qw(one two))
{
	$node->safe_psql($database, 'SET client_min_messages = error; CREATE EXTENSION ecto_job');
}
like(try($start, database => 'one'), qr/WARNING/, 'start_scheduler() gives its WARNING in a database without a queue');
becomes($node, schedulers('one'), 1, 'the scheduler of a database without a queue stays');
like(try($start, database => 'two'),
	qr/ERROR: +53000: the scheduler of database "two" could not be started.*HINT: .*raise max_worker_processes, now 2/s,
	'start_scheduler() fails when no worker is free, and says which setting to raise');
is($node->safe_psql('two', 'SELECT count(*) FROM ecto_job.scheduler_state'), 0,
	'a start_scheduler() that failed records nothing');
like(try($start), qr/WARNING: /, 'start_scheduler() succeeds without a free worker where a scheduler runs already');
$node->safe_psql('one', "SELECT ecto_job.create_queue('jobs');
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED');
	SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
ok(poll_until(sub { $node->safe_psql('one', 'SELECT state FROM jobs') eq 'AVAILABLE' }, 'the sweep'),
	'the first queue of a database is swept at once');

# Rights
sql('CREATE ROLE stranger LOGIN; CREATE ROLE owner LOGIN; ALTER DATABASE one OWNER TO owner');
for my $function (qw(start_scheduler stop_scheduler))
{
	like(try("SELECT ecto_job.$function()", role => 'stranger'),
		qr/ERROR: +42501: must be owner of database "postgres"/,
		"$function() is refused to a role that does not own the database");
}
is(try($stop, role => 'owner', database => 'one'), '', "stop_scheduler() is allowed to the database's owner");
is(sql(schedulers('one')), 0, "stop_scheduler() by the database's owner stops the scheduler");
like(try($start, role => 'owner', database => 'one'), qr/WARNING/,
	"start_scheduler() by the database's owner gives its WARNING");

# Without preload no hook makes the scheduler leave for DROP DATABASE
becomes($node, schedulers('one'), 1, 'a scheduler runs in the database to be dropped');
like(try('DROP DATABASE one'), qr/ERROR: +55006: database "one" is being accessed by other users/,
	'DROP DATABASE is refused while a scheduler started on demand runs');
is(try($stop, database => 'one') . try('DROP DATABASE one'), '', 'DROP DATABASE succeeds after stop_scheduler()');
like(try($start, database => 'two'), qr/WARNING/, 'start_scheduler() gives its WARNING in another database');
becomes($node, schedulers('two'), 1, 'a scheduler runs in the other database to be dropped');
is(try('DROP DATABASE two WITH (FORCE)'), '',
	'DROP DATABASE WITH (FORCE) succeeds while a scheduler started on demand runs');

# DROP EXTENSION
$pid = scheduler_pid($node);
sql('SET client_min_messages = error; BEGIN; DROP EXTENSION ecto_job CASCADE; ROLLBACK');
moves('a due job is moved after DROP EXTENSION was rolled back');
is(scheduler_pid($node), $pid, 'the scheduler is the same process after DROP EXTENSION was rolled back');
$holder->query_safe('SET client_min_messages = error; BEGIN; DROP EXTENSION ecto_job CASCADE');
becomes($node, "SELECT count(*) FROM pg_locks WHERE classid = 'pg_extension'::regclass AND mode = 'AccessExclusiveLock'", 1,
	'a transaction that drops the extension has its lock');
$holder->query_safe('ROLLBACK');
$holder->quit;
moves('a due job is moved after DROP EXTENSION was rolled back later');
sql('SET client_min_messages = error; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs, more, fence');
becomes($node, schedulers(), 0, 'DROP EXTENSION ends a scheduler started on demand');
sql('SET client_min_messages = error; CREATE EXTENSION ecto_job');
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("SET client_min_messages = error; $start");
moves('a due job is moved after CREATE EXTENSION and start_scheduler()');

# A scheduler started on demand ends with the server, however that ends
my $offset = -s $node->logfile;
kill 9, scheduler_pid($node);
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'the server restarts after a crash');
$node->poll_query_until('postgres', 'SELECT true');
is(sql($status), $none, 'the view says that no scheduler runs after a crash');
is(sql(schedulers()), 0, 'no scheduler runs after a crash');
sql("SET client_min_messages = error; $start");
moves('a scheduler started after a crash moves a due job');
sql('SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = \'ecto_job scheduler\'');
is(sql($status), $none, 'a scheduler started on demand does not come back when it is terminated');
sql("SET client_min_messages = error; $start");
moves('a scheduler started after one was terminated moves a due job');

# A restart
my $seen = -s $node->logfile;
$node->restart;
is(sql($status), $none, 'the view says that no scheduler runs after a restart');
unlike(slurp_file($node->logfile, $seen), qr/ERROR|PANIC/, 'the log of the restart holds no ERROR and no PANIC');

# A standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
for my $function (qw(enable disable start_scheduler stop_scheduler))
{
	like(try("SELECT ecto_job.$function()", node => $standby),
		qr/ERROR: +25006: cannot execute ecto_job\.$function\(\) during recovery/, "$function() is refused on a standby");
}
is($standby->safe_psql('postgres', $status), 'no scheduler: the server is a standby',
	'the view says that the server is a standby');
$node->stop;
$standby->promote;
like(try($start, node => $standby), qr/WARNING/, 'start_scheduler() gives its WARNING after a promotion');
ok(poll_until(sub { $standby->safe_psql('postgres', $status) eq 'ok' }, 'the scheduler of the promoted server'),
	'the queues are ok after a promotion and start_scheduler()');
$standby->stop;

# With preload the launcher starts and stops the scheduler
$node = new_node(name => 'preloaded', conf => "ecto_job.sweep_timeout = '60 s'\n");
sql("SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
wait_for_sleep($node);
is(try($start), '', 'start_scheduler() gives no WARNING with preload');
$pid = scheduler_pid($node);
like(try("BEGIN; $stop; COMMIT"), qr/ERROR: +25001/,
	'stop_scheduler() is refused in a transaction block with preload, too');
like(try("SELECT ecto_job.stop_scheduler(), 1 / count(*) FROM fence"), qr/division by zero/,
	'a statement with stop_scheduler() in it fails');
becomes($node, "SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 't',
	'the scheduler comes back when a statement with stop_scheduler() failed');
is(sql("SELECT enabled FROM ecto_job.scheduler_state"), 't',
	'a statement with stop_scheduler() that failed records nothing');
wait_for_sleep($node);
is(try($stop), '', 'stop_scheduler() succeeds with preload');
is(sql(schedulers()), 0, 'the scheduler has left when stop_scheduler() returns with preload');
is(try($stop), '', 'stop_scheduler() succeeds a second time with preload');
$listener = new_listener($node, 'jobs');
sql("INSERT INTO jobs (params) VALUES ('{}')");
is(notifications($listener), 'jobs:session', 'the session notifies by itself after stop_scheduler()');
$listener->{session}->quit;
is(sql($status), 'disabled', 'the view reports the queues as disabled after stop_scheduler() with preload');
is(try($start), '', 'start_scheduler() succeeds after stop_scheduler() with preload');
moves('a due job is moved after start_scheduler() with preload');

# The scheduler is stopped in a sweep that does not end by itself
sql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()});
my $slow = session($node);
$slow->query_safe('SELECT pg_advisory_lock(42)');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', '2000-01-01', 'SCHEDULED')");
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'advisory',
	'a sweep waits in a trigger');
my $began = time;
is(try($stop), '', 'stop_scheduler() succeeds while a sweep hangs');
cmp_ok(time - $began, '<', 30, 'stop_scheduler() does not wait for the time limit of a sweep that hangs');
is(sql(schedulers()), 0, 'the scheduler whose sweep hung has left when stop_scheduler() returns');
$slow->query_safe('SELECT pg_advisory_unlock(42)');
$slow->quit;
$node->stop;

done_testing();
