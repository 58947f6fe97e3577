# The scheduler keeps nothing of a sweep: after 100,000 sweeps its memory contexts hold what they held before, and it
# has the locks that it had. PostgreSQL itself counts memory and locks.
#
# A queue without a place in shared memory is swept at each poll_interval, here a millisecond, so one sweep follows the
# other; pg_stat_database counts each as a transaction. One queue has jobs that come due all the time, since a sweep that
# moves a job runs more of the extension's code; another has a trigger that raises.
#
# Seen to fail with 16 bytes in TopMemoryContext kept of each sweep (test/mutants/sweep_leaks.patch).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sweeps = 100_000;
my $limit = 1800; # seconds, enough on a busy machine

my $node = new_node(conf => "ecto_job.max_queues = 1\necto_job.further_queues = 0\n");

sub sql { return $node->safe_psql('postgres', shift); }
# transactions(): returns the number of committed transactions; waits first, since a query takes time from the sweeps
sub transactions
{
	return sql("SELECT pg_sleep(0.3) \\g /dev/null
		SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'");
}
sub locks { return sql("SELECT string_agg(concat_ws(' ', locktype, relation::regclass, mode), ', ') FROM pg_locks
	WHERE pid = " . scheduler_pid($node)); }

sub wait_for_sweeps
{
	my ($count) = @_;
	my $end = transactions() + $count;
	my $start = time;
	ok(poll_until(sub { transactions() >= $end }, "$count sweeps", $limit), "the scheduler makes $count sweeps");
	note("$count sweeps in " . (time - $start) . ' s');
}

# used_bytes(): returns the bytes that the scheduler uses, by memory context and in all. A sweep at work uses more than
# is kept of it, so the least of ten measurements counts.
sub used_bytes
{
	my $pid = scheduler_pid($node);
	my %least;
	for (1 .. 10)
	{
		my $offset = -s $node->logfile;
		sql("SELECT pg_log_backend_memory_contexts($pid)");
		wait_for_log($node, qr/Grand total: .* used/, $offset) or die 'no statistics';
		my %used;
		for (split /\n/, slurp_file($node->logfile, $offset))
		{
			$used{$1} += $2 if /level: \d+; ([^:]+): .* (\d+) used/;
			$used{'in all'} = $1 if /Grand total: .* (\d+) used/;
		}
		for my $name (keys %used)
		{
			$least{$name} = $used{$name} if !defined $least{$name} || $used{$name} < $least{$name};
		}
	}
	return %least;
}

sql(q{SELECT ecto_job.create_queue(name) FROM unnest('{recorded,idle,moving,raising}'::text[]) AS name});
wait_for_sleep($node);
my $locks = locks();
sql(q{SELECT ecto_job.configure_queue(name::regclass, poll_interval => '1 ms') FROM unnest('{idle,moving,raising}'::text[]) AS name});
sql(q{CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END';
      CREATE TRIGGER raise BEFORE UPDATE ON raising FOR EACH ROW EXECUTE FUNCTION raise();
      INSERT INTO raising (params, state) VALUES ('{}', 'RESERVED')});
# Few jobs, since a sweep reads them all
my $due = "clock_timestamp() + n * interval '200 ms'";
sql(qq{INSERT INTO moving (params, state, schedule, expires, attempt, max_attempts, notify)
       SELECT '{}', state, $due, $due, attempt, 2, 'told' FROM generate_series(1, 400) AS n JOIN
       (VALUES (0, 'SCHEDULED', 0), (1, 'RESERVED', 0), (2, 'IN_PROGRESS', 1), (3, 'IN_PROGRESS', 2))
       AS v (kind, state, attempt) ON n % 4 = kind});

wait_for_sweeps($sweeps / 10);
my %before = used_bytes();
my $pid = scheduler_pid($node);
wait_for_sweeps($sweeps);
my %after = used_bytes();
is(scheduler_pid($node), $pid, "the scheduler is the same process after $sweeps sweeps");

# The limit is less than one byte for each sweep
my $growth = $after{'in all'} - $before{'in all'};
cmp_ok($growth, '<', $sweeps / 2,
	"the scheduler's memory does not grow: $before{'in all'} bytes, then $after{'in all'}");
for my $context (sort keys %after)
{
	my $more = $after{$context} - ($before{$context} // 0);
	note("$context: $more bytes more") if $more > 1000;
}
cmp_ok(sql("SELECT count(*) FROM moving WHERE state IN ('AVAILABLE', 'FAILED')"), '>', 0,
	'jobs were moved in the sweeps');

sql(q{SELECT ecto_job.configure_queue(name::regclass, poll_interval => '1 hour') FROM unnest('{idle,moving,raising}'::text[]) AS name;
      DROP TABLE moving, raising});
wait_for_sleep($node);
is(locks(), $locks, "between sweeps the scheduler has the locks that it had before: $locks");

$node->stop;
done_testing();
