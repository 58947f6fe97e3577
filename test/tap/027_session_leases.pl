# With ecto_job.session_leases a session's jobs are given back when the session ends, in whatever way, and are never
# taken from a session that lives. Leases are an hour long and full sweeps ten minutes apart, so nothing else gives jobs
# back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX qw(WNOHANG _exit);
use Time::HiRes qw(usleep);

my $node = new_node(allows_streaming => 1, conf => "max_prepared_transactions = 5\nmax_connections = 50\n");

sub sql { return $node->safe_psql('postgres', shift); }

# consumer($node): returns a session with ecto_job.session_leases
sub consumer
{
	my $session = session(shift // $node);
	$session->query_safe('SET ecto_job.session_leases = on');
	return $session;
}

# enqueue($n, 'max_attempts => 1'): enqueues $n jobs and returns their ids
sub enqueue
{
	my ($n, $more) = (@_, "notify => 'x'");
	return split /\n/, sql("SELECT ecto_job.enqueue('jobs', '{}', $more) FROM generate_series(1, $n)");
}

# take($session, 'start', $n): starts (or reserves) jobs in the session and returns an id, its lease, the next id ...
sub take
{
	my ($session, $how, $n) = @_;
	return split /[ \n]/,
	  $session->query_safe("SELECT id || ' ' || lease FROM ecto_job.${how}_available_jobs('jobs', $n)");
}

sub jobs { return join ', ', @_; }
sub states { return 'SELECT string_agg(state, \' \' ORDER BY id) FROM jobs WHERE id IN (' . jobs(@_) . ')'; }
# becomes_now($query, $expected, $name): dies at a failure, since after it each further test would wait for its limit
sub becomes_now { becomes($node, @_[ 0 .. 2 ]) or die "not in time: $_[2]\n"; }

sub quit { my $session = shift; eval { $session->quit }; return; }

sub pid_of { return shift->query_safe('SELECT pg_backend_pid()'); }

# fence(): ends a session and waits until its job is given back. The scheduler serves the ends of sessions in their order,
# so all earlier ends are served then, too
sub fence
{
	my ($id) = enqueue(1);
	sql("UPDATE jobs SET priority = -1000 WHERE id = $id");
	my $session = consumer();
	is((take($session, 'reserve', 1))[0], $id, 'a session reserves the job of the fence');
	quit($session);
	becomes_now("SELECT state FROM jobs WHERE id = $id", 'AVAILABLE', 'the job of the fence is given back');
	sql("DELETE FROM jobs WHERE id = $id");
	return;
}

sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.create_queue('fence');
	SELECT ecto_job.configure_queue('jobs', execution_timeout => '1 hour', reservation_timeout => '1 hour',
		retry_timeout => '1 hour', max_attempts => 3)");
wait_for_sleep($node);

# A living session keeps its jobs through all tests that follow
my $keeper = consumer();
my @kept = enqueue(2);
my @keepers = (take($keeper, 'start', 1), take($keeper, 'reserve', 1));
my $kept = 'SELECT string_agg(id || \' \' || lease, \' \' ORDER BY id) FROM jobs WHERE id IN (' . jobs(@kept) . ')';
sub keeps
{
	is(sql($kept), "@keepers", shift . ': a living session keeps its jobs') or die "a living session's job was taken\n";
	return;
}

# One claim takes a job that stands behind one with a higher id
{
	my ($later, $sooner) = (enqueue(1, 'priority => 5'), enqueue(1));
	my $session = consumer();
	my %taken = take($session, 'reserve', 2);
	is(jobs(sort { $a <=> $b } keys %taken), jobs($later, $sooner), 'a claim takes both jobs');
	quit($session);
	becomes_now(states($later, $sooner), 'AVAILABLE AVAILABLE',
		'both jobs are given back, whatever the order of their ids');
	sql('DELETE FROM jobs WHERE id IN (' . jobs($later, $sooner) . ')');
}

# The number of a lease
is($keepers[1] % 2, 1, 'a bound lease is odd');
cmp_ok($keepers[1], '<', 2**53, 'a bound lease is below 2^53, so that JSON keeps it');
isnt($keepers[1], $keepers[3], 'each call draws a lease of its own');

# Every way in which a session may end
my %ends = (
	'the end of the program' => sub { quit(shift) },
	'kill -9 of the program' => sub { my $session = shift; $session->{run}->signal('KILL'); eval { $session->{run}->finish } },
	'pg_terminate_backend' => sub { my $session = shift; sql("SELECT pg_terminate_backend(" . pid_of($session) . ")"); quit($session) },
	'the end within a transaction' => sub {
		my ($session, $id, $lease) = @_;
		$session->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease)");
		quit($session);
	},
	'an error that ends the session' => sub {
		my $session = shift;
		$session->query("SET idle_session_timeout = '1 ms'"); # may end the session before psql has the result
		quit($session);
	},
);
for my $end (sort keys %ends)
{
	my $listener = new_listener($node, 'jobs', 'jobs.retry', 'jobs.failed');
	my @ids = (enqueue(1), enqueue(1, "max_attempts => 1, notify => 'x'"), enqueue(2));
	notifications($listener);
	my $session = consumer();
	my ($id, $lease) = take($session, 'start', 2);
	take($session, 'reserve', 1);
	is(sql(states(@ids)), 'IN_PROGRESS IN_PROGRESS RESERVED AVAILABLE', "$end: the session holds its jobs before");
	$ends{$end}->($session, $id, $lease);
	becomes_now(states(@ids), 'RETRY FAILED AVAILABLE AVAILABLE', "$end: the jobs are given back");
	is( sql(
			'SELECT count(*) FROM jobs WHERE error = \'the consumer\'\'s connection ended\' AND lease IS NULL
			 AND expires IS NULL AND id IN (' . jobs(@ids[ 0, 1 ]) . ')'),
		2, "$end: started jobs are given back with the reason");
	is(sql("SELECT error IS NULL AND lease IS NULL AND expires IS NULL AND attempt = 0 FROM jobs WHERE id = $ids[2]"),
		't', "$end: a reserved job is given back without error and attempt");
	is( sql(
			"SELECT schedule > clock_timestamp() + interval '110 minutes' AND attempt = 1 FROM jobs WHERE id = $ids[0]"),
		't', "$end: the retry waits as after fail_job()");
	is(notifications($listener), 'jobs.failed:scheduler jobs.retry:scheduler jobs:scheduler',
		"$end: the jobs and their notifications are announced");
	keeps($end);
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
	quit($listener->{session});
}

# An open transaction may let another job wait under the key of a dead consumer's job: the job waits for the end of that
# transaction, and for its retry as after fail_job()
{
	my ($id) = enqueue(1, "key => 'k'");
	my $session = consumer();
	take($session, 'start', 1);
	my $enqueuer = session($node);
	$enqueuer->query_safe("BEGIN; SELECT ecto_job.enqueue('jobs', '{}', key => 'k')");
	quit($session);
	becomes_now("SELECT state || ' ' || error FROM jobs WHERE id = $id", q{IN_PROGRESS the consumer's connection ended},
		'a job is not given back while an open transaction may let another one wait under its key');
	$enqueuer->query_safe('ROLLBACK');
	becomes_now("SELECT state || (schedule > clock_timestamp() + interval '110 minutes') FROM jobs WHERE id = $id", 'RETRYtrue',
		'then it is given back, and the retry waits as after fail_job()');
	quit($enqueuer);
	sql("DELETE FROM jobs WHERE id = $id");
}

# The options of the queue decide when a job that was given back is retried: here after the second attempt
{
	sql(q{SELECT ecto_job.configure_queue('jobs', options => '{"backoff": "exponential", "retry_jitter": 0.5, "max_retry_delay": "100 minutes"}')});
	my @ids = enqueue(20);
	sql('UPDATE jobs SET attempt = 1 WHERE id IN (' . jobs(@ids) . ')');
	my $session = consumer();
	take($session, 'start', 20);
	quit($session);
	becomes_now('SELECT count(*) FROM jobs WHERE state = \'RETRY\' AND id IN (' . jobs(@ids) . ')', 20,
		'jobs of a queue with options are given back');
	is( sql("SELECT bool_and(schedule - updated_at BETWEEN '50 minutes' AND '101 minutes'), count(DISTINCT schedule) > 10
		FROM jobs WHERE id IN (" . jobs(@ids) . ')'),
		't|t', 'jobs that are given back together are retried at times of their own, as the options say');
	sql(q{SELECT ecto_job.configure_queue('jobs', options => '{"backoff": null, "retry_jitter": null, "max_retry_delay": null}')});
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
}

# Leases that are not bound to a session
{
	my @ids = enqueue(4);
	my $session = session($node);
	my @held = take($session, 'start', 1);
	is($held[1] % 2, 0, 'without the setting a lease is even');
	$session->query_safe('SET ecto_job.session_leases = on');
	push @held, take($session, 'start', 1);
	is($held[3] % 2, 1, 'with the setting a lease is odd');
	$session->query_safe('DISCARD ALL');
	push @held, take($session, 'start', 1);
	is($held[5] % 2, 0, 'after DISCARD ALL a lease is even');
	push @held, $session->query_safe("SET ecto_job.session_leases = on; BEGIN; SAVEPOINT a;
		SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1); ROLLBACK TO a; COMMIT");
	is(sql(states(@ids)), 'IN_PROGRESS IN_PROGRESS IN_PROGRESS AVAILABLE',
		'a start that ROLLBACK TO undoes leaves the job AVAILABLE');
	quit($session);
	becomes_now(states(@ids), 'IN_PROGRESS RETRY IN_PROGRESS AVAILABLE', 'only bound leases end with the session');
	fence();
	is(sql(states(@ids)), 'IN_PROGRESS RETRY IN_PROGRESS AVAILABLE', 'unbound leases stay after the end of their session');
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
}

# Jobs that are started from a reservation, and more of them than the scheduler moves in a batch
{
	my @ids = enqueue(2500);
	my $session = consumer();
	$session->query_safe("SELECT count(*) FROM ecto_job.reserve_available_jobs('jobs', 2500)");
	$session->query_safe("SELECT count(*) FROM jobs AS j, ecto_job.update_job_in_progress('jobs', j.id, j.attempt,
		lease => j.lease) WHERE j.state = 'RESERVED' AND j.id % 2 = 0 AND j.id >= $ids[0]");
	is(sql("SELECT count(*) FROM jobs WHERE state = 'IN_PROGRESS' AND id >= $ids[0]"), 1250,
		'half of 2,500 reserved jobs are IN_PROGRESS');
	quit($session);
	becomes_now("SELECT count(*) FROM jobs WHERE state = CASE id % 2 WHEN 0 THEN 'RETRY' ELSE 'AVAILABLE' END
		AND id >= $ids[0]", 2500, 'all of 2,500 jobs are given back');
	keeps('many jobs');
	sql("DELETE FROM jobs WHERE id >= $ids[0]");
}

# Tables that EctoJob's migrations made, without the column priority and with it
for my $version (2, 3)
{
	my $session = consumer();
	sql(slurp_source('test/regress/ectojob.sql') . "
		SELECT pg_temp.ectojob_table('adopted$version', $version);
		SELECT ecto_job.adopt_queue('adopted$version');
		INSERT INTO adopted$version (params, inserted_at, updated_at)
			SELECT '{}', clock_timestamp(), clock_timestamp() FROM generate_series(1, 3)");
	$session->query_safe("SELECT * FROM ecto_job.start_available_jobs('adopted$version');
		SELECT * FROM ecto_job.reserve_available_jobs('adopted$version', 1)");
	quit($session);
	becomes_now("SELECT string_agg(state, ' ' ORDER BY id) FROM adopted$version", 'RETRY AVAILABLE AVAILABLE',
		"jobs of a table of EctoJob's version $version are given back");
	is( sql("SELECT schedule > timezone('UTC', clock_timestamp()) FROM adopted$version WHERE state = 'RETRY'"),
		't', "a retry in a table of EctoJob's version $version has its time in UTC");
}

# The scheduler reads only the front of the queue, however many jobs wait
{
	my ($first) = enqueue(1);
	sql("UPDATE jobs SET schedule = '2020-01-01' WHERE id = $first");
	sql("INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 50000); VACUUM ANALYZE jobs");
	my $blocks = q{SELECT sum(idx_blks_hit + idx_blks_read) FROM pg_statio_user_indexes
		WHERE indexrelname LIKE 'jobs_priority%'};
	my $pages = sql("SELECT sum(relpages) FROM pg_class WHERE relname LIKE 'jobs_priority%'");
	my $session = consumer();
	my @held = take($session, 'start', 1);
	is($held[0], $first, 'the first of many jobs is taken');
	my $before = sql($blocks);
	quit($session);
	becomes_now("SELECT state FROM jobs WHERE id = $first", 'RETRY', 'the first of many jobs is given back');
	fence(); # by now the scheduler has reported its statistics
	my $read = sql($blocks) - $before;
	note("$read of $pages pages of the index");
	cmp_ok($read, '<', $pages / 2, 'giving a job back reads less than half of the index');
	sql("DELETE FROM jobs WHERE id >= $first");
}

# Another connection completes a job of the session that ends
for my $end (qw(COMMIT ROLLBACK))
{
	my @ids = enqueue(2);
	my $session = consumer();
	my @held = take($session, 'start', 2);
	my $completing = session($node);
	$completing->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $held[0], $held[1])");
	quit($session);
	becomes_now("SELECT state FROM jobs WHERE id = $held[2]", 'RETRY',
		"a locked job keeps no other job waiting, before $end");
	is(sql("SELECT state FROM jobs WHERE id = $held[0]"), 'IN_PROGRESS',
		"a locked job stays IN_PROGRESS when its session ends, before $end");
	$completing->query_safe($end);
	if ($end eq 'COMMIT')
	{
		is(sql("SELECT count(*) FROM jobs WHERE id = $held[0]"), 0,
			'a job is gone when the other connection commits its completion');
	}
	else
	{
		becomes_now("SELECT state FROM jobs WHERE id = $held[0]", 'RETRY',
			'a job is given back when the other connection rolls back its completion');
	}
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
	quit($completing);
}

# Prepared transactions: a job that a prepared transaction completes is not given back; a job that it starts belongs to
# the session
{
	my @ids = enqueue(4, 'max_attempts => 3'); # none with notify, since a transaction that notifies cannot be prepared
	my $session = consumer();
	my @held = take($session, 'start', 1);
	$session->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $held[0], $held[1]); PREPARE TRANSACTION 'completes'");
	$session->query_safe("BEGIN; SELECT * FROM ecto_job.start_available_jobs('jobs', 1); PREPARE TRANSACTION 'starts'");
	take($session, 'start', 1);
	quit($session);
	becomes_now("SELECT state FROM jobs WHERE id = $ids[2]", 'RETRY',
		'a job outside of prepared transactions is given back');
	sql("COMMIT PREPARED 'completes'");
	is(sql("SELECT count(*) FROM jobs WHERE id = $ids[0]"), 0, 'a prepared completion deletes the job at COMMIT PREPARED');
	sql("COMMIT PREPARED 'starts'");
	becomes_now("SELECT state FROM jobs WHERE id = $ids[1]", 'RETRY',
		'a job whose prepared start is committed after the end of the session is given back');
	$keeper->query_safe("BEGIN; SELECT * FROM ecto_job.start_available_jobs('jobs', 1); PREPARE TRANSACTION 'kept'");
	sql("COMMIT PREPARED 'kept'");
	fence();
	is(sql("SELECT state FROM jobs WHERE id = $ids[3]"), 'IN_PROGRESS',
		'a job whose prepared start is committed while the session lives stays IN_PROGRESS');
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
	keeps('prepared transactions');
}

# Sessions that end while nothing is swept, and while there is no scheduler
sub after_the_end
{
	my ($name, $before, $after) = @_;
	my ($id) = enqueue(1);
	my $session = consumer();
	take($session, 'reserve', 1);
	$before->();
	quit($session);
	$after->();
	becomes_now("SELECT state FROM jobs WHERE id = $id", 'AVAILABLE',
		"$name: the job of a session that ended meanwhile is given back");
	keeps($name);
	sql("DELETE FROM jobs WHERE id = $id");
	return;
}
after_the_end('disable',
	sub { sql('SELECT ecto_job.disable()'); poll_until(sub { scheduler_pid($node) eq '' }, "the scheduler's end") },
	sub { sql('SELECT ecto_job.enable()') });
after_the_end('ecto_job.enabled = off',
	sub {
		sql($_) for 'ALTER SYSTEM SET ecto_job.enabled = off', 'SELECT pg_reload_conf()';
		$node->poll_query_until('postgres', "SELECT DISTINCT status ~ 'enabled is off' FROM ecto_job.queues");
	},
	sub { sql($_) for 'ALTER SYSTEM RESET ecto_job.enabled', 'SELECT pg_reload_conf()' });
after_the_end('the end of the scheduler', sub { sql('SELECT pg_terminate_backend(' . scheduler_pid($node) . ')') }, sub { });
{
	my $locker = session($node);
	after_the_end('a lock on the table',
		sub { $locker->query_safe('BEGIN; LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE') },
		sub { fence_of_locks(); $locker->query_safe('COMMIT') });
	quit($locker);
}

# fence_of_locks(): waits until the scheduler has found the table locked
sub fence_of_locks
{
	$node->poll_query_until('postgres', "SELECT status LIKE 'locked%' FROM ecto_job.queues WHERE queue = 'jobs'::regclass");
	return;
}

# not_mistaken($name, $end): passes when the scheduler does not take later sessions for one that ended. A session holds a
# job, and $end ends the session while there is no scheduler. Three sessions that begin then, one of them in the process
# slot of the first, hold jobs too, under session numbers of their own
sub not_mistaken
{
	my ($name, $end) = @_;
	my @ids = enqueue(4);
	my $session = consumer();
	take($session, 'reserve', 1);
	sql('SELECT ecto_job.disable()');
	poll_until(sub { scheduler_pid($node) eq '' }, "the scheduler's end");
	$end->($session);
	my @others = map { consumer() } 1 .. 3;
	take($_, 'reserve', 1) for @others;
	sql('SELECT ecto_job.enable()');
	becomes_now(states(@ids), 'AVAILABLE RESERVED RESERVED RESERVED',
		"$name: only the job of the ended session is given back");
	quit($_) for @others;
	becomes_now(states(@ids), 'AVAILABLE AVAILABLE AVAILABLE AVAILABLE',
		"$name: the jobs of later sessions are given back when those end");
	sql('DELETE FROM jobs WHERE id IN (' . jobs(@ids) . ')');
	return;
}
not_mistaken('a session that others follow', sub {
		my $session = shift;
		my $pid = pid_of($session);
		quit($session);
		$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	});
keeps('a session that others follow');

# Many sessions claim, end and complete, with full sweeps in between: no job is taken from a living session, whose
# completion would be stale, no job is lost, and none is done twice
sql($_) for "ALTER SYSTEM SET ecto_job.safety_interval = '1 s'", 'SELECT pg_reload_conf()';
sql(q{
	SELECT ecto_job.configure_queue('jobs', retry_timeout => '0');
	CREATE TABLE effects (job bigint PRIMARY KEY);
	CREATE PROCEDURE consume() LANGUAGE plpgsql AS $$
	DECLARE
		held ecto_job.job[];
		job ecto_job.job;
	BEGIN
		LOOP
			held := ARRAY(SELECT j FROM ecto_job.start_available_jobs('jobs', 3) AS j);
			COMMIT;
			EXIT WHEN held = '{}';
			FOREACH job IN ARRAY held LOOP
				IF random() < 0.3 THEN
					PERFORM pg_terminate_backend(pg_backend_pid());
				END IF;
				PERFORM ecto_job.complete_job('jobs', job.id, job.lease);
				INSERT INTO effects VALUES (job.id);
				COMMIT;
			END LOOP;
		END LOOP;
	END $$;});
# Sessions that begin while the jobs of others are given back, one after the other
enqueue(40, 'max_attempts => 1000000');
my $ending = fork() // die "fork: $!";
if ($ending == 0)
{
	my @psql = ('psql', '-X', '-q', '-o', '/dev/null', '-d', $node->connstr('postgres'));
	system(@psql, '-c', 'SET ecto_job.session_leases = on', '-c', q{SELECT FROM ecto_job.start_available_jobs('jobs', 1)}) while 1;
	_exit(0);
}
my $taken = '';
for (1 .. 20)
{
	my (undef, undef, $error) = $node->psql('postgres', q{SET ecto_job.session_leases = on;
		SELECT id AS job, lease FROM ecto_job.start_available_jobs('jobs', 1) \gset
		SELECT pg_sleep(0.2);
		SELECT ecto_job.complete_job('jobs', :job, :lease)});
	$taken .= $error;
}
kill 'KILL', $ending;
waitpid $ending, 0;
is($taken, '', 'a session that begins while others end keeps its job');
sql('DELETE FROM jobs WHERE id NOT IN (' . join(', ', @keepers[ 0, 2 ]) . ')');

my $rows = 300;
my @raced = enqueue($rows, 'max_attempts => 1000000');
my $log = -s $node->logfile;
my $left = "SELECT count(*) FROM jobs WHERE id >= $raced[0]";
my @children;
for (1 .. 6)
{
	my $child = fork() // die "fork: $!";
	push @children, $child;
	next if $child != 0;
	open STDERR, '>', '/dev/null';
	my @psql = ('psql', '-X', '-q', '-d', $node->connstr('postgres'));
	system(@psql, '-c', 'SET ecto_job.session_leases = on', '-c', 'CALL consume()') while 1;
	_exit(0);
}
ok(poll_until(sub { sql($left) eq '0' }, 'the end of the race'),
	'no job is lost in a race of sessions that end') or diag(sql($left));
for my $child (@children)
{
	kill 'KILL', $child;
	waitpid $child, 0;
}
# A psql whose parent was killed may still connect, and would take the jobs of the next part
sql('DROP PROCEDURE consume');
poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'CALL consume()' AND state <> 'idle'") eq '0' },
	'the sessions of the race have ended');
is(sql('SELECT count(*) FROM effects'), $rows, 'no job is done twice in the race');
my $race = slurp_file($node->logfile, $log);
my $deaths = () = $race =~ /terminating connection/g;
cmp_ok($deaths, '>', 20, 'more than 20 sessions ended in the race');
unlike($race, qr/no longer yours|duplicate key/, 'no job was taken from a living session in the race');
keeps('the race');
is($keeper->query_safe("SELECT ecto_job.complete_jobs('jobs', ARRAY[$keepers[0], $keepers[2]], ARRAY[$keepers[1], $keepers[3]])"),
	2, 'a session completes the jobs that it kept through the race');
quit($keeper);
sql($_) for 'ALTER SYSTEM RESET ecto_job.safety_interval', 'SELECT pg_reload_conf()';
sql("SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 hour')");

# Ends of the server: no session survives them, and an unbound lease does
sub prepare_for_the_end
{
	sql('DELETE FROM jobs');
	my @ids = (enqueue(1), enqueue(1, 'max_attempts => 1'), enqueue(2));
	my $bound = consumer();
	take($bound, 'start', 2);
	take($bound, 'reserve', 1);
	my $unbound = session($node);
	take($unbound, 'start', 1);
	return ($bound, $unbound, @ids);
}

sub end_of_all
{
	my ($name, $end, $server) = @_;
	my ($bound, $unbound, @ids) = prepare_for_the_end();
	my $query = states(@ids);
	is(sql($query), 'IN_PROGRESS IN_PROGRESS RESERVED IN_PROGRESS', "$name: the sessions hold their jobs before");
	$end->();
	eval { $_->{run}->kill_kill } for $bound, $unbound;
	$server //= $node;
	my $now = sub { my ($status, $output) = $server->psql('postgres', $query); $status == 0 ? $output : 'no answer' };
	ok( poll_until(sub { $now->() eq 'RETRY FAILED AVAILABLE IN_PROGRESS' }, $name),
		"$name: bound leases have ended, others have not") or diag($now->());
	return;
}
sub crash
{
	my $offset = -s $node->logfile;
	my $victim = consumer();
	kill 9, pid_of($victim);
	wait_for_log($node, qr/reinitializing.*ready to accept connections/s, $offset);
	eval { $victim->{run}->kill_kill };
	return;
}
end_of_all('a crash', \&crash);
end_of_all('kill -9 of the postmaster', sub { kill9_and_wait($node); $node->start });
end_of_all('an immediate shutdown', sub { $node->stop('immediate'); $node->start });
end_of_all('a restart', sub { $node->restart });
# The first session of a server, and those that are the first after its crash
sql('DELETE FROM jobs');
not_mistaken('the first session before a crash', sub { crash(); eval { shift->{run}->kill_kill } });
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
end_of_all('promotion', sub {
		$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
		$node->stop('immediate');
		$standby->promote;
	}, $standby);
$standby->stop;

# Without preload nothing reports the end of a session, so no lease is bound; leases that were bound before have ended
my $plain = new_node(name => 'plain');
$plain->safe_psql('postgres', "SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.enqueue('jobs', '{}') FROM generate_series(1, 2)");
my $before = consumer($plain);
is((take($before, 'reserve', 1))[1] % 2, 1, 'with preload a lease is bound');
$plain->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$plain->restart;
quit($before);
my $session = consumer($plain);
is((take($session, 'start', 1))[1] % 2, 0, 'without preload a lease is not bound');
$session->query('SELECT ecto_job.start_scheduler()'); # raises a WARNING
# Either job may be the started one: the old scheduler may have given the first back while it was being stopped
becomes($plain, 'SELECT string_agg(state, \' \' ORDER BY state) FROM jobs', 'AVAILABLE IN_PROGRESS',
	'a lease that was bound before the restart has ended with the server');
quit($session);
$plain->stop;

done_testing();
