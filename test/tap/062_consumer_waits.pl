# The consumer program waits for jobs in the server, by ecto_job.wait_any: a job reaches it without a scheduler and without a
# notification; however the program ends while it waits, no job is lost and no attempt is counted. Where waiting is not
# possible, and while its connection is needed, it listens.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use ConsumerTest;
use SchedulerTest qw(session);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use WaitTest qw($sleeping);
use Time::HiRes qw(time);

# poll_interval is long, so that no consumer finds a job by a poll
my $node = new_node(conf => "listen_addresses = '127.0.0.1'\n", allows_streaming => 1);
my $directory = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', shift); }
sql(q{SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')});

my $program = "application_name = 'ecto_job_consumer'";
my $waits = "$program AND $sleeping";
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE $waits";
my $sessions = "SELECT count(*) FROM pg_stat_activity WHERE $program";
my @by_sql = ('--queue', 'jobs', '--sql', 'SELECT $1');
my @by_exec = ('--queue', 'jobs', '--exec');

sub enqueue { return sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id}); }

# start($number, @arguments): starts a consumer and waits until $number of consumers wait
sub start { return start_at($node, @_); }

# start_at($server, ...): starts it by the connection string of this server
sub start_at
{
	my ($server, $number, @arguments) = @_;
	my $consumer = ConsumerTest->start($server, @arguments);
	poll_until(sub { sql($waiting) == $number }, "$number consumers wait") or diag($consumer->log);
	return $consumer;
}

# stops($consumer, 'name'): passes when the consumer exits with 0 after SIGTERM, leaving no session
sub stops
{
	my ($consumer, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$consumer->signal('TERM');
	is($consumer->end, 0, $name);
	return becomes($node, $sessions, 0, "$name; its sessions have ended");
}

# Without a scheduler there are no notifications
sql('SELECT ecto_job.stop_scheduler()');
for my $work ([ 'programs', @by_exec, 'true' ], [ 'statements', @by_sql, '-j', 2 ])
{
	my ($kind, @arguments) = @$work;
	my $consumer = start(1, @arguments);
	for my $n (1 .. 2)
	{
		my $id = enqueue();
		ok($consumer->wait_for_log(qr/job $id: completed/), "$kind: job $n of a consumer that waits needs no scheduler");
		becomes($node, $waiting, 1, "$kind: the consumer waits again after job $n");
	}
	my $began = time;
	stops($consumer, "$kind: a consumer that waits exits with 0 after SIGTERM");
	cmp_ok(time - $began, '<', 4, "$kind: a consumer that waits stops at once");
	like($consumer->log, qr/info: stopped$/m, "$kind: the log says that the consumer has stopped");
	unlike($consumer->log, qr/lost|warning/, "$kind: a stop is no fault for the log");
}

# The claim that was sent with the wait is executed after the cancellation: SIGSTOP keeps the server from it until
# there is a job
{
	my $consumer = start(1, @by_sql);
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE $waits");
	kill 'STOP', $pid;
	my $id = enqueue();
	$consumer->signal('TERM');
	$consumer->wait_for_log(qr/stopping/);
	kill 'CONT', $pid;
	is($consumer->end, 0, 'a consumer is stopped while a job comes');
	is(sql('SELECT state, attempt FROM jobs'), 'AVAILABLE|0', 'a job that is claimed after the stop is given back, and no attempt is counted');
	like($consumer->log, qr/job $id: .*not begun/, 'the claim that was sent with the wait is executed after the stop');
	sql('DELETE FROM jobs');
}

# The claim behind the wait waits for a lock of somebody else
{
	my $consumer = start(1, @by_exec, 'true');
	my $locker = session($node);
	$locker->query_safe('BEGIN; LOCK TABLE jobs IN SHARE MODE');
	stops($consumer, 'a consumer whose claim waits for a lock exits with 0 after SIGTERM');
	unlike($consumer->log, qr/next try in/, 'a stop announces no further try');
	$locker->query_safe('COMMIT');
}

# A consumer that is killed has sent its claim, too. Over TCP the server can send to a client that is gone without
# noticing it
sub OverTcp::connstr { my ($self, $database) = @_; return "host=127.0.0.1 port=$self->{port} dbname=$database"; }
my $over_tcp = bless { port => $node->port }, 'OverTcp';
for my $signal ([ 'SIGKILL', 'signal 9', sub { shift->signal('KILL'); return sub { } } ], [ 'a second signal', 1, sub {
	my ($dead) = @_;
	# the server sees neither the cancellation nor the end
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE $waits ORDER BY backend_start LIMIT 1");
	kill 'STOP', $pid;
	$dead->signal('TERM');
	$dead->wait_for_log(qr/stopping/);
	$dead->signal('TERM');
	return sub { kill 'CONT', $pid } } ])
{
	my ($name, $status, $kill) = @$signal;
	my $dead = start_at($over_tcp, 1, @by_exec, 'true');
	my $living = start(2, @by_exec, 'true');
	my $resume = $kill->($dead);
	is($dead->end, $status, "$name: a consumer dies while it waits");
	my $id = enqueue();
	$resume->();
	ok($living->wait_for_log(qr/job $id: started, attempt 1 /), "$name: another consumer starts the next job, with attempt 1");
	ok($living->wait_for_log(qr/job $id: completed/), "$name: another consumer completes the next job");
	stops($living, "$name: another consumer exits with 0 after SIGTERM");
}
like(slurp_file($node->logfile), qr/FATAL:  connection to client lost/, 'the server ends the session of a consumer that died');

# A worker loses its connection: the consumer must not claim a job that nobody can perform
{
	my $consumer = start(1, @by_sql);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $program AND NOT ($waits)");
	ok($consumer->wait_for_log(qr/connection 1: "connection lost/), 'a consumer loses the connection on which it performs jobs');
	ok($consumer->wait_for_log(qr/connection 1: connected.*connection 1: connected/s), 'a consumer connects again');
	becomes($node, $waiting, 1, 'a consumer waits again when it can perform jobs again');
	my $id = enqueue();
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a consumer performs a job after a worker has lost its connection');
	unlike($consumer->log, qr/main connection: "connection lost/, 'a wait that is ended costs no connection');
	# The main connection is lost
	becomes($node, $waiting, 1, 'a consumer waits again after a job');
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $waits");
	ok($consumer->wait_for_log(qr/main connection: "connection lost: FATAL:  terminating connection/), 'a consumer loses the connection on which it waits');
	becomes($node, $waiting, 1, 'a consumer waits on its next connection');
	$id = enqueue();
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a consumer performs a job after it has lost its connection');
	stops($consumer, 'a consumer that has lost connections exits with 0 after SIGTERM');
}

# Several queues: the one that has the job is claimed from. A queue whose only job cannot be started does
# not keep the others
{
	sql(q{SELECT ecto_job.configure_queue(ecto_job.create_queue(name), poll_interval => '1 day') FROM unnest('{q2,"Q 3"}'::text[]) AS name});
	my $consumer = start(1, @by_exec, 'true', '--queue', 'q2', '--queue', '"Q 3"');
	for my $queue ('"Q 3"', 'jobs', 'q2', '"Q 3"')
	{
		my $id = sql("INSERT INTO $queue (params) VALUES ('{}') RETURNING id");
		ok($consumer->wait_for_log(qr/$queue job $id: completed/), "a consumer of several queues performs job $id of $queue");
	}
	becomes($node, $waiting, 1, 'a consumer of several queues waits again');
	sql(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now''; END';
		CREATE TRIGGER refuse BEFORE UPDATE ON q2 FOR EACH ROW EXECUTE FUNCTION refuse();
		INSERT INTO q2 (params) VALUES ('{}')});
	my $id = enqueue();
	ok($consumer->wait_for_log(qr/jobs job $id: completed/), 'a queue whose only job cannot be started does not keep a consumer from the others');
	sql('DROP TRIGGER refuse ON q2');
	ok($consumer->wait_for_log(qr/q2 job \d+: completed.*q2 job \d+: completed/s), 'a job that could not be started is performed later');
	stops($consumer, 'a consumer of several queues exits with 0 after SIGTERM');
}
sql('SELECT ecto_job.start_scheduler()');

# While a program runs the connection is needed, so the consumer listens
{
	my $consumer = start(1, @by_exec, "[ \$ECTO_JOB_ATTEMPT = 1 ] && echo \$ECTO_JOB_ID >>$directory/begun; until [ -e $directory/go ]; do sleep 0.05; done", '-j', 3);
	for my $n (1 .. 3)
	{
		enqueue();
		ok(poll_until(sub { -e "$directory/begun" && (() = slurp_file("$directory/begun") =~ /\n/g) == $n }, "program $n"),
			"a job is started while @{[$n - 1]} others of the consumer run");
		is(sql($waiting), 0, "a consumer does not wait while $n of its programs run");
	}
	append_to_file("$directory/go", '');
	becomes($node, $waiting, 1, 'a consumer waits when its programs have ended');
	is(sql('SELECT count(*) FROM jobs'), 0, 'a consumer has completed its jobs before it waits');
	# Notifications of 8 kB: PostgreSQL keeps them for each session that LISTENs
	sql(q{SELECT count(pg_notify('other', repeat('x', 7000) || n)) FROM generate_series(1, 1000) AS n}) for 1 .. 2;
	cmp_ok(sql('SELECT pg_notification_queue_usage()'), '<', 0.0003, 'no notifications are kept for a session that waits');
	stops($consumer, 'a consumer that has listened exits with 0 after SIGTERM');
}

# With --no-flush the commit of a claim waits neither for the disk nor for a standby. The completion does, also when it is
# sent together with the next claim
for my $work ([ 'programs', @by_exec, 'true' ], [ 'statements', @by_sql ])
{
	my ($kind, @arguments) = @$work;
	my $consumer = start(1, @arguments, '--no-flush');
	sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
	$node->reload;
	# The enqueuer shows that commits wait, until its wait is cancelled
	my ($id, $warnings) = ('', '');
	my $enqueuer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id} ],
		'<', \undef, '>', \$id, '2>', \$warnings);
	my $in_wait = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query";
	becomes($node, "SELECT count(*) $in_wait LIKE 'INSERT INTO jobs%'", 1, "$kind: commits wait for a standby that does not exist");
	sql("SELECT pg_cancel_backend(pid) $in_wait LIKE 'INSERT INTO jobs%'");
	$enqueuer->finish;
	chomp $id;
	becomes($node, "SELECT count(*) $in_wait NOT LIKE 'INSERT INTO jobs%'", 1, "$kind: a completion waits for the standby");
	is(sql("SELECT state FROM jobs WHERE id = $id"), 'IN_PROGRESS', "$kind: the claim has not waited for the standby");
	sql(q{SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names});
	$node->reload;
	ok($consumer->wait_for_log(qr/job $id: completed/), "$kind: the job is completed when commits do not wait any more");
	stops($consumer, "$kind: a consumer whose completion has waited exits with 0 after SIGTERM");
}

# Where waiting is not possible
sub listens
{
	my ($test, $consumer, $pattern) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($consumer->wait_for_log($pattern), "$test: the log says why the consumer listens") if $pattern;
	becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE $program AND state = 'idle'
		AND (query LIKE '%start_available_jobs%')", 1, "$test: the consumer listens");
	my $id = enqueue();
	ok($consumer->wait_for_log(qr/job $id: completed/), "$test: a job is completed at its notification");
	is(scalar(() = $consumer->log =~ /in place of waiting/g), $pattern ? 1 : 0, "$test: a wait that has failed is not repeated");
	stops($consumer, "$test: the consumer exits with 0 after SIGTERM");
	return;
}
for my $role (qw(hasty barred subject))
{
	sql("CREATE ROLE $role LOGIN; GRANT SELECT, UPDATE, DELETE, INSERT ON jobs TO $role; GRANT USAGE ON SCHEMA ecto_job TO $role");
}
sql(q{ALTER ROLE hasty SET statement_timeout = '200 ms'});
listens('a short statement_timeout', ConsumerTest->start($node, @by_exec, 'true', '-U', 'hasty'),
	qr/info: main connection: listens for jobs in place of waiting: .*statement_timeout/);
sql('REVOKE EXECUTE ON PROCEDURE ecto_job.wait_any FROM PUBLIC');
listens('no right to wait', ConsumerTest->start($node, @by_exec, 'true', '-U', 'barred'),
	qr/listens for jobs in place of waiting: .*permission denied for procedure wait_any/);
sql('GRANT EXECUTE ON PROCEDURE ecto_job.wait_any TO PUBLIC');
sql('CREATE POLICY every ON jobs TO subject USING (true); ALTER TABLE jobs ENABLE ROW LEVEL SECURITY');
listens('row-level security', ConsumerTest->start($node, @by_exec, 'true', '-U', 'subject'));
sql('ALTER TABLE jobs DISABLE ROW LEVEL SECURITY');
$node->stop;

# A start that was not flushed is lost by a crash. If the job has caused the crash, its attempts must come to an end
$node = new_node(name => 'crashing', conf => "wal_writer_delay = 10s\n");
sql(q{SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', poll_interval => '1 s', retry_timeout => '1 ms', max_attempts => 2);
	CREATE FUNCTION crash() RETURNS void LANGUAGE plpgsql AS $$BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; END$$});
{
	my $consumer = start(1, '--queue', 'jobs', '--sql', 'SELECT $1, public.crash()', '--no-flush');
	my $id = enqueue();
	ok(poll_until(sub { $node->psql('postgres', "SELECT state FROM jobs WHERE id = $id", stdout => \my $state); ($state // '') eq 'FAILED' },
			'the job is FAILED'), 'a job that crashes the server is FAILED in the end');
	poll_until(sub { $node->psql('postgres', 'SELECT 1') == 0 }, 'the server');
	is(sql("SELECT attempt FROM jobs WHERE id = $id"), 2, 'the attempts of a job that crashes the server are counted');
	is($node->psql('postgres', 'SELECT 1'), 0, 'the server works when the job has failed');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'a consumer that has lost its server some times exits with 0 after SIGTERM');
}
$node->stop;

# Without preload nobody wakes a session
$node = new_node(name => 'plain', preload => 0);
sql(q{SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')});
listens('without preload', ConsumerTest->start($node, @by_exec, 'true'));
$node->stop;

done_testing();
