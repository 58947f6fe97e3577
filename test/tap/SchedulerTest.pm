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

our @EXPORT = qw(session scheduler_pid wait_for_sleep before_the_scheduler new_listener notifications next_notification
  becomes cpu_of switches_of);

# scheduler_pid($node, $database): returns the process id of the database's scheduler; empty if none runs
sub scheduler_pid
{
	my ($node, $database) = (@_, 'postgres');
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = '$database'");
}

# wait_for_sleep($node, $database): waits until the scheduler sleeps between two steps, and so serves signals at once
sub wait_for_sleep
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
	wait_for_sleep($node);
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

# new_listener($node, 'a', ...): returns a session that listens to these channels and to `fence`, for notifications()
sub new_listener
{
	my ($node, @channels) = @_;
	my $session = session($node);
	$session->query_safe("LISTEN \"$_\"") for @channels, 'fence';
	return { node => $node, session => $session };
}

# parse_notifications($listener, $text): returns the set of "channel:sender" of the notifications in the text; the
# sender is `scheduler` or `session`
sub parse_notifications
{
	my ($listener, $text) = @_;
	my $pid = scheduler_pid($listener->{node});
	my %notified;
	$notified{ "$1:" . ($2 eq $pid ? 'scheduler' : 'session') } = 1
	  while $text =~ /notification "([^"]+)".*?PID (\d+)/g;
	return %notified;
}

# notifications($listener): returns the notifications since the last call, as "channel:sender ...", sorted, each once
sub notifications
{
	my ($listener) = @_;
	$listener->{node}->safe_psql('postgres', q{INSERT INTO fence (params) VALUES ('{}')});
	my $text = '';
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
	my %notified = parse_notifications($listener, $text);
	return join ' ', sort grep { !/^fence:/ } keys %notified;
}

# next_notification($listener, 'a', $seconds): waits for the next notification on this channel and returns its
# "channel:sender"
sub next_notification
{
	my ($listener, $channel, $seconds) = @_;
	my $text = '';
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"\Q$channel\E"/ },
		"a notification of $channel", $seconds);
	my %notified = parse_notifications($listener, $text);
	my ($who) = grep { /^\Q$channel\E:/ } sort keys %notified;
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
