# Very many queues of one tenant do not use up the places of others in shared memory, and the scheduler's memory does not
# grow with them. The test reserves few places; the further places suffice for all queues that exist at a time, but would
# not if the places of dropped queues were lost.
#
# Seen to fail on 0.2.0, and with each of test/mutants/further_places_unused.patch, places_not_given_back.patch,
# scheduler_keeps_caches.patch and session_keeps_all_plans.patch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes becomes_in);
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $many = 300;
my $node = new_node(
	extension => 0,
	conf => "ecto_job.max_queues = 2\necto_job.further_queues = 400\nmax_locks_per_transaction = 256\necto_job.sweep_timeout = '1 ms'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub crowd { return $node->safe_psql('crowd', shift); }

sub create
{
	my ($from, $to) = @_;
	crowd("SELECT count(ecto_job.create_queue('q' || i)) FROM generate_series($from, $to) AS i");
	becomes_in($node, 'crowd', "SELECT DISTINCT status FROM ecto_job.queues WHERE queue::text ~ '^q'", 'ok',
		"all queues from q$from to q$to have a place in shared memory");
	becomes_in($node, 'crowd', 'SELECT count(*) FROM ecto_job.queues WHERE last_sweep IS NULL', 0,
		"all queues from q$from to q$to are swept");
	wait_for_sleep($node, 'crowd');
}

sub private_memory
{
	my $pid = scheduler_pid($node, 'crowd');
	slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m or die 'no RssAnon';
	return $1;
}

# A setting that was valid in version 0.2.0
is(sql('SHOW ecto_job.sweep_timeout'), '10s', 'a sweep_timeout that is too short is replaced by the default');
like(slurp_file($node->logfile), qr/WARNING:  1 .* outside the valid range for parameter "ecto_job.sweep_timeout" \(100 /,
	'the log warns of a sweep_timeout that is too short');

# The queues of one tenant
sql('CREATE DATABASE crowd');
crowd('CREATE EXTENSION ecto_job');
create(1, 60);
my $before = private_memory();
create(61, $many);
my $after = private_memory();
my $growth = ($after - $before) / ($many - 60);
cmp_ok($growth, '<', 20, "a queue takes $growth kB of the scheduler's memory, which was $before kB and is $after kB");

# The queues of another tenant, in another database
sql('CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue(name) FROM unnest(\'{fence,jobs}\'::text[]) AS name');
becomes($node, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok', 'the queues of another database have places');
my $listener = new_listener($node, 'jobs');
wait_for_sleep($node);
sql("INSERT INTO jobs (params) VALUES ('{}')");
is(notifications($listener), 'jobs:scheduler', 'the scheduler announces a job of the other database');
my $id = sql(q{SELECT ecto_job.enqueue('jobs', '{}', schedule => clock_timestamp() + interval '1 s')});
is(next_notification($listener, 'jobs', 30), 'jobs:scheduler',
	'the scheduler announces a job for later in the other database');
my $late = sql("SELECT date_part('epoch', clock_timestamp() - schedule) FROM jobs WHERE id = $id");
cmp_ok($late, '<', 30, "a job for later is announced at its time and not after poll_interval: $late s late");
my $consumer = session($node);
$consumer->query_safe('SET ecto_job.session_leases = on');
is($consumer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 2)"), 2, 'a session starts two jobs');
$consumer->quit;
becomes($node, "SELECT count(*) FROM jobs WHERE state IN ('AVAILABLE', 'RETRY')", 2,
	"a session's jobs come back when the session ends", 30);
$listener->{session}->quit;

# The low-water mark, under an old snapshot that keeps the index entries of finished jobs
sql("INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 11000)");
sql('VACUUM ANALYZE jobs');
my ($old, $claimer) = map { session($node) } 1 .. 2;
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$claimer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 10000); DELETE FROM jobs WHERE state = 'IN_PROGRESS'");
my ($least, $seen);
for (1 .. 40)
{
	$claimer->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 10); SELECT pg_stat_force_next_flush()");
	my $now = sql("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs'");
	$least = $now - $seen if defined $seen && (!defined $least || $now - $seen < $least);
	$seen = $now;
}
cmp_ok($least, '<', 1000, "a claim reads $least index entries, and not those of 10,000 finished jobs");
$_->quit for $old, $claimer;

# A session that works on many queues
my $producer = $node->background_psql('crowd');
$producer->query_safe("SELECT ecto_job.enqueue('q$_', '{}')") for 1 .. 150;
my $plans = $producer->query_safe(
	q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ '^INSERT INTO public\.q'});
is($plans, 100, 'a session keeps the plans of a hundred queues');
$producer->quit;

# The places of dropped queues are used again
crowd("SELECT count(ecto_job.drop_queue(('q' || i)::regclass)) FROM generate_series(1, $many) AS i");
create($many + 1, 2 * $many);
unlike(slurp_file($node->logfile), qr/more queues than places/, 'the log warns of no queue without a place');

# A crash frees all places
my $offset = -s $node->logfile;
kill 9, scheduler_pid($node, 'crowd');
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'the server restarts after a crash');
$node->poll_query_until('postgres', 'SELECT true');
becomes_in($node, 'crowd', "SELECT status || ' ' || count(*) FROM ecto_job.queues WHERE last_sweep IS NOT NULL GROUP BY status",
	"ok $many", 'all queues have places again after a crash');
becomes($node, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok',
	'the queues of the other database have places again after a crash');

$node->stop;
done_testing();
