# ConsumerTest runs ecto_job_consumer for a test and gives access to its log, its signals and its exit status. No
# consumer outlives the test.
#
#   my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', 'true');
#   $consumer->wait_for_log(qr/job 1: completed/);
#   is($consumer->end, 0, 'the consumer drains and ends');
#
# run_consumer($node, ...) starts a consumer, waits for its end and returns its exit status and its log.
#
# local @ConsumerTest::through = ('sh', '-c', 'ulimit -n 20; exec "$@"', 'sh') has another program start the consumer.
package ConsumerTest;

use strict;
use warnings;
use EctoJobTest qw(poll_until);
use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(:sys_wait_h);
use Exporter 'import';

our @EXPORT = qw(run_consumer);

our @through;
my $count = 0;
my @running;

sub start
{
	my ($class, $node, @arguments) = @_;
	my $self = bless {
		log => "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . '_consumer' . ++$count
	}, $class;
	my @command = (@through, 'ecto_job_consumer', '-d', $node->connstr('postgres'), @arguments);
	unlink $self->{log}; # of the first run, when a test is run again
	note("@command");
	$self->{pid} = fork() // die "fork: $!";
	if ($self->{pid} == 0)
	{
		delete $ENV{PGAPPNAME}; # the test harness's name would replace the program's
		# The program must not write to the test's standard output, which is read as TAP
		open(STDIN, '<', '/dev/null') && open(STDOUT, '>', $self->{log}) && open(STDERR, '>&', \*STDOUT)
		  or POSIX::_exit(126);
		exec(@command) or POSIX::_exit(127);
	}
	push @running, $self;
	return $self;
}

sub pid { return shift->{pid}; }

sub log { my ($self) = @_; return -e $self->{log} ? slurp_file($self->{log}) : ''; }

sub wait_for_log
{
	my ($self, $pattern) = @_;
	return 1 if poll_until(sub { $self->log =~ $pattern }, "$pattern in the consumer's log");
	diag($self->log);
	return 0;
}

sub signal
{
	my ($self, $signal) = @_;
	return kill($signal, $self->{pid});
}

# end(): waits for the consumer's end and returns its exit status, or "signal 9"
sub end
{
	my ($self) = @_;
	my $status;
	poll_until(sub { waitpid($self->{pid}, WNOHANG) == $self->{pid} && defined($status = $?) },
		"the consumer's end")
	  or do { diag($self->log); return 'still running'; };
	@running = grep { $_ != $self } @running;
	return WIFSIGNALED($status) ? 'signal ' . WTERMSIG($status) : WEXITSTATUS($status);
}

sub run_consumer
{
	my $consumer = ConsumerTest->start(@_);
	return ($consumer->end, $consumer->log);
}

# Ends the consumers of a test that died
END
{
	my $status = $?;
	for my $consumer (@running)
	{
		kill('CONT', $consumer->pid);
		kill('KILL', $consumer->pid);
		waitpid($consumer->pid, 0);
	}
	$? = $status;
}

1;
