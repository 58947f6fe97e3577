# WaitTest, for tests of wait() and wait_any(), starts sessions that wait for jobs, and tells which of them are woken.
#
# A waiter is a psql with a session of its own, which runs statements one after the other; the first is a wait.
package WaitTest;

use strict;
use warnings;
use EctoJobTest qw(:DEFAULT becomes);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Exporter 'import';

our @EXPORT = qw(waiters_of sql $sleeping start_waiter sleeps output_of sleeps_on is_woken_to end_waiters
  remember_sleepers have_slept_on wakes_one_of_fifty);

# The condition of a row of pg_stat_activity that its session sleeps in a wait
our $sleeping = "pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL ecto_job.wait%' AND state = 'active'
	AND wait_event_type = 'Extension')";

my $node;
my $name = 'a';

# waiters_of($node): all the others concern this server from now on
sub waiters_of { $node = shift; return; }

sub sql { return $node->safe_psql('postgres', shift); }

# run_waiter('connection string', @statements): returns a waiter that runs these statements
sub run_waiter
{
	my ($connection, @statements) = @_;
	my $waiter = { name => $name++, out => '', err => '' };
	$waiter->{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', "$connection application_name=$waiter->{name}", '-v', 'ON_ERROR_STOP=1', map { ('-c', $_) } @statements ],
		'<', \undef, '>', \$waiter->{out}, '2>', \$waiter->{err});
	return $waiter;
}

# start_waiter(@statements): starts a waiter and waits until its first statement, a wait, sleeps
sub start_waiter
{
	my (@statements) = @_;
	my ($database) = map { $$_ } grep { ref } @statements;
	$database //= 'postgres';
	my $waiter = run_waiter($node->connstr($database), grep { !ref } @statements);
	$waiter->{database} = $database;
	sleeps($waiter);
	return $waiter;
}

# sleeps($waiter): waits until the waiter's session sleeps
sub sleeps
{
	my ($waiter) = @_;
	poll_until(
		sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$waiter->{name}' AND $sleeping") },
		"waiter $waiter->{name} sleeps");
	($waiter->{pid}, $waiter->{since}) = split /\|/,
	  sql("SELECT pid, xact_start FROM pg_stat_activity WHERE application_name = '$waiter->{name}'");
	return;
}

# output_of($waiter): waits until the waiter has ended and returns its output, in one line
sub output_of
{
	my ($waiter) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	$waiter->{psql}->pump_nb while $waiter->{psql}->pumpable && time < $limit && select(undef, undef, undef, 0.02) == 0;
	$waiter->{psql}->kill_kill if $waiter->{psql}->pumpable;
	eval { $waiter->{psql}->finish };
	return $waiter->{out} =~ s/\n(?=.)/ /gr =~ s/\n//r . ($waiter->{err} =~ /(?:ERROR|FATAL):\s+(.*)/ ? $1 : '');
}

# sleeps_on(\@waiters, 'name'): passes when none of them has been woken. Each search for a job is a transaction of its
# own, so its start shows that a session sleeps since it slept first.
sub sleeps_on
{
	my ($waiters, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $names = join ',', map { "('$_->{name}', '$_->{since}'::timestamptz)" } @$waiters;
	return is(sql("SELECT count(*) FROM pg_stat_activity WHERE (application_name, xact_start) IN (VALUES $names) AND $sleeping"),
		scalar @$waiters, $test);
}

# remember_sleepers($number, 'name'): waits until so many sessions sleep, and remembers them. Unlike sleeps_on(), this
# concerns sessions of any client, also behind a pooler
my $sleepers = '';
my $count = "SELECT count(*) FROM pg_stat_activity WHERE $sleeping";
sub remember_sleepers
{
	my ($number, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($node, $count, $number, $test);
	$sleepers = sql("SELECT array_agg((pid, xact_start)::text) FROM pg_stat_activity WHERE $sleeping") =~ s/'/''/gr;
	return;
}

# have_slept_on($number, 'name'): passes when so many of the remembered sessions have not been woken
sub have_slept_on
{
	my ($number, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("$count AND (pid, xact_start)::text = ANY ('$sleepers')"), $number, $test);
}

# wakes_one_of_fifty('connection string'): 50 clients wait for the queue jobs, and one job is enqueued
sub wakes_one_of_fifty
{
	my ($connection) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @waiters = map {
		run_waiter($connection, "CALL ecto_job.wait('jobs', '1 day')", "SELECT count(*) FROM ecto_job.start_available_jobs('jobs')")
	} 1 .. 50;
	remember_sleepers(50, '50 clients wait');
	sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
	becomes($node, q{SELECT string_agg(state || ' ' || attempt, ',') FROM jobs}, 'IN_PROGRESS 1', 'one of 50 clients gets the job');
	have_slept_on(49, '49 of 50 clients have not been woken');
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $sleeping");
	my @results = map { output_of($_) } @waiters;
	is(join(',', grep { !/^canceling statement/ } @results), 't 1', 'one of 50 clients has claimed, and has the job');
	sql('DELETE FROM jobs');
	return;
}

# is_woken_to($waiter, 'output', 'name'): passes when the waiter ends with this output
sub is_woken_to
{
	my ($waiter, $output, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(output_of($waiter), $output, $test);
}

# end_waiters(@waiters): ends all sessions that wait, and awaits the end of these waiters
sub end_waiters
{
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $sleeping");
	output_of($_) for @_;
	return;
}

1;
