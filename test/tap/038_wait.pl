# wait(): sessions that wait for a job hold nothing, are woken by the commit that brings the job, as many as there are
# jobs and in turn, and no wake-up is lost with the session that got it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use WaitTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# poll_interval is long, so that no session searches for a job unless it is woken
my $node = new_node(conf => "max_prepared_transactions = 10\nmax_connections = 120\n");
waiters_of($node);
my @queues = ('jobs', map { "q$_" } 1 .. 6);
my $job = "INSERT INTO jobs (params) VALUES ('{}')";
my $wait = "CALL ecto_job.wait('jobs', '10 min')";
my $claim = "SELECT count(*) FROM ecto_job.start_available_jobs('jobs')";

sql("SELECT ecto_job.configure_queue(ecto_job.create_queue(name), poll_interval => '1 day') FROM unnest('{" . join(',', @queues) . "}'::text[]) AS name");

# Nothing is held
my $first = start_waiter($wait, $claim);
is(sql("SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $first->{pid}"), 't',
	'a session that waits holds no snapshot');
is(sql("SELECT count(*) FROM pg_locks WHERE pid = $first->{pid} AND locktype <> 'virtualxid'"), 0, 'a session that waits holds no lock');
sql('BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE; COMMIT');

# Who is woken
my $second = start_waiter($wait, $claim);
my $other = start_waiter("CALL ecto_job.wait('q1', '10 min')");
sql("BEGIN; $job; ROLLBACK");
sql("BEGIN; SAVEPOINT a; $job; ROLLBACK TO a; COMMIT");
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', '2999-01-01')");
sql("INSERT INTO q2 (params) VALUES ('{}')");
sleeps_on([ $first, $second, $other ], 'jobs that were rolled back, are for later or in another queue wake nobody');
sql($job);
is_woken_to($first, 't 1', 'a job wakes the session that has waited longest, which gets it');
sleeps_on([ $second, $other ], 'one job wakes one session');
sql("BEGIN; SAVEPOINT a; SAVEPOINT b; $job; RELEASE b; SAVEPOINT c; $job; ROLLBACK TO c; RELEASE a; COMMIT");
is_woken_to($second, 't 1', 'a job of a released savepoint wakes a session');
sql("INSERT INTO q1 (params) VALUES ('{}')");
is_woken_to($other, 't', 'a job wakes a session that waits for its queue');

# As many as there are jobs, in turn
my @waiters = map { start_waiter($wait, $claim) } 1 .. 6;
sql("BEGIN; $job; SAVEPOINT a; $job; COMMIT");
is(join(' ', map { output_of($_) } @waiters[ 0, 1 ]), 't 1 t 1', 'two jobs of one commit wake the two sessions that came first');
sleeps_on([ @waiters[ 2 .. 5 ] ], 'two jobs of one commit wake nobody else');
sql("INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 1000)");
is(join(' ', map { output_of($_) } @waiters[ 2 .. 5 ]), join(' ', ('t 1') x 4), 'very many jobs wake everybody');
sql('DELETE FROM jobs');

wakes_one_of_fifty($node->connstr('postgres'));

# Sessions that end
my $until = start_waiter("SET statement_timeout = '2 s'", $wait);
is_woken_to($until, 'f', 'a wait returns false before statement_timeout');
my $cancelled = start_waiter($wait);
my $terminated = start_waiter($wait);
my $third = start_waiter($wait, $claim);
sql("SELECT pg_cancel_backend($cancelled->{pid}), pg_terminate_backend($terminated->{pid})");
is_woken_to($cancelled, 'canceling statement due to user request', 'a wait can be cancelled');
is_woken_to($terminated, 'terminating connection due to administrator command', 'a session that waits can be terminated');
sql($job);
is_woken_to($third, 't 1', 'sessions that have been cancelled or terminated are not woken in place of others');

# A session that is woken and ends before it has searched: SIGSTOP keeps it from its wake-up
for my $how (qw(cancel terminate))
{
	my $doomed = start_waiter($wait);
	my $next = start_waiter($wait, $claim);
	my $last = start_waiter($wait);
	kill 'STOP', $doomed->{pid};
	sql($job);
	sql("SELECT pg_${how}_backend($doomed->{pid})");
	sleeps_on([ $next, $last ], "$how: the wake-up is the stopped session's");
	kill 'CONT', $doomed->{pid};
	is_woken_to($next, 't 1', "$how: a session that is woken and ends passes the wake-up on");
	sleeps_on([$last], "$how: to one session");
	end_waiters($doomed, $last);
}

# A session whose client is gone notices that when it returns
my $gone = start_waiter($wait);
my $heir = start_waiter($wait, $claim);
$gone->{psql}->kill_kill;
sql($job);
is_woken_to($heir, 't 1', 'a session whose client is gone passes the wake-up on');

# A session that returns and takes nothing
my $idle = session($node);
my $next = start_waiter($wait, $claim);
my $last = start_waiter($wait, $claim);
my $wait_in_idle = sub {
	# it waits longest
	end_waiters($next, $last);
	$idle->{stdin} .= "SET application_name = 'idle'; \n$wait;\n\\echo returned\n";
	$idle->{run}->pump_nb;
	poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle' AND $sleeping") }, 'the wait');
	($next, $last) = map { start_waiter($wait, $claim) } 1 .. 2;
	sql($job);
	poll_until(sub { $idle->{run}->pump_nb; $idle->{stdout} =~ /t\s+returned\n/ }, 'the return');
	$idle->{stdout} = '';
};
$wait_in_idle->();
sleeps_on([ $next, $last ], 'a session that has returned is expected to claim');
$idle->query_safe('SELECT 1');
is_woken_to($next, 't 1', 'a session that does not claim in its next transaction passes the wake-up on');
sleeps_on([$last], 'a wake-up is passed on to one session');
$wait_in_idle->();
is($idle->query_safe($claim), 1, 'a session that has returned claims the job');
$idle->query_safe('SELECT 1');
sleeps_on([ $next, $last ], 'a session that has claimed passes nothing on');
$wait_in_idle->();
is($idle->query_safe("BEGIN; SELECT 1; $claim; ROLLBACK"), "1\n1", 'a session that has returned claims the job later in its transaction');
is_woken_to($next, 't 1', 'a claim that is rolled back wakes the next session');
$wait_in_idle->();
is($idle->query_safe("BEGIN; SAVEPOINT a; $claim; ROLLBACK TO a"), 1, 'a session that has returned claims the job in a savepoint');
is_woken_to($next, 't 1', 'a claim that is rolled back to a savepoint wakes the next session');
$idle->query_safe('COMMIT');
sleeps_on([$last], 'a claim of one job wakes one session');
$wait_in_idle->();
$idle->quit;
is_woken_to($next, 't 1', 'a session that ends before it claims passes the wake-up on');
end_waiters($last);
sql('DELETE FROM jobs');

# A pause
my $paused = start_waiter($wait, $claim);
my $also = start_waiter($wait, $claim);
sql("SELECT ecto_job.pause_queue('jobs')");
sql($job);
# It is woken, and sleeps again
poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$paused->{name}' AND $sleeping
	AND xact_start > '$paused->{since}'") }, 'a second sleep');
ok($paused->{psql}->pumpable, 'a session does not return while the queue is paused');
sql($job);
sql("SELECT ecto_job.resume_queue('jobs')");
is(join(' ', output_of($paused), output_of($also)), 't 1 t 1', 'the end of a pause wakes everybody');
sql('DELETE FROM jobs');

# Where else jobs come from
$first = start_waiter($wait, $claim);
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + interval '300 ms')");
is_woken_to($first, 't 1', 'a job that the scheduler makes AVAILABLE wakes a session');
$first = start_waiter($wait, $claim);
sql("SELECT ecto_job.snooze_job('jobs', id, lease) FROM jobs WHERE state = 'IN_PROGRESS'");
is_woken_to($first, 't 1', 'a job that is given back wakes a session');
sql('SELECT ecto_job.disable()');
$first = start_waiter($wait, $claim);
sql($job);
is_woken_to($first, 't 1', 'no scheduler is needed to wake a session');
sql('SELECT ecto_job.enable()');
sql('DELETE FROM jobs');

# Prepared transactions
$first = start_waiter($wait, $claim);
$second = start_waiter($wait, $claim);
sql("BEGIN; $job; PREPARE TRANSACTION 'p'");
sleeps_on([ $first, $second ], 'PREPARE TRANSACTION wakes nobody');
sql("COMMIT PREPARED 'p'");
is_woken_to($first, 't 1', 'COMMIT PREPARED wakes a session');
sleeps_on([$second], 'COMMIT PREPARED of one job wakes one session');
sql("BEGIN; $job; PREPARE TRANSACTION 'p'");
sql("ROLLBACK PREPARED 'p'");
sleeps_on([$second], 'ROLLBACK PREPARED wakes nobody');
end_waiters($second);
$first = start_waiter($wait, 'BEGIN', $claim, "PREPARE TRANSACTION 'p'");
$second = start_waiter($wait, $claim);
$third = start_waiter($wait);
sql($job);
is_woken_to($first, 't 1', 'a session claims a job and prepares its transaction');
sleeps_on([ $second, $third ], 'PREPARE TRANSACTION of a claim wakes nobody');
sql("ROLLBACK PREPARED 'p'");
is_woken_to($second, 't 1', 'ROLLBACK PREPARED of a claim wakes the next session');
sleeps_on([$third], 'ROLLBACK PREPARED of a claim of one job wakes one session');
end_waiters($third);
sql('DELETE FROM jobs');
# A note has room for four queues, the last ones; of the others it does not know how many jobs came
sql("DELETE FROM $_") for @queues;
@waiters = map { start_waiter("CALL ecto_job.wait('$_', '10 min')") } qw(jobs q2 q6);
sql('BEGIN; ' . join('; ', map { "INSERT INTO $_ (params) VALUES ('{}')" } @queues) . "; PREPARE TRANSACTION 'p'");
sql("COMMIT PREPARED 'p'");
is(join(' ', map { output_of($_) } @waiters), 't t t', 'COMMIT PREPARED of more queues than a note has room for wakes those who wait');
sql("DELETE FROM $_") for @queues;

# A queue that is gone, and a table that is locked
$first = start_waiter($wait);
$second = start_waiter("CALL ecto_job.wait('q1', '10 min')");
my $locker = session($node);
$locker->query_safe('BEGIN; LOCK TABLE jobs');
is(sql("SET lock_timeout = '5 s';\nCALL ecto_job.wait('jobs', '1 ms')"), 'f', 'a wait does not wait for a lock on the table');
sql($_) for "SELECT ecto_job.drop_queue('q1')";
is_woken_to($second, 'queue "q1" was dropped while the session waited', 'the end of a queue ends a wait');
$locker->query_safe('COMMIT');
$locker->quit;
sql('ALTER TABLE jobs RENAME TO renamed; ALTER TABLE renamed RENAME TO jobs');
sql($job);
is_woken_to($first, 't', 'a wait goes on when the table is locked or renamed meanwhile');

# A job that claims cannot get, since a transaction has it locked: a loop of claims and waits must not spin
$locker = session($node);
$locker->query_safe('BEGIN; SELECT id FROM jobs FOR UPDATE');
my $began = time;
is(sql(join ';', map { ("\n$wait", "\n$claim") } 1 .. 11), join("\n", ('t', 0) x 11), 'a job that is locked does not count as taken');
cmp_ok(time - $began, '>=', 1, 'a wait that finds a locked job again pauses, longer each time');
$locker->query_safe('COMMIT');
$locker->quit;
sql('DELETE FROM jobs');

# Another database, where the queue has the same OID
sql('SELECT ecto_job.stop_scheduler()');
sql('CREATE DATABASE twin TEMPLATE postgres');
my $here = start_waiter($wait);
my $twin = 'twin';
my $there = start_waiter(\$twin, $wait);
$node->safe_psql('twin', $job);
is_woken_to($there, 't', 'a job wakes a session of its database');
sleeps_on([$here], 'a job wakes nobody in another database');
end_waiters($here);

# Drivers send statements by the extended protocol, prepared or not
sql($job);
my $script = PostgreSQL::Test::Utils::tempdir() . '/wait.sql';
append_to_file($script, "CALL ecto_job.wait('jobs', '0');\nSELECT 1;\nCALL ecto_job.wait('jobs', '1 s');\n");
for my $mode (qw(extended prepared))
{
	$node->command_ok([ 'pgbench', '-n', '-t', '3', '-M', $mode, '-f', $script, $node->connstr('postgres') ],
		"a wait can be called by the extended protocol, $mode");
}
# A claim that fails passes the wake-up on
sql('DELETE FROM jobs');
sql(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN IF current_setting(''test.refuse'', true) = ''on'' THEN RAISE SQLSTATE ''55000''; END IF; RETURN NEW; END';
	CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()});
$first = start_waiter('SET test.refuse = on', $wait, $claim);
$second = start_waiter($wait, $claim);
sql($job);
is_woken_to($first, 't55000', 'a session is woken, and its claim fails');
is_woken_to($second, 't 1', 'a wake-up is passed on whose claim has failed');
sql('DROP TRIGGER refuse ON jobs; DELETE FROM jobs');

# A session that cannot claim takes no wake-up of others
sql('CREATE ROLE reader; GRANT SELECT ON jobs TO reader');
$first = start_waiter('SET ROLE reader', $wait, 'SELECT pg_sleep(1000)');
$second = start_waiter($wait, $claim);
sql($job);
is_woken_to($second, 't 1', 'a session that may only read, and that waits longer, takes no wake-up');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$first->{name}'");
output_of($first);

$node->stop;

# Without preload a session searches once a second
my $plain = new_node(name => 'plain', preload => 0);
$plain->safe_psql('postgres', "SELECT ecto_job.create_queue('jobs')");
my $out = '';
my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $plain->connstr('postgres'), '-c', $wait, '-c', $claim ], '<', \undef, '>', \$out);
becomes($plain, "SELECT count(*) FROM pg_stat_activity WHERE $sleeping", 1, 'without preload: a session waits');
is($plain->safe_psql('postgres', "SELECT backend_xmin IS NULL FROM pg_stat_activity WHERE $sleeping"), 't',
	'without preload: a session that waits holds no snapshot');
$plain->safe_psql('postgres', $job);
$psql->finish;
is($out, "t\n1\n", 'without preload: a session finds the job');
$plain->stop;
done_testing();
