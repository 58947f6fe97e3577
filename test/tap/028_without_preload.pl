# start_scheduler() and stop_scheduler(): above all where the library is not preloaded, so that the scheduler
# is one that somebody started by hand and that ends with the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use BellTest;
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

# try($statement, role => 'somebody', database => 'other', node => ...): what psql says on stderr, with SQLSTATEs
sub try
{
	my ($statement, %options) = @_;
	my (undef, undef, $error) = ($options{node} // $node)->psql(
		$options{database} // 'postgres',
		"\\set VERBOSITY verbose\n$statement",
		extra_params => [ $options{role} ? ('-U', $options{role}) : () ]);
	return $error;
}

# The settings are unknown to a session that has not loaded the library
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
is($again =~ s/^LOCATION: .*\n//mr, $warning =~ s/^LOCATION: .*\n//mr, 'by warn_unless_preloaded()');
sql("SELECT ecto_job.create_queue('fence'); SELECT ecto_job.create_queue('jobs');
     SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
is(sql($status), $none, 'the view says what is missing');

# Start
like(try($start),
	qr/WARNING: .*the scheduler of database "postgres" runs until the server's next restart.*HINT: .*shared_preload_libraries = 'ecto_job'/s,
	'start_scheduler() says for how long');
becomes($node, schedulers(), 1, 'a scheduler is there');
becomes($node, $status, 'ok', 'the view says so');
moves('started, it moves what is due');
my $pid = scheduler_pid($node);
like(try($start), qr/WARNING: /, 'started again, the same WARNING');
like(try("$start; $start"), qr/WARNING: /, 'and again, with no worker free');
becomes($node, schedulers(), 1, 'there is one');
is(scheduler_pid($node), $pid, 'the first one');
# Nothing is left that a sweep of everything would announce
sql("DELETE FROM jobs; SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')");
at_rest($node);
my $listener = listen_to($node, 'jobs');
sql("INSERT INTO jobs (params) VALUES ('{}')");
is(heard($listener), 'jobs:session', 'sessions notify themselves');
sql("DELETE FROM jobs; SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms');
     INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp() + interval '50 ms', 'SCHEDULED')");
is(heard_next($listener, 'jobs'), 'jobs:scheduler', 'what it moves it announces');
$listener->{session}->quit;
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')");
at_rest($node);
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"told\"}', clock_timestamp(), 'SCHEDULED')");
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = 'told'", 'AVAILABLE', 'configure_queue takes effect at once');
sql("SELECT ecto_job.create_queue('more')");
sql("INSERT INTO more (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
sql("SELECT ecto_job.configure_queue('more', poll_interval => '100 ms')");
becomes($node, 'SELECT state FROM more', 'AVAILABLE', 'a new queue is swept too');

# Settings
set_everywhere('ALTER SYSTEM SET ecto_job.enabled = off');
becomes($node, $status, 'no scheduler: ecto_job.enabled is off', 'the emergency stop works');
set_everywhere('ALTER SYSTEM RESET ecto_job.enabled');
set_everywhere("ALTER SYSTEM SET ecto_job.databases = 'elsewhere'");
moves('on again; ecto_job.databases is for the launcher');
set_everywhere('ALTER SYSTEM RESET ecto_job.databases');

# Stop
like(try("BEGIN; $stop; COMMIT"),
	qr/ERROR: +25001: ecto_job\.stop_scheduler\(\) cannot run inside a transaction block.*HINT: .*ecto_job\.disable\(\)/s,
	'stop_scheduler() is refused in a transaction block');
like(try("DO \$\$ BEGIN PERFORM ecto_job.stop_scheduler(); EXCEPTION WHEN division_by_zero THEN NULL; END \$\$"),
	qr/ERROR: +25001/, 'and where an exception could be caught');
is(scheduler_pid($node), $pid, 'the scheduler is still there');
is(try($stop), '', 'by itself it stops it');
is(sql(schedulers()), 0, 'and the scheduler has left when it returns');
is(sql($status), 'disabled', 'the view says so');
is(try($stop), '', 'stopped again, nothing happens');

# Rolled back, and late
for my $undone ("BEGIN; $start; ROLLBACK", "BEGIN; SAVEPOINT s; $start; ROLLBACK TO s; COMMIT", "BEGIN; $start; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'")
{
	my $offset = -s $node->logfile;
	sql('SET client_min_messages = error; ' . $undone);
	becomes($node, schedulers(), 0, "no scheduler after $undone");
	is(sql($status), 'disabled', 'nor a trace');
}
sql("SET client_min_messages = error; BEGIN; $start; PREPARE TRANSACTION 'p'");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"what\": \"prepared\"}', clock_timestamp(), 'SCHEDULED')");
is(sql($status), 'disabled', 'a prepared start is none');
sql("COMMIT PREPARED 'p'");
becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = 'prepared'", 'AVAILABLE', 'until COMMIT PREPARED');
$pid = scheduler_pid($node);
like(try("$stop; $start"), qr/WARNING/, 'stopped and started');
becomes($node, "SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 't', 'it is another one');

# Started while the former is about to leave: it has read that it is disabled, and is held up
my $holder = session($node);
$holder->query_safe('BEGIN; LOCK TABLE ecto_job.queue_settings');
sql('SELECT ecto_job.disable()');
my $waits = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity USING (pid)
	WHERE backend_type = 'ecto_job scheduler' AND relation = 'ecto_job.queue_settings'::regclass AND NOT granted";
becomes($node, $waits, 1, 'a scheduler is about to leave');
my $former = scheduler_pid($node);
sql("SET client_min_messages = error; $start");
# Seen from its start to its end, where it says nothing
ok(poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $former") eq 0 }, 'its end'),
	'another was started, and leaves it to the first');
$holder->query_safe('COMMIT');
moves('which stays');
for my $n (1 .. 5)
{
	sql("SET client_min_messages = error; SELECT ecto_job.disable(); $start");
	moves("at once, $n");
}

# No worker is free: one is used here, the other elsewhere
sql("CREATE DATABASE $_") for qw(one two);
for my $database (qw(one two))
{
	$node->safe_psql($database, 'SET client_min_messages = error; CREATE EXTENSION ecto_job');
}
like(try($start, database => 'one'), qr/WARNING/, 'in a database without a queue');
becomes($node, schedulers('one'), 1, 'it waits for the first one');
like(try($start, database => 'two'),
	qr/ERROR: +53000: the scheduler of database "two" could not be started.*HINT: .*raise max_worker_processes, now 2/s,
	'no worker is free');
is($node->safe_psql('two', 'SELECT count(*) FROM ecto_job.scheduler_state'), 0, 'and nothing is recorded');
like(try($start), qr/WARNING: /, 'where one runs already it is no error');
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
		qr/ERROR: +42501: must be owner of database "postgres"/, "$function() is not for everybody");
}
is(try($stop, role => 'owner', database => 'one'), '', "but for the database's owner");
is(sql(schedulers('one')), 0, 'who has stopped it');
like(try($start, role => 'owner', database => 'one'), qr/WARNING/, 'and starts it');

# DROP DATABASE: there is no hook that makes it leave
becomes($node, schedulers('one'), 1, 'a scheduler in the database');
like(try('DROP DATABASE one'), qr/ERROR: +55006: database "one" is being accessed by other users/, 'DROP DATABASE is refused');
is(try($stop, database => 'one') . try('DROP DATABASE one'), '', 'but not after stop_scheduler()');
like(try($start, database => 'two'), qr/WARNING/, 'another one');
becomes($node, schedulers('two'), 1, 'starts');
is(try('DROP DATABASE two WITH (FORCE)'), '', 'WITH (FORCE) ends it');

# DROP EXTENSION
$pid = scheduler_pid($node);
sql('SET client_min_messages = error; BEGIN; DROP EXTENSION ecto_job CASCADE; ROLLBACK');
moves('DROP EXTENSION rolled back');
is(scheduler_pid($node), $pid, 'is not noticed');
$holder->query_safe('SET client_min_messages = error; BEGIN; DROP EXTENSION ecto_job CASCADE');
becomes($node, "SELECT count(*) FROM pg_locks WHERE classid = 'pg_extension'::regclass AND mode = 'AccessExclusiveLock'", 1, 'being dropped');
$holder->query_safe('ROLLBACK');
$holder->quit;
moves('and rolled back later');
sql('SET client_min_messages = error; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs, more, fence');
becomes($node, schedulers(), 0, 'DROP EXTENSION ends it');
sql('SET client_min_messages = error; CREATE EXTENSION ecto_job');
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("SET client_min_messages = error; $start");
moves('created again and started again');

# It ends with the server, however that ends
my $offset = -s $node->logfile;
kill 9, scheduler_pid($node);
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'a crash');
$node->poll_query_until('postgres', 'SELECT true');
is(sql($status), $none, 'takes it away, and the view says so');
is(sql(schedulers()), 0, 'it is gone');
sql("SET client_min_messages = error; $start");
moves('started after a crash');
sql('SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = \'ecto_job scheduler\'');
is(sql($status), $none, 'terminated it does not come back');
sql("SET client_min_messages = error; $start");
moves('unless it is started');

# Cancelled while it waits
my $seen = -s $node->logfile;
$node->restart;
is(sql($status), $none, 'a restart ends it');
unlike(slurp_file($node->logfile, $seen), qr/ERROR|PANIC/, 'in peace');

# A standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
for my $function (qw(enable disable start_scheduler stop_scheduler))
{
	like(try("SELECT ecto_job.$function()", node => $standby),
		qr/ERROR: +25006: cannot execute ecto_job\.$function\(\) during recovery/, "$function() on a standby");
}
is($standby->safe_psql('postgres', $status), 'no scheduler: the server is a standby', 'whose view says why');
$node->stop;
$standby->promote;
like(try($start, node => $standby), qr/WARNING/, 'promoted, it can be started');
ok(poll_until(sub { $standby->safe_psql('postgres', $status) eq 'ok' }, 'its scheduler'), 'and is there');
$standby->stop;

# With preload the launcher does it
$node = new_node(name => 'preloaded', conf => "ecto_job.sweep_timeout = '60 s'\n");
sql("SELECT ecto_job.create_queue(name) FROM unnest('{fence,jobs}'::text[]) AS name");
at_rest($node);
is(try($start), '', 'with preload there is nothing to warn of');
$pid = scheduler_pid($node);
like(try("BEGIN; $stop; COMMIT"), qr/ERROR: +25001/, 'a transaction block is refused here too');
like(try("SELECT ecto_job.stop_scheduler(), 1 / count(*) FROM fence"), qr/division by zero/, 'one that fails');
becomes($node, "SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 't', 'brings it back');
is(sql("SELECT enabled FROM ecto_job.scheduler_state"), 't', 'and nothing is recorded');
at_rest($node);
is(try($stop), '', 'stopped');
is(sql(schedulers()), 0, 'it has left');
is(try($stop), '', 'stopped twice');
$listener = listen_to($node, 'jobs');
sql("INSERT INTO jobs (params) VALUES ('{}')");
is(heard($listener), 'jobs:session', 'the session notifies');
$listener->{session}->quit;
is(sql($status), 'disabled', 'the view says why');
is(try($start), '', 'started');
moves('and at work again');

# Stopped in a sweep that does not end by itself
sql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()});
my $slow = session($node);
$slow->query_safe('SELECT pg_advisory_lock(42)');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', '2000-01-01', 'SCHEDULED')");
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'advisory', 'a long turn');
my $began = time;
is(try($stop), '', 'stop_scheduler() while a sweep hangs');
cmp_ok(time - $began, '<', 30, 'does not wait for its limit');
is(sql(schedulers()), 0, 'it has left');
$slow->query_safe('SELECT pg_advisory_unlock(42)');
$slow->quit;
$node->stop;

done_testing();
