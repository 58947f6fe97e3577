# SchedulerTest, for tests of the scheduler, finds its process, waits until it sleeps, and collects the notifications
# that a listener receives, with their senders.
#
# To show that no notification was sent, no test waits for a time: the test inserts a job into another queue, `fence`,
# whose notification comes after all that were sent or requested before.
package SchedulerTest;

use strict;
use warnings;
use EctoJobTest qw(:DEFAULT becomes);
use Test::More;
use Time::HiRes qw(time usleep);
use Exporter 'import';

our @EXPORT = qw(session scheduler_pid at_rest before_the_scheduler listen_to heard heard_next becomes cpu_of switches_of);

# scheduler_pid($node, $database): returns the process id of the database's scheduler; empty if none runs
sub scheduler_pid
{
	my ($node, $database) = (@_, 'postgres');
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = '$database'");
}

# at_rest($node, $database): waits until the scheduler sleeps between two steps, and so serves signals at once
sub at_rest
{
	my ($node, $database) = (@_, 'postgres');
	return poll_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT state = 'idle' FROM pg_stat_activity
				 WHERE backend_type = 'ecto_job scheduler' AND datname = '$database'") eq 't';
		},
		'a scheduler that sleeps');
}

# before_the_scheduler($node, sub { ... }): runs the sub while SIGSTOP holds the sleeping scheduler, which afterwards
# serves all requests of the sub in one step
sub before_the_scheduler
{
	my ($node, $what) = @_;
	at_rest($node);
	my $scheduler = scheduler_pid($node);
	kill 'STOP', $scheduler;
	$what->();
	kill 'CONT', $scheduler;
	return;
}

# session($node): returns a psql session whose time limit starts anew with each query
sub session
{
	my $session = shift->background_psql('postgres');
	$session->set_query_timer_restart();
	return $session;
}

# listen_to($node, 'a', ...): returns a session that listens to these channels and to `fence`, for heard()
sub listen_to
{
	my ($node, @channels) = @_;
	my $session = session($node);
	$session->query_safe("LISTEN \"$_\"") for @channels, 'fence';
	return { node => $node, session => $session };
}

# notifications($listener, $text): returns the set of "channel:sender" of the notifications in the text; the sender is
# `scheduler` or `session`
sub notifications
{
	my ($listener, $text) = @_;
	my $pid = scheduler_pid($listener->{node});
	my %heard;
	$heard{ "$1:" . ($2 eq $pid ? 'scheduler' : 'session') } = 1
	  while $text =~ /notification "([^"]+)".*?PID (\d+)/g;
	return %heard;
}

# heard($listener): returns the notifications since the last call, as "channel:sender ...", sorted, each once
sub heard
{
	my ($listener) = @_;
	$listener->{node}->safe_psql('postgres', q{INSERT INTO fence (params) VALUES ('{}')});
	my $text = '';
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
	my %heard = notifications($listener, $text);
	return join ' ', sort grep { !/^fence:/ } keys %heard;
}

# heard_next($listener, 'a', $seconds): waits for the next notification on this channel and returns its "channel:sender"
sub heard_next
{
	my ($listener, $channel, $seconds) = @_;
	my $text = '';
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"\Q$channel\E"/ },
		"a notification of $channel", $seconds);
	my %heard = notifications($listener, $text);
	my ($who) = grep { /^\Q$channel\E:/ } sort keys %heard;
	return $who // '';
}

# cpu_of($pid): returns the processor time that the process has used, in clock ticks
sub cpu_of
{
	my @fields = split / /, PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/stat");
	return $fields[13] + $fields[14];
}

# switches_of($pid): returns how often the process went to sleep
sub switches_of
{
	PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
	return $1;
}

1;
