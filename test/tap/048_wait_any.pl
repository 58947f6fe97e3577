# wait_any(): sessions that wait for several queues are woken by the commit that brings a job of any of them, in turn with
# those that wait for this queue alone, and a wake-up goes to no other queue than its own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use WaitTest;
use Test::More;
use Time::HiRes qw(time);

# poll_interval is long, so that no session searches for a job unless it is woken
my $node = new_node(conf => "max_prepared_transactions = 10\n");
waiters_of($node);

sub job { return "INSERT INTO $_[0] (params) VALUES ('{}')"; }
sub any { return "CALL ecto_job.wait_any('{$_[0]}', '10 min')"; }
sub only { return "CALL ecto_job.wait('$_[0]', '10 min')"; }
sub claim { return "SELECT count(*) FROM ecto_job.start_available_jobs('$_[0]')"; }
sub delete_jobs { return sql("DELETE FROM a; DELETE FROM b; DELETE FROM c"); }

sql("SELECT ecto_job.configure_queue(ecto_job.create_queue(name), poll_interval => '1 day') FROM unnest('{a,b,c}'::text[]) AS name");

# Nothing is held
my $first = start_waiter(any('a,b,c'));
is(sql("SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $first->{pid}"), 't',
	'a session that waits for several queues holds no snapshot');
is(sql("SELECT count(*) FROM pg_locks WHERE pid = $first->{pid} AND locktype <> 'virtualxid'"), 0,
	'a session that waits for several queues holds no lock');
end_waiters($first);

# Who is woken: in each queue those who came first, whatever else they wait for, and as many as there are jobs
my ($ab, $b, $ba, $c) = (start_waiter(any('a,b,a'), claim('b')), start_waiter(only('b'), claim('b')),
	start_waiter(any('b,a'), claim('b')), start_waiter(any('c,c')));
sql(job('b'));
is_woken_to($ab, 'b 1', 'a job of the second queue wakes the session that came first');
sleeps_on([ $b, $ba, $c ], 'one job wakes one session of those that wait for its queue');
sql('BEGIN; ' . job('b') . '; ' . job('b') . '; COMMIT');
is(join(' ', output_of($b), output_of($ba)), 't 1 b 1', 'two jobs of a commit wake two sessions, for one queue or several');
sleeps_on([$c], 'a job wakes nobody who waits for other queues');
sql(job('c'));
is_woken_to($c, 'c', 'a queue that is given twice is one queue');
delete_jobs();

# A session has one wake-up at a time. SIGSTOP keeps it from the wake-up for a, so that the job of b wakes nobody
my $both = start_waiter(any('a,b'), claim('b'));
kill 'STOP', $both->{pid};
sql(job('a'));
sql(job('b'));
is(sql(claim('a')), 1, 'another consumer gets the job for which a session was woken');
kill 'CONT', $both->{pid};
is_woken_to($both, 'b 1', 'a session that was woken in vain searches its other queues');
delete_jobs();

# A session that is woken and ends before it has searched
for my $how (qw(cancel terminate))
{
	my $doomed = start_waiter(any('c,b,a'));
	my ($in_c, $in_b, $next, $last) = map { start_waiter(only($_), claim($_)) } qw(c b a a);
	kill 'STOP', $doomed->{pid};
	sql(job('a'));
	sql("SELECT pg_${how}_backend($doomed->{pid})");
	kill 'CONT', $doomed->{pid};
	is_woken_to($next, 't 1', "$how: a session that is woken and ends passes the wake-up on in its queue");
	sleeps_on([ $in_c, $in_b, $last ], "$how: and to nobody else");
	output_of($doomed);
	sql('BEGIN; ' . job('b') . '; ' . job('c') . '; COMMIT');
	is(join(' ', output_of($in_c), output_of($in_b)), 't 1 t 1', "$how: a session that has ended is in none of its queues");
	end_waiters($last);
	delete_jobs();
}

# A wake-up that is taken, while a is locked, by a session that then returns for b
$both = start_waiter(any('a,b'), 'SELECT pg_sleep(1000)');
my $heir = start_waiter(only('a'));
my $in_b = start_waiter(only('b'));
my $locker = session($node);
kill 'STOP', $both->{pid};
sql(job('a'));
$locker->query_safe('BEGIN; LOCK TABLE a');
kill 'CONT', $both->{pid};
poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$both->{name}' AND $sleeping
	AND xact_start > '$both->{since}'") }, 'a second sleep');
sleeps_on([ $heir, $in_b ], 'a session keeps its wake-up while the table is locked');
sql(job('b'));
poll_until(sub { $both->{psql}->pump_nb; $both->{out} =~ /b/ }, 'the return for b');
$locker->query_safe('COMMIT');
is_woken_to($heir, 't', 'a session that returns for another queue passes on the wake-up that it does not use');
sleeps_on([$in_b], 'the wake-up with which a session returns is its own');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$both->{name}'");
is_woken_to($in_b, 't', 'a session that ends before it claims passes the wake-up on in the queue that it has returned');
output_of($both);
delete_jobs();

# A session that returns and does not claim
$both = start_waiter(any('a,b'), 'SELECT 1', 'SELECT pg_sleep(1000)');
($heir, $in_b) = map { start_waiter(only($_)) } qw(a b);
sql(job('b'));
is_woken_to($in_b, 't', 'a session that does not claim passes the wake-up on in the queue that it has returned');
sleeps_on([$heir], 'and in no other');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$both->{name}'");
end_waiters($heir);
output_of($both);
delete_jobs();

# A table that is locked, a queue that is paused
$locker->query_safe('BEGIN; LOCK TABLE a');
is(sql("SET lock_timeout = '5 s';\nCALL ecto_job.wait_any('{a,b}', '1 ms')"), '', 'a wait does not wait for a lock on one of its tables');
$both = start_waiter(any('a,b'));
sql(job('b'));
is_woken_to($both, 'b', 'a session is woken for one queue while the table of another is locked');
is(sql("CALL ecto_job.wait_any('{a,b}', '0')"), 'b', 'a lock on one table does not keep a session from the jobs of another queue');
$locker->query_safe('COMMIT');
delete_jobs();
$both = start_waiter(any('a,b'));
sql("SELECT ecto_job.pause_queue('a')");
sql(job('a'));
sql(job('b'));
is_woken_to($both, 'b', 'a pause of one queue does not keep a session from the jobs of another');
sql(claim('b'));
$both = start_waiter(any('a,b'));
sql("SELECT ecto_job.resume_queue('a')");
is_woken_to($both, 'a', 'the end of the pause of one of its queues wakes a session');
delete_jobs();

# Jobs that claims cannot get, since a transaction has them locked: a loop of claims and waits must not spin
sql($_) for job('a'), job('b');
$locker->query_safe('BEGIN; SELECT id FROM a FOR UPDATE; SELECT id FROM b FOR UPDATE');
my $began = time;
is(sql(join ';', map { ("\n" . any('a,b'), "\n" . claim('a'), "\n" . claim('b')) } 1 .. 20), join("\n", ("a\n0\n0", "b\n0\n0") x 10),
	'of several queues with a job each is returned in turn');
cmp_ok(time - $began, '>=', 1, 'a wait that finds locked jobs of two queues again pauses, longer each time');
sql(job('c'));
is((split /\n/, sql(join ';', map { "\n$_" } (any('a')) x 11, any('c'), claim('c'), job('c'), any('a,c')))[-1], 'c',
	'a locked job of one queue does not keep a session from the jobs of another');
$locker->query_safe('COMMIT');
$locker->quit;
delete_jobs();

# The rights in each queue: a session that may only read a, and so searches once a second, takes no wake-up for a
sql('CREATE ROLE consumer; GRANT SELECT ON a, b TO consumer; GRANT UPDATE, DELETE ON b TO consumer');
$both = start_waiter('SET ROLE consumer', any('a,b'), 'SELECT pg_sleep(1000)');
$heir = start_waiter(only('a'), claim('a'));
sql(job('a'));
is_woken_to($heir, 't 1', 'a session that may only read one of its queues takes no wake-up for this queue');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$both->{name}'");
output_of($both);
delete_jobs();

# The least poll_interval: triggers are off, so nobody is woken for the job
sql("SELECT ecto_job.configure_queue('b', poll_interval => '100 ms')");
$both = start_waiter(any('a,b'), claim('b'));
sql("SET session_replication_role = replica; INSERT INTO b (params) VALUES ('{}')");
is_woken_to($both, 'b 1', 'a session searches once in the least poll_interval of its queues');
sql("SELECT ecto_job.configure_queue('b', poll_interval => '1 day')");

# COMMIT PREPARED
$both = start_waiter(any('a,b'), claim('b'));
sql('BEGIN; ' . job('b') . "; PREPARE TRANSACTION 'p'");
sleeps_on([$both], 'PREPARE TRANSACTION wakes nobody');
sql("COMMIT PREPARED 'p'");
is_woken_to($both, 'b 1', 'COMMIT PREPARED wakes a session');

# A queue that is gone
$both = start_waiter(any('a,c'));
$heir = start_waiter(only('a'));
sql("SELECT ecto_job.drop_queue('c')");
is_woken_to($both, 'queue "c" was dropped while the session waited', 'the end of one of its queues ends a wait');
sql(job('a'));
is_woken_to($heir, 't', 'a session whose wait has ended is in none of its queues');

$node->stop;

# Without preload a session searches once a second
my $plain = new_node(name => 'plain', preload => 0);
waiters_of($plain);
sql("SELECT ecto_job.create_queue(name) FROM unnest('{a,b}'::text[]) AS name");
$both = start_waiter(any('a,b'), claim('b'));
sql(job('b'));
is_woken_to($both, 'b 1', 'without preload: a session finds the job');
$plain->stop;
done_testing();
