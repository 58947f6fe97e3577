# A consumer that is not ecto_job_consumer dies at each point of a job's life: the test shows what happens to the job.
#
# The consumer is psql, killed by kill -9, so that it cannot close its session. Its leases are not session leases, so
# they end when their time is over. Seen to fail with test/mutants/reserved_stuck.patch and
# stale_completion_succeeds.patch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use IO::Socket::INET;
use IO::Socket::UNIX;
use IO::Select;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX ();

my $node = new_node(conf => "max_connections = 12\nsuperuser_reserved_connections = 3\nlog_line_prefix = '%e '\n");

sub sql { return $node->safe_psql('postgres', shift); }

sub kill_client
{
	my ($session) = @_;
	$session->{run}->signal('KILL');
	eval { $session->{run}->finish };
}

sql(q{SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', reservation_timeout => '100 ms', execution_timeout => '100 ms',
		retry_timeout => '0', max_attempts => 2);
	CREATE TABLE done (id bigint)});
sql(q{SELECT ecto_job.enqueue('jobs', '{}')});

# RESERVED
my $client = $node->background_psql('postgres');
my ($job) = $client->query_safe(q{SELECT id FROM ecto_job.reserve_available_jobs('jobs', 1)});
like($job, qr/^\d+$/, 'a job is reserved');
kill_client($client);
becomes($node, "SELECT state || attempt FROM jobs", 'AVAILABLE0', "a dead consumer's reserved job is available again, without an attempt");

# IN_PROGRESS, twice
for my $attempt (1, 2)
{
	$client = $node->background_psql('postgres');
	# The lease is read in the transaction of the start: after its commit a sweep may end the lease first
	$client->query_safe(q{BEGIN; SELECT id FROM ecto_job.start_available_jobs('jobs', 1)});
	is($client->query_safe('SELECT round(extract(epoch FROM expires - updated_at::timestamp AT TIME ZONE $$UTC$$) * 10) FROM jobs'), $attempt,
		"the lease of attempt $attempt is $attempt times the execution_timeout");
	$client->query_safe('COMMIT');
	kill_client($client);
	becomes($node, 'SELECT state || attempt FROM jobs', $attempt == 1 ? 'AVAILABLE1' : 'FAILED2',
		$attempt == 1 ? "a dead consumer's started job is available again" : "a dead consumer's job is FAILED at max_attempts");
}
sql("TRUNCATE jobs");

# The consumer dies within a statement of an open transaction: the server notices when it checks the connection. The
# lease is long enough for a completion on a busy machine
sql(q{SELECT ecto_job.configure_queue('jobs', execution_timeout => '4 s')});
for my $interval ('100 ms', '0')
{
	sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
	$client = $node->background_psql('postgres');
	$client->query_safe("SET client_connection_check_interval = '$interval'");
	my $pid = $client->query_safe('SELECT pg_backend_pid()');
	my ($id, $lease) = split /\|/, $client->query_safe(q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs')});
	$client->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease); INSERT INTO done VALUES ($id)");
	$client->{stdin} .= "SELECT pg_sleep(3600);\n";
	$client->{run}->pump_nb;
	poll_until(sub { sql("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid") eq 't' }, 'the statement');
	kill_client($client);
	if ($interval ne '0')
	{
		becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0,
			"client_connection_check_interval = $interval: the server ends the session");
	}
	else
	{
		becomes($node, "SELECT count(*) FROM jobs WHERE id = $id AND expires < clock_timestamp()", 1, 'the lease ends of a job that an open transaction completes');
		is(sql("SELECT ecto_job.sweep('jobs')"), '(0,0,0)', 'a sweep passes over a job that an open transaction has locked');
		is(sql("SELECT state FROM jobs WHERE id = $id"), 'IN_PROGRESS', 'a job that an open transaction has locked stays in progress');
		sql("SELECT pg_terminate_backend($pid)");
	}
	becomes($node, "SELECT state FROM jobs WHERE id = $id", 'AVAILABLE', "client_connection_check_interval = $interval: the job is available at last");
	is(sql("SELECT count(*) FROM done"), 0, "client_connection_check_interval = $interval: the dead session's writes are rolled back");
	sql('TRUNCATE jobs');
}

# COMMIT succeeds, but its acknowledgement is lost: a relay between client and server forwards all but the
# acknowledgement
sub relay
{
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "relay: $!";
	my $pid = fork() // die "fork: $!";
	return ($listener->sockport, $pid) if $pid;
	my $client = $listener->accept;
	my $server = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port);
	my $both = IO::Select->new($client, $server);
	my $committing = 0;
	while (my @ready = $both->can_read)
	{
		for my $from (@ready)
		{
			sysread($from, my $data, 65536) or POSIX::_exit(0);
			POSIX::_exit(0) if $from == $server && $committing;
			$committing ||= $from == $client && $data =~ /COMMIT/;
			syswrite($from == $client ? $server : $client, $data);
		}
	}
	POSIX::_exit(0);
}
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN "jobs.completed"');
sql(q{SELECT ecto_job.enqueue('jobs', '{}', notify => 'told')});
my ($id, $lease) = split /\|/, sql(q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs')});
my ($port, $relay) = relay();
my ($output, $error) = ('', '');
my $status = IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', "host=127.0.0.1 port=$port dbname=postgres" ], '<',
	\"BEGIN;\nSELECT ecto_job.complete_job('jobs', $id, $lease);\nINSERT INTO done VALUES ($id);\nCOMMIT;\n", '>', \$output, '2>', \$error);
waitpid($relay, 0);
like($error, qr/connection|server closed/, 'the client does not know whether its COMMIT was done');
ok(!$status, 'the client whose acknowledgement is lost sees an error');
is(sql("SELECT count(*) FROM jobs WHERE id = $id AND lease = $lease"), 0, 'the job whose acknowledgement is lost is gone');
is(sql('SELECT count(*) FROM done'), 1, 'the writes of the job are there once');
my $notified = '';
ok(poll_until(sub { ($notified .= $listener->query('SELECT 1')) =~ /"jobs\.completed" with payload "told"/ },
		'a notification'),
	'the same COMMIT has sent the notification of the completion');
$listener->quit;
my (undef, undef, $stale) = $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease); INSERT INTO done VALUES ($id); COMMIT");
like($stale, qr/ERROR:  JQ001: job $id of queue "jobs" is no longer yours$/m, 'the job cannot be completed a second time, JQ001');
like($stale, qr/^DETAIL:  It is gone\.\nHINT:  Roll back; do not retry: it was done or cancelled, or another consumer has it\.$/m, 'the error of a second completion says what to do');
is(sql('SELECT count(*) FROM done'), 1, 'a second completion writes nothing');

# No connection is left for clients: the scheduler, which needs none, continues
my (@sessions, $refused);
sql('CREATE ROLE consumer LOGIN');
while (@sessions < 20)
{
	my ($status, undef, $error) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'consumer' ]);
	last if $status != 0 && ($refused = $error);
	push @sessions, $node->background_psql('postgres', extra_params => [ '-U', 'consumer' ]);
}
# PostgreSQL 16 has changed the message
like($refused, qr/FATAL:  remaining connection slots are reserved for (non-replication superuser connections|roles with the SUPERUSER attribute)$/m, 'no connection is left for a consumer');
like(slurp_file($node->logfile), qr/^53300 FATAL:  remaining connection slots/m, 'the refused connection is logged with 53300');
my $scheduler = "FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'";
my $pid = sql("SELECT pid $scheduler");
sql("SELECT pg_terminate_backend($pid, 10000)");
becomes($node, "SELECT count(*) $scheduler AND pid <> $pid", 1, 'a scheduler starts when no connection is left for consumers');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'", 1, 'a scheduler sweeps when no connection is left for consumers');
$_->quit for @sessions;

$node->stop;
done_testing();
