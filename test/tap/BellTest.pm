# What the tests of the doorbell and the alarm clock share: what a listener hears, and from whom.
#
# That nothing was sent can be told without waiting: a job in another queue, `fence`, is announced after
# all that was rung or sent before it.
package BellTest;

use strict;
use warnings;
use EctoJobTest qw(:DEFAULT becomes);
use Test::More;
use Time::HiRes qw(time usleep);
use Exporter 'import';

our @EXPORT = qw(session scheduler_pid at_rest before_the_scheduler listen_to heard heard_next becomes cpu_of switches_of);

# scheduler_pid($node, $database): of its running scheduler; empty if there is none
sub scheduler_pid
{
	my ($node, $database) = (@_, 'postgres');
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = '$database'");
}

# at_rest($node): until the scheduler sleeps, and answers
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

# before_the_scheduler($node, sub { what }): done while it rests, and before it sees any of it
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

# session($node): one that may last longer than a test's limit
sub session
{
	my $session = shift->background_psql('postgres');
	$session->set_query_timer_restart();
	return $session;
}

# listen_to($node, 'a', ...): a session that listens to these and to `fence`, for heard()
sub listen_to
{
	my ($node, @channels) = @_;
	my $session = session($node);
	$session->query_safe("LISTEN \"$_\"") for @channels, 'fence';
	return { node => $node, session => $session };
}

# "channel:who ..." of each notification in the text, sorted, once
sub notifications
{
	my ($listener, $text) = @_;
	my $pid = scheduler_pid($listener->{node});
	my %heard;
	$heard{ "$1:" . ($2 eq $pid ? 'scheduler' : 'session') } = 1
	  while $text =~ /notification "([^"]+)".*?PID (\d+)/g;
	return %heard;
}

# heard($listener): what was announced since the last call, and by whom: the scheduler or the session itself
sub heard
{
	my ($listener) = @_;
	$listener->{node}->safe_psql('postgres', q{INSERT INTO fence (params) VALUES ('{}')});
	my $text = '';
	poll_until(sub { ($text .= $listener->{session}->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
	my %heard = notifications($listener, $text);
	return join ' ', sort grep { !/^fence:/ } keys %heard;
}

# heard_next($listener, 'a', $seconds): waits for the next one on this channel; who sent it
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

# cpu_of($pid): clock ticks that the process has used
sub cpu_of
{
	my @fields = split / /, PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/stat");
	return $fields[13] + $fields[14];
}

# switches_of($pid): how often the process went to sleep
sub switches_of
{
	PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
	return $1;
}

1;
