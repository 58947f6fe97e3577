# The low-water mark lets a claim skip finished jobs. Whatever races with the mark's advance, the next claim takes the
# first AVAILABLE job of the queue's order.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node(conf => "max_prepared_transactions = 5\n");

sub sql { return $node->safe_psql('postgres', shift); }

# job($n, $priority): returns an INSERT of a job with this priority; params has $n
sub job { return "INSERT INTO jobs (params, priority) VALUES ('{\"n\": \"$_[0]\"}', $_[1])"; }

# claim($session, $demand): claims jobs and returns their priorities
sub claim
{
	my ($session, $demand) = (@_, 1);
	my $got = $session->query_safe("SELECT string_agg(priority::text, ',') FROM ecto_job.start_available_jobs('jobs', $demand)");
	$got =~ s/\s//g;
	return $got;
}

# advance($session): makes as many claims as bring the mark to the first AVAILABLE job
sub advance
{
	my ($session) = @_;
	claim($session) for 1 .. 20;
}

# advance_at_once($session): advances the mark in one statement, in the session's transaction, since half a second later
# a claim would search from the beginning of the queue
sub advance_at_once
{
	my ($session) = @_;
	$session->query_safe(q{DO $$ BEGIN
		FOR claim IN 1 .. 20 LOOP PERFORM ecto_job.start_available_jobs('jobs', 1); END LOOP; END $$});
}

sql("SELECT ecto_job.create_queue('jobs')");
becomes($node, 'SELECT status FROM ecto_job.queues', 'ok', 'the queue has a place in shared memory');
my ($a, $b) = map { session($node) } 1 .. 2;

# Under an old snapshot
sql("INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 21000)");
sql('VACUUM ANALYZE jobs');
my $old = session($node);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$b->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 20000); DELETE FROM jobs WHERE state = 'IN_PROGRESS'");
advance($b);
my $entries = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs'";
my ($least, $before);
for (1 .. 20)
{
	claim($b, 10);
	$b->query_safe('SELECT pg_stat_force_next_flush()');
	my $now = sql($entries);
	$least = $now - $before if defined $before && (!defined $least || $now - $before < $least);
	$before = $now;
}
cmp_ok($least, '<', 1000, "a claim reads $least index entries, and not those of 20,000 finished jobs");
# The pause is longer than claims rely on a mark without checking it; a claim that gets a job still does not search from
# the beginning. But if a claim above has relied on an outdated mark, the first claim here does search, and the second
# does not
my $read;
for (1 .. 2)
{
	$b->query_safe('SELECT pg_sleep(1.5)');
	claim($b, 10);
	$b->query_safe('SELECT pg_stat_force_next_flush()');
	my $now = sql($entries);
	$read = $now - $before;
	$before = $now;
	last if $read < 1000;
}
cmp_ok($read, '<', 1000,
	"a claim that finds jobs after a pause reads $read index entries, and not those of finished jobs");
$old->query_safe('COMMIT');
$old->quit;
sql("UPDATE jobs SET state = 'FAILED'");
sql("INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 5000)");

# Jobs that are enqueued below the mark are found by the next claim
advance($b);
sql(job('insert', -1));
is(claim($b), -1, 'a job that is inserted below the mark is claimed next');
$a->query_safe('BEGIN; ' . job('uncommitted', -2));
advance($b);
$a->query_safe('COMMIT');
is(claim($b), -2, 'a job that is inserted before the advance and committed after it is claimed next');
$a->query_safe('BEGIN; ' . job('rolled back', -3) . '; ROLLBACK; ' . job('in a savepoint', -4));
$a->query_safe('BEGIN; SAVEPOINT a');
is(claim($a), -4, 'a job of a committed transaction is claimed within a savepoint');
advance($b);
$a->query_safe('ROLLBACK TO a');
is(claim($a), -4, 'the same transaction claims the job again after ROLLBACK TO');
$a->query_safe('ROLLBACK');
is(claim($b), -4, 'another session claims the job after ROLLBACK');
sql(join ';', map { job($_, -5) } 1 .. 3);
$a->query_safe('BEGIN');
is(claim($a, 3), '-5,-5,-5', 'a transaction claims three jobs and does not commit');
advance($b);
is(claim($b), 0, 'another session passes by jobs whose claim is not committed');
$a->query_safe('ROLLBACK');
is(claim($b, 4), '-5,-5,-5,0', 'another session claims the jobs when their claim is rolled back');
# A claim's transaction advances the mark and is rolled back. The test advances the mark a while after the claim, which
# may have begun an advance itself
for my $ends ([ 'BEGIN', 'ROLLBACK' ], [ 'BEGIN; SAVEPOINT a', 'ROLLBACK TO a; COMMIT' ])
{
	my ($begin, $end) = @$ends;
	sql(job('own', -6));
	$a->query_safe($begin);
	is(claim($a), -6, "the lowest job is claimed after $begin");
	$a->query_safe('SELECT pg_sleep(1.1)');
	advance($a);
	$a->query_safe($end);
	is(claim($a), -6, "the lowest job is claimed again when its claim and the advance are undone by $end");
}
$a->query_safe('BEGIN; SAVEPOINT a; ' . job('later', -6));
advance($a);
$a->query_safe(job('below', -7) . '; COMMIT');
is(claim($b), -7, 'a job that is inserted by the transaction that advances the mark is claimed next');

# A job that another session commits while the claim's advance is under way
$a->query_safe('BEGIN');
advance_at_once($a);
sql(job('meanwhile', -7));
$a->query_safe('COMMIT');
is(claim($b), -7, 'a job that is committed between the search and the advance is claimed next');

# A job that is committed before the advance begins, but after the snapshot of the advance's transaction
$a->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql(job('unseen', -7));
advance_at_once($a);
$a->query_safe('COMMIT');
is(claim($b), -7, 'a job that the snapshot of the advance did not show is claimed next');

# Jobs that become AVAILABLE, or move below the mark, in other ways
sql(job('held', -8));
is(claim($b), -8, 'the lowest job is claimed before its state is changed');
advance($b);
sql("UPDATE jobs SET state = 'AVAILABLE' WHERE priority = -8");
is(claim($b), -8, 'a job that a plain UPDATE makes AVAILABLE is claimed next');
sql("UPDATE jobs SET priority = -9 WHERE id = (SELECT max(id) FROM jobs WHERE state = 'AVAILABLE')");
is(claim($b), -9, 'a job whose priority is changed to the lowest is claimed next');
sql("UPDATE jobs SET schedule = '2000-01-01' WHERE id = (SELECT max(id) FROM jobs WHERE state = 'AVAILABLE')");
$b->query_safe("SELECT id FROM ecto_job.start_available_jobs('jobs')");
is(sql("SELECT count(*) FROM jobs WHERE schedule = '2000-01-01' AND state = 'AVAILABLE'"), 0,
	'a job whose schedule is changed to the earliest is claimed next');
advance($b);
sql("INSERT INTO jobs (params, priority, schedule) VALUES ('{}', -10, clock_timestamp() + interval '100 ms')");
becomes($node, 'SELECT state FROM jobs WHERE priority = -10', 'AVAILABLE',
	'the scheduler makes a job below the mark AVAILABLE');
is(claim($b), -10, 'a job that the scheduler makes AVAILABLE is claimed next');

# Prepared transactions
sql('BEGIN; ' . job('prepared', -11) . "; PREPARE TRANSACTION 'p'");
advance($b);
sql("COMMIT PREPARED 'p'");
is(claim($b), -11, 'a lower job is claimed next after COMMIT PREPARED');
sql(job('claimed', -12));
sql("BEGIN; SELECT ecto_job.start_available_jobs('jobs'); PREPARE TRANSACTION 'p'");
advance($b);
sql("ROLLBACK PREPARED 'p'");
is(claim($b), -12, 'the lowest job is claimed again after ROLLBACK PREPARED of its claim');
sql('BEGIN; ' . job('unknown', -13) . "; PREPARE TRANSACTION 'p'");
$_->quit for $a, $b;
$node->restart;
ok(wait_for_sleep($node), 'a scheduler sleeps after a restart');
($a, $b) = map { session($node) } 1 .. 2;
advance($b);
sql("COMMIT PREPARED 'p'");
is(claim($b), -13, 'a lower job that was prepared before a restart is claimed next');

# A crash loses the mark, and undoes the claim that moved it: the next claim takes the first job of the queue, although
# the first job that is signalled after the crash is another
sql(job('undone', -15));
$a->query_safe('BEGIN');
is(claim($a), -15, 'a transaction claims the lowest job and does not commit before a crash');
advance($b);
my $offset = -s $node->logfile;
kill 9, $a->query_safe('SELECT pg_backend_pid()');
ok(wait_for_log($node, qr/reinitializing.*ready to accept/s, $offset), 'the server restarts after a crash');
eval { $_->{run}->kill_kill } for $a, $b;
$node->poll_query_until('postgres', 'SELECT true');
ok(wait_for_sleep($node), 'a scheduler sleeps after a crash');
($a, $b) = map { session($node) } 1 .. 2;
sql(job('after', -14));
is(claim($b), -15, 'the lowest job is claimed again when a crash has undone its claim');

# With triggers off nothing lowers the mark, so claims rely on a mark for a short time only
advance($b);
sql('SET session_replication_role = replica; ' . job('silent', -14));
my $start = time;
ok(poll_until(sub { claim($b) eq '-14' }, 'the job'), 'a job that was written with triggers off is found');
note(sprintf 'found after %.1f s', time - $start);
cmp_ok(time - $start, '<', 5, 'a job that was written with triggers off is found within 5 s');
sql("UPDATE jobs SET state = 'FAILED'");
is(claim($b), '', 'a claim on an empty queue returns nothing');
sql('SET session_replication_role = replica; ' . job('silent', -15));
$b->query_safe('SELECT pg_sleep(1)');
is(claim($b), -15, 'a claim that would find nothing searches from the beginning');

# A search from the beginning that is cancelled does not count. Under an old snapshot it takes longer than
# statement_timeout
$old = session($node);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql("INSERT INTO jobs (params, priority) SELECT '{}', -20 FROM generate_series(1, 60000)");
$b->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 60000); DELETE FROM jobs WHERE state = 'IN_PROGRESS'");
my $cancelled = $node->background_psql('postgres', on_error_stop => 0);
advance($_) for $cancelled, $b;
sql('SET session_replication_role = replica; ' . job('silent', -19));
$b->query_safe('SELECT pg_sleep(1)');
$cancelled->query_safe("SET statement_timeout = '2 ms'");
$cancelled->query("SELECT FROM ecto_job.start_available_jobs('jobs')");
like($cancelled->{stderr}, qr/canceling statement/, 'a search from the beginning is cancelled');
is(claim($b), -19, 'the claim after a cancelled search finds the job');
$cancelled->quit;
$old->query_safe('COMMIT');
$old->quit;

# PostgreSQL refuses to change the type of the key's columns while the triggers exist
my (undef, undef, $refused) = $node->psql('postgres', 'ALTER TABLE jobs ALTER COLUMN priority TYPE bigint USING -priority');
like($refused, qr/cannot alter type of a column used in a trigger definition/, 'a key cannot be lowered by ALTER TABLE');

# Many sessions at once: no job is left that a claim does not find
sql('TRUNCATE jobs');
$_->quit for $a, $b;
my $enqueue = $node->basedir . '/enqueue.sql';
append_to_file($enqueue, <<'SQL');
\set p random(-100, 100)
\set fate random(1, 10)
BEGIN;
INSERT INTO jobs (params, priority) SELECT '{}', :p FROM generate_series(1, 4);
\if :fate < 3
ROLLBACK;
\else
COMMIT;
\endif
SQL
my $consume = $node->basedir . '/consume.sql';
append_to_file($consume, <<'SQL');
\set n random(1, 4)
\set fate random(1, 10)
BEGIN;
SELECT count(*) FROM ecto_job.start_available_jobs('jobs', :n);
\if :fate < 3
ROLLBACK;
\elif :fate = 3
UPDATE jobs SET state = 'AVAILABLE', expires = NULL WHERE id IN
	(SELECT id FROM jobs WHERE state = 'IN_PROGRESS' LIMIT 2 FOR UPDATE SKIP LOCKED);
COMMIT;
\else
COMMIT;
\endif
SQL
command_ok(
	[ 'pgbench', '-n', '-c', 6, '-T', 8, '-f', "$enqueue\@3", '-f', "$consume\@2", '-h', $node->host, '-p', $node->port, 'postgres' ],
	'pgbench enqueues and claims in six sessions');
$b = session($node);
my ($claimed, $premature) = (0, 0);
while (sql("SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'") > 0)
{
	my $got = claim($b, 500);
	$claimed += () = $got =~ /-?\d+/g;
	$premature++ if $got eq '';
	last if $premature > 5;
}
cmp_ok($claimed, '>', 0, "jobs are left after the load: $claimed");
is($premature, 0, 'no claim returns nothing while jobs are AVAILABLE');
$b->quit;

$node->stop;
done_testing();
