# A silent network: no packet arrives, and the end of no connection is reported. The test shows when the server notices,
# what the server does with the sessions that are cut off, and how the consumer program connects again.
#
# The test takes the loopback interface down, in a network namespace of its own, which needs no root; where the kernel
# forbids that, the test is skipped. The sessions that are cut off differ only in their settings. Seen to
# fail without tcp_keepalives_idle, without tcp_user_timeout, without client_connection_check_interval in the
# sessions that the server is to end, without keepalives in the consumer's connection string, and with
# test/mutants/session_end_unreported.patch, consumer_without_keepalives.patch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use NamespaceTest '--net', 'ip link set lo up';
use EctoJobTest qw(:DEFAULT becomes);
use ConsumerTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'NOT TESTED: a network that goes silent. No interface can be set up here (unshare --user --net)'
  unless NamespaceTest::here();

sub network { return system_or_bail('ip', 'link', 'set', 'lo', shift); }

network('up');
my $node = new_node(conf => "listen_addresses = '127.0.0.1'\nlog_line_prefix = '%p '\n");
my $tcp = 'host=127.0.0.1 dbname=postgres port=' . $node->port;

# Uses the Unix socket, which works without the network
sub sql { return $node->safe_psql('postgres', shift); }

sql(q{SELECT ecto_job.create_queue('jobs'); CREATE TABLE done (id bigint);
	SELECT ecto_job.configure_queue('jobs', execution_timeout => '1 hour', reservation_timeout => '1 hour',
		retry_timeout => '1 hour', max_attempts => 3)});

# Returns a session by TCP with these settings that has started a job
sub consumer
{
	my ($name, $settings, $timeout) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-d', $tcp ]);
	$session->set_query_timer_restart();
	$session->query_safe("SET ecto_job.session_leases = on; $settings");
	sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
	my ($pid, $id, $lease) = split /\|/, $session->query_safe('SELECT pg_backend_pid(), id, lease
		FROM ecto_job.start_available_jobs(\'jobs\'' . ($timeout ? ", 1, timeout => '$timeout'" : '') . ')');
	return { name => $name, session => $session, pid => $pid, id => $id, lease => $lease };
}
sub complete { my $held = shift; return "SELECT ecto_job.complete_job('jobs', $held->{id}, $held->{lease})"; }
sub state_of { my $held = shift; return "SELECT state FROM jobs WHERE id = $held->{id}"; }
sub lives { my $held = shift; return sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $held->{pid}"); }

# The server ends a session with these settings after three seconds of silence
my $keepalives = 'SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2';
my $idle = consumer('idle', $keepalives);
my $completing = consumer('in the transaction that completes', $keepalives);
$completing->{session}->query_safe('BEGIN; ' . complete($completing) . "; INSERT INTO done VALUES ($completing->{id})");
my $working = consumer('in a statement', "$keepalives; SET client_connection_check_interval = '100 ms'");
my $unchecked = consumer('in a statement, without client_connection_check_interval', $keepalives);
my $notified = consumer('notified', "$keepalives; SET tcp_user_timeout = '2 s'; LISTEN news");
my $unlimited = consumer('notified, without tcp_user_timeout', "$keepalives; LISTEN news");

for my $held ($working, $unchecked)
{
	$held->{session}->{stdin} .= "SELECT pg_sleep(3600);\n";
	$held->{session}->{run}->pump_nb;
	poll_until(sub { sql("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $held->{pid}") eq 't' }, 'the statement');
}

# The consumer program, whose job ends when a file exists. The program listens to the queue, so the server sends it
# notifications, too
my $file = PostgreSQL::Test::Utils::tempdir() . '/go';
my ($program_job) = sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
my $program = ConsumerTest->start($node, '-d', "$tcp keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=2000
	options='-c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2 -c tcp_user_timeout=2000'",
	'--queue', 'jobs', '--exec', "until [ -e $file ]; do sleep 0.1; done");
becomes($node, "SELECT state FROM jobs WHERE id = $program_job", 'IN_PROGRESS', 'the consumer program has started its job');
my $forgotten = consumer('by default', '', '1 s'); # started last, since the busy program cannot take this job

my $notifier = $node->background_psql('postgres'); # at once: while the last keepalive's answer is fresh
network('down');
$notifier->query_safe('NOTIFY news');
$notifier->quit;
for my $held ($idle, $completing, $working, $notified)
{
	becomes($node, state_of($held), 'RETRY', "$held->{name}: the job is given back");
	is(lives($held), 0, "$held->{name}: the session has ended");
	is(sql("SELECT error FROM jobs WHERE id = $held->{id}"), q{the consumer's connection ended}, "$held->{name}: the job's error says why");
}
is(sql('SELECT count(*) FROM done'), 0, 'the writes of a session that the server has ended are rolled back');
like(slurp_file($node->logfile), qr/^$idle->{pid} LOG:  could not receive data from client: Connection timed out$/m, 'the log says that the connection timed out');
becomes($node, "SELECT state FROM jobs WHERE id = $program_job", 'RETRY', 'the job of the consumer program is given back');

for my $held ($unchecked, $unlimited)
{
	is(lives($held) . sql(state_of($held)), '1IN_PROGRESS', "$held->{name}: the server has not noticed");
}
becomes($node, state_of($forgotten), 'AVAILABLE', 'by default a job is available again when its lease is over');
is(lives($forgotten), 1, 'by default the session lives on');
my $successor = sql(q{SELECT lease FROM ecto_job.start_available_jobs('jobs', 1)});
is(sql("SELECT lease FROM jobs WHERE id = $forgotten->{id}"), $successor, 'another consumer starts the job whose lease was over');

ok($program->wait_for_log(qr/main connection: "connection lost.*next try in/), 'the consumer program logs that its connection is lost');

network('up');
like($forgotten->{session}->query('\set VERBOSITY verbose
	' . complete($forgotten)) . $forgotten->{session}->{stderr}, qr/ERROR:  JQ001: job $forgotten->{id} of queue "jobs" is no longer yours$/m,
	'after the silence the former holder of a job gets JQ001');
$unlimited->{session}->query_safe(complete($unlimited));
is(sql("SELECT count(*) FROM jobs WHERE id = $unlimited->{id}"), 0, 'after the silence a session that still holds its job completes it');
eval { $idle->{session}->query(complete($idle)) }; # psql ends
like($idle->{session}->{stderr}, qr/server closed the connection unexpectedly|Connection timed out|Connection reset by peer/,
	'after the silence a client finds its ended session closed');

ok($program->wait_for_log(qr/main connection: connected.*main connection: connected/s), 'the consumer program connects again');
append_to_file($file, '');
ok($program->wait_for_log(qr/job $program_job: lost/), 'the consumer program logs that its job was lost');
my $next = sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
ok($program->wait_for_log(qr/job $next: completed/), 'the consumer program performs another job');
$program->signal('TERM');
is($program->end, 0, 'the consumer program exits with 0 after SIGTERM');

# A consumer program without keepalive settings in its connection string sends a keepalive after half a minute, as its
# socket's timer shows
my $plain = ConsumerTest->start($node, '-d', $tcp, '--queue', 'jobs', '--exec', 'true');
my $timers = '';
ok( poll_until(
		sub {
			(undef, $timers) = (0, scalar `ss -Htno state established dport = :@{[ $node->port ]}`);
			$timers =~ /timer:\(keepalive,[12]\d(?:\.\d+)?sec,0\)/;
		},
		'its timer'),
	'by default the consumer program sends a keepalive after half a minute') or diag($timers);
$plain->signal('TERM');
is($plain->end, 0, 'the consumer program exits with 0 after SIGTERM');

sql("SELECT pg_terminate_backend($unchecked->{pid})");
eval { $_->{session}->{run}->kill_kill } for $idle, $completing, $working, $unchecked, $notified, $unlimited, $forgotten;
$node->stop;
done_testing();
