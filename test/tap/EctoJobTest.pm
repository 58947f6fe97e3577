# EctoJobTest, for all TAP tests, starts servers with the extension and waits for conditions.
#
#   use FindBin;
#   use lib $FindBin::RealBin;
#   use EctoJobTest;
#
# No function sleeps for a fixed time: a test waits for a condition, with a time limit.
package EctoJobTest;

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use Exporter 'import';

# becomes() is exported on request only, since some tests define one of their own
our @EXPORT_OK = qw(becomes becomes_in);
our @EXPORT = qw(new_node wait_for_log poll_until kill9_and_wait source_dir slurp_source);

# new_node(name => 'main', preload => 1, extension => 1, allows_streaming => 0, start => 1, conf => "a = 1\n"): returns a
# started server with the library preloaded and the extension created in database postgres.
sub new_node
{
	my (%options) = (
		name => 'main',
		preload => 1,
		extension => 1,
		allows_streaming => 0,
		start => 1,
		conf => '',
		@_);
	my $node = PostgreSQL::Test::Cluster->new($options{name});
	$node->init(allows_streaming => $options{allows_streaming});
	# init() disables the restart after a crash, and enables log_statement, whose output hides errors
	$node->append_conf('postgresql.conf', <<'CONF');
restart_after_crash = on
log_statement = none
autovacuum_naptime = 1h
CONF
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecto_job'\n")
	  if $options{preload};
	$node->append_conf('postgresql.conf', $options{conf});
	return $node unless $options{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION ecto_job') if $options{extension};
	return $node;
}

# poll_until(sub { condition }, 'what', $seconds): waits until the condition is true; at the time limit it prints `what`
# and returns false.
sub poll_until
{
	my ($condition, $what, $seconds) = @_;
	my $limit = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	while (time < $limit)
	{
		return 1 if $condition->();
		usleep(100_000);
	}
	diag("gave up waiting: " . ($what // 'a condition'));
	return 0;
}

# becomes_in($node, 'database', 'SELECT ...', 'its result', 'the name of the test', $seconds): passes when the query
# has this result, and fails at the time limit. becomes() queries database postgres.
sub becomes_in
{
	my ($node, $database, $query, $expected, $name, $seconds) = @_;
	my $result = '';
	local $Test::Builder::Level = $Test::Builder::Level + 1; # a failure is the caller's
	my $passed = ok(poll_until(sub { ($result = $node->safe_psql($database, $query)) eq $expected }, $name, $seconds), $name);
	diag($result) unless $passed;
	return $passed;
}

sub becomes
{
	my ($node, @rest) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return becomes_in($node, 'postgres', @rest);
}

# wait_for_log($node, qr/text/, $offset): waits until the server's log has the text after the offset. Returns the log's
# length, which is the offset for a later call; undef at the time limit.
sub wait_for_log
{
	my ($node, $pattern, $offset) = @_;
	my $found = poll_until(
		sub { slurp_file($node->logfile, $offset // 0) =~ $pattern },
		"$pattern in the log of " . $node->name);
	return $found ? -s $node->logfile : undef;
}

# kill9_and_wait($node): kills the postmaster with SIGKILL and waits for the end of all its processes. The children exit
# by themselves, and the postmaster stays a zombie until its parent reaps it; a start before that finds it "already
# running".
sub kill9_and_wait
{
	my ($node) = @_;
	my ($pid) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my $family = "/proc/[0-9]*/cwd";
	my $directory = $node->data_dir;
	$node->kill9;
	poll_until(
		sub {
			!grep { (readlink($_) // '') eq $directory } glob($family);
		},
		"the end of all processes of " . $node->name) or return 0;
	return poll_until(sub { !-e "/proc/$pid" || !kill(0, $pid) }, "the postmaster's end");
}

# source_dir(): returns the root of the source tree; some tests read its documentation and SQL
sub source_dir { return $ENV{SOURCE_DIR} // "$FindBin::RealBin/../.."; }

# slurp_source('path'): returns the text of a file of the source tree
sub slurp_source { return slurp_file(source_dir() . '/' . shift); }

1;
