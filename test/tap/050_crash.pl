# Crashes: whichever process ends, one scheduler runs again without help.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(allows_streaming => 1, conf => "max_prepared_transactions = 5\nmax_worker_processes = 8\n");

# Returns 'no answer' while the server restarts
sub try_sql
{
	my ($query, $server) = @_;
	my ($status, $output) = ($server // $node)->psql('postgres', $query);
	return $status == 0 ? $output : 'no answer';
}

sub sql { return $node->safe_psql('postgres', shift); }

sub becomes
{
	my ($query, $expected, $name, $server) = @_;
	ok(poll_until(sub { try_sql($query, $server) eq $expected }, $name), $name)
	  or diag(try_sql($query, $server));
}

my $pid_query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'";
my $count = 0;

sub pid
{
	my $pid;
	poll_until(sub { ($pid = try_sql($pid_query)) =~ /^\d+$/ }, 'a scheduler');
	return $pid;
}

# Passes when a job that is due at once is activated
sub sweeps
{
	my ($name, $server) = @_;
	$count++;
	($server // $node)->poll_query_until('postgres', 'SELECT true');
	($server // $node)->safe_psql('postgres', "INSERT INTO jobs (params, schedule, state)
		VALUES ('{\"n\": $count}', clock_timestamp(), 'SCHEDULED')");
	becomes("SELECT state FROM jobs WHERE params = '{\"n\": $count}'", 'AVAILABLE', $name, $server);
}

# Returns the server's last message, with its SQLSTATE, to a session that runs pg_sleep() during the crash
sub message_during
{
	my ($harm) = @_;
	my ($output, $error) = ('', '');
	my $witness = IPC::Run::start([ 'psql', '-X', '-q', '-c', '\\set VERBOSITY verbose', '-c', 'SELECT pg_sleep(3600)',
		'-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$output, '2>', \$error);
	becomes("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", 1, 'a session that does no harm waits');
	$harm->();
	$witness->finish;
	return $error;
}

sub crashed
{
	my ($offset) = @_;
	ok(wait_for_log($node, qr/reinitializing.*ready to accept connections/s, $offset),
		'the server restarts');
}

sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '50 ms')");
sweeps('the scheduler sweeps');

# kill -9
my $offset = -s $node->logfile;
my $killed = pid();
like(message_during(sub { kill 9, $killed }),
	qr/^WARNING:  57P02: terminating connection because of crash of another server process
DETAIL:  The postmaster has commanded this server process to roll back the current transaction and exit, because another server process exited abnormally and possibly corrupted shared memory\.
HINT:  In a moment you should be able to reconnect to the database and repeat your command\.$/m,
	'kill -9 of the scheduler is reported to every session, 57P02');
crashed($offset);
like(slurp_file($node->logfile, $offset), qr/LOG:  background worker "ecto_job scheduler" \(PID $killed\) was terminated by signal 9: Killed\n.*LOG:  terminating any other active server processes/s,
	'the log says which process died');
sweeps('the queue is swept after kill -9 of the scheduler');

$offset = -s $node->logfile;
my $session = $node->background_psql('postgres');
sql('CREATE TABLE effects (id bigint)');
my ($held, $lease) = split /\|/, $session->query_safe("SELECT id, lease FROM ecto_job.start_available_jobs('jobs', 1, '1 hour')");
my $backend = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $held, $lease); INSERT INTO effects VALUES ($held);
	SELECT ecto_job.enqueue('jobs', '{\"lost\": true}')");
kill 9, $backend;
crashed($offset);
eval { $session->quit };
sweeps('the queue is swept after kill -9 of a backend');
is(sql("SELECT state FROM jobs WHERE id = $held"), 'IN_PROGRESS', 'a lease survives the crash');
is(sql("SELECT count(*) FROM jobs WHERE params ? 'lost'"), 0, 'a job that was not committed does not survive the crash');
is(sql('SELECT count(*) FROM effects'), 0, 'the writes of an uncommitted completion do not survive the crash');
sql("UPDATE jobs SET expires = clock_timestamp() WHERE id = $held");
becomes("SELECT state FROM jobs WHERE id = $held", 'AVAILABLE', 'a lease that survived the crash ends');

$offset = -s $node->logfile;
kill 9, try_sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job launcher'");
crashed($offset);
sweeps('the queue is swept after kill -9 of the launcher');

# A pause survives every kind of restart, and the scheduler goes on meanwhile
sql("SELECT ecto_job.create_queue('held'); SELECT ecto_job.enqueue('held', '{}'); SELECT ecto_job.pause_queue('held')");
my $claim = "SELECT count(*) FROM ecto_job.start_available_jobs('held', 9)";
ok(kill9_and_wait($node), 'kill -9 ends the postmaster and its children');
$node->start;
is(sql($claim), 0, 'a paused queue is paused after a crash');
sweeps('the queue is swept after kill -9 of the postmaster');

like(message_during(sub { $node->stop('immediate') }), qr/^WARNING:  57P01: terminating connection due to immediate shutdown command$/m,
	'an immediate shutdown is reported to every session, 57P01');
$node->start;
sweeps('the queue is swept after an immediate shutdown');
is(sql($claim), 0, 'a paused queue is paused after an immediate shutdown');
$node->restart;
is(sql("$claim; SELECT paused FROM ecto_job.queues WHERE queue = 'held'::regclass"), "0\nt", 'a paused queue is paused after a restart');
sql("SELECT ecto_job.resume_queue('held')");
$node->restart;
is(sql($claim), 1, 'a resumed queue is resumed after a restart');
sql("SELECT ecto_job.drop_queue('held')");

# The launcher ends without a crash: the new launcher replaces the scheduler
my $before = pid();
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'ecto_job launcher'");
becomes("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $before",
	1, 'a new launcher starts a new scheduler');
becomes("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 1, 'a new launcher runs one scheduler only');
sweeps("the new launcher's scheduler sweeps");

# Two-phase commit
sql("SELECT ecto_job.drop_queue('jobs')");
becomes("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0, 'a database without a queue has no scheduler');
sql("BEGIN; SELECT ecto_job.create_queue('jobs'); PREPARE TRANSACTION 'queue'");
is(try_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'"), 0, 'a queue in a prepared transaction starts no scheduler');
sql("COMMIT PREPARED 'queue'");
becomes("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	1, 'COMMIT PREPARED of a new queue starts a scheduler');
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '50 ms')");
sweeps('a queue made in a prepared transaction is swept');

# A standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(try_sql('SELECT status FROM ecto_job.queues', $standby), 'no scheduler: the server is a standby', 'the view says that the server is a standby');
is(try_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'ecto_job'", $standby), 0, 'neither launcher nor scheduler runs on a standby');
$node->stop;
$standby->promote;
sweeps('the queue is swept after promotion', $standby);
$standby->stop;

# Without preload
my $plain = new_node(name => 'plain', preload => 0, extension => 0);
my (undef, undef, $warning) = $plain->psql('postgres', 'CREATE EXTENSION ecto_job');
like($warning, qr/WARNING:.*not in shared_preload_libraries.*HINT:.*shared_preload_libraries = 'ecto_job'/s,
	'CREATE EXTENSION without preload warns, with the line to add');
$plain->safe_psql('postgres', "SELECT ecto_job.create_queue('jobs')");
like($plain->safe_psql('postgres', 'SELECT status FROM ecto_job.queues'),
	qr/^no scheduler: add ecto_job to shared_preload_libraries/, 'the view says why nothing is swept without preload');
$plain->stop;

done_testing();
