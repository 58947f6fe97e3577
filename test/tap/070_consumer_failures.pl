# What ends consumers, programs, statements and servers, and that no job is lost or done twice by it:
# kill -9, a lease that is over, a zombie, stops, a restarted server, a completion that is refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use ConsumerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();
my $directory = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', shift); }
sql(q{
	CREATE TABLE effects (id bigint, attempt integer);
	CREATE FUNCTION perform(job ecto_job.job) RETURNS void LANGUAGE sql AS $$
		INSERT INTO effects VALUES (job.id, job.attempt);
		SELECT pg_advisory_xact_lock_shared(1);
	$$;
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms', retry_timeout => '50 ms');
});

# A program that says that it has begun, and ends when it may: a file for each. Its first attempt waits,
# later ones do not.
my $program = "$directory/program";
append_to_file($program, <<'EOS');
#!/bin/sh
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT" >>"$0.begun"
[ "$ECTO_JOB_ATTEMPT" -gt 1 ] || until [ -e "$0.go" ]; do sleep 0.05; done
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT" >>"$0.done"
EOS
chmod 0755, $program or die;
sub begun { return -e "$program.begun" ? slurp_file("$program.begun") : ''; }
sub done_by_program { return -e "$program.done" ? slurp_file("$program.done") : ''; }
sub start_over
{
	unlink map { "$program.$_" } qw(begun go done);
	sql('DELETE FROM jobs; TRUNCATE effects');
	return sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
}
sub has_begun { return ok(poll_until(sub { begun() ne '' }, 'the program'), 'the program runs'); }
sub go { append_to_file("$program.go", ''); }
my @by_program = ('--queue', 'jobs', '--exec', $program);
my @by_sql = ('--queue', 'jobs', '--sql', 'SELECT perform($2)');

# The consumer sets ecto_job.session_leases, unless somebody has set it before
sub without_session_leases
{
	my ($body) = @_;
	local $ENV{PGOPTIONS} = '-c ecto_job.session_leases=off';
	return $body->();
}

# kill -9: the job comes back at once, or when its lease is over, and another consumer does it
for my $bound (1, 0)
{
	my $id = start_over();
	my $killed =
	  $bound
	  ? ConsumerTest->start($node, @by_program)
	  : without_session_leases(sub { ConsumerTest->start($node, @by_program, '--timeout', '2 s') });
	has_begun();
	$killed->signal('KILL');
	is($killed->end, 'signal 9', 'killed');
	is(sql('SELECT state, attempt FROM jobs'), 'IN_PROGRESS|1', 'nobody knows yet') unless $bound;
	my $other = ConsumerTest->start($node, @by_program);
	becomes($node, 'SELECT count(*) FROM jobs', '0', 'another consumer does the job');
	is(done_by_program(), "$id 2\n", 'as its second attempt');
	go();
	ok(poll_until(sub { done_by_program() eq "$id 2\n$id 1\n" }, 'the orphan'),
		'the killed one\'s program has outlived it');
	$other->signal('TERM');
	is($other->end, 0, 'stopped');
}

# kill -9 within the job's transaction: the server has been sent all of it, COMMIT too, and finishes it
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $killed = ConsumerTest->start($node, @by_sql, '--timeout', '500 ms');
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1',
		'the statement runs');
	$killed->signal('KILL');
	is($killed->end, 'signal 9', 'killed');
	my $other = ConsumerTest->start($node, @by_sql);
	ok($other->wait_for_log(qr/connection 1: connected/), 'another consumer looks for jobs');
	$lock->quit;
	becomes($node, 'SELECT count(*) FROM jobs', '0', 'the job is done');
	is(sql('SELECT id, attempt FROM effects'), "$id|1", 'once');
	$other->signal('TERM');
	is($other->end, 0, 'stopped');
	unlike($other->log, qr/job $id/, 'the other has not had it: a transaction keeps its job');
}
# The server's process dies instead: nothing of it stays
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1',
		'the statement runs');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'});
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the job comes again');
	is(sql('SELECT id, attempt FROM effects'), "$id|2", 'with the effects of the second attempt only');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}

# A zombie: it sleeps through its lease, another does the job, it wakes up and wants to complete
{
	my $id = start_over();
	my $zombie = ConsumerTest->start($node, @by_program, '--timeout', '500 ms');
	has_begun();
	$zombie->signal('STOP');
	go(); # its program ends, and it does not notice
	ok(poll_until(sub { done_by_program() eq "$id 1\n" }, 'the end'), 'its program ends well');
	becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'its lease ends');
	unlink "$program.go";
	sql(q{UPDATE jobs SET max_attempts = 9});
	my $other = ConsumerTest->start($node, '--queue', 'jobs', '--exec', "until [ -e $program.go ]; do sleep 0.05; done");
	ok($other->wait_for_log(qr/job $id: started, attempt 2/), 'another has the job');
	$zombie->signal('CONT');
	ok($zombie->wait_for_log(qr/error: jobs job $id: lost: ".*no longer yours/), 'the zombie is told');
	is(sql('SELECT state, attempt, error FROM jobs'), 'IN_PROGRESS|2|the lease of attempt 1 expired', 'and has changed nothing');
	go();
	ok($other->wait_for_log(qr/job $id: completed/), 'the other completes it');
	for my $consumer ($zombie, $other)
	{
		$consumer->signal('TERM');
		is($consumer->end, 0, 'stopped');
	}
}

# --batch: jobs that wait for their turn under a lease. One is taken meanwhile, as after a sweep: it is
# found out before the statement has any effect
{
	my $id = start_over();
	my ($second, $third) = split /\n/, sql(q{INSERT INTO jobs (params) VALUES ('{}'), ('{}') RETURNING id});
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--batch', 3);
	ok($consumer->wait_for_log(qr/job $id: started/), 'the first of a batch runs');
	is(sql(q{SELECT count(*) FROM jobs WHERE state = 'IN_PROGRESS'}), '3', 'all of it are started');
	unlike($consumer->log, qr/job $second: started/, 'but one at a time is performed');
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $second");
	$lock->quit;
	ok($consumer->wait_for_log(qr/error: jobs job $second: lost: ".*no longer yours/), 'one was taken');
	ok($consumer->wait_for_log(qr/job $third: completed/), 'the others are done');
	is(sql('SELECT string_agg(id::text, \' \' ORDER BY id) FROM effects'), "$id $third", 'with their effects');
	is(sql('SELECT id, state, error FROM jobs'), "$second|IN_PROGRESS|", 'the taken one is left alone');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}
# Their leases end while they wait. That of the running one ends too, but its transaction holds the job
{
	my $id = start_over();
	my $second = sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--batch', 2, '--timeout', '500 ms');
	ok($consumer->wait_for_log(qr/job $second: lost: "its lease was over before its turn came"/),
		'a job that waited too long is not begun');
	becomes($node, "SELECT state FROM jobs WHERE id = $second", 'AVAILABLE', 'and comes back');
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $second: completed/), 'to be done');
	is(sql('SELECT id, attempt FROM effects ORDER BY id'), "$id|1\n$second|2", 'each once');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}

# A program that runs into the end of its lease
{
	my $id = start_over();
	sql('SELECT ecto_job.disable()'); # the sweep and the program's end meet at the same moment
	my ($status, $log) = run_consumer($node, '--queue', 'jobs', '--timeout', '200 ms', '--drain', '--exec',
		'echo going >&2; sleep 60 & wait');
	is($status, 0, 'drained');
	like($log, qr/warning: jobs job $id: its lease is over: SIGTERM/, 'a program is told to end with its lease');
	is(sql('SELECT state, error FROM jobs'), "RETRY|killed by signal 15: its lease was over: going",
		'and its job fails');
	sql('SELECT ecto_job.enable()');
}

# SIGTERM: what runs is finished, nothing new is started, for both kinds
for my $kind (\@by_program, \@by_sql)
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @$kind);
	ok($consumer->wait_for_log(qr/job $id: started/), 'a job runs');
	$consumer->signal('TERM');
	ok($consumer->wait_for_log(qr/stopping: jobs to finish: 1/), 'the consumer stops');
	sql(q{INSERT INTO jobs (params) VALUES ('{}')});
	$lock->quit;
	go();
	is($consumer->end, 0, 'gracefully');
	like($consumer->log, qr/job $id: completed after .*stopped$/s, 'it has finished what ran');
	is(sql('SELECT state, attempt FROM jobs'), 'AVAILABLE|0', 'and started nothing new');
}

# A second signal: at once, the job given back
{
	my $id = start_over();
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec',
		# nobody reads its standard error any more then, and the shell would say there that sleep was killed
		"exec 2>/dev/null; trap 'echo told >$program.done; exit 1' TERM; echo >$program.begun; "
		  . "until [ -e $program.go ]; do sleep 0.05; done");
	has_begun();
	$consumer->signal('INT');
	ok($consumer->wait_for_log(qr/stopping/), 'the consumer stops');
	$consumer->signal('INT');
	is($consumer->end, 1, 'at once');
	ok(poll_until(sub { done_by_program() eq "told\n" }, 'the program'), 'its program is told to end');
	becomes($node, q{SELECT attempt FROM jobs WHERE state IN ('RETRY', 'AVAILABLE')}, '1', 'the job is given back');
}

# The server restarts while jobs run. A program's job is completed over the new connection if its lease has
# outlived the old one, else it comes again; a statement's transaction is gone, so its job comes again; then the
# consumer works on
for my $bound (0, 1)
{
	my $id = start_over();
	my $consumer =
	  $bound
	  ? ConsumerTest->start($node, @by_program)
	  : without_session_leases(sub { ConsumerTest->start($node, @by_program) });
	has_begun();
	$node->stop('immediate');
	go();
	ok($consumer->wait_for_log(qr/main connection: "connection lost.*next try in/), 'the connection is lost');
	$node->start;
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the program\'s job is completed over a new one');
	is(done_by_program(), $bound ? "$id 1\n$id 2\n" : "$id 1\n", 'it ran ' . ($bound ? 'twice' : 'once'));
	is($consumer->log =~ /job $id: lost: .*no longer yours/ ? 1 : 0, $bound, 'as it was told');
	$id = sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	ok($consumer->wait_for_log(qr/job $id: completed/), 'and the consumer works on');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1',
		'the statement runs');
	$node->stop('immediate');
	$node->start;
	eval { $lock->quit };
	ok($consumer->wait_for_log(qr/job $id: (?:failed, RETRY at |lost: "no longer ours; what failed: ).*connection lost/),
		'a statement\'s job fails');
	ok($consumer->wait_for_log(qr/job $id: completed/), 'and is done by its second attempt');
	is(sql('SELECT id, attempt FROM effects'), "$id|2", 'once');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}

# Stopped while there is no server: it waits for one as long as the lease runs, not longer
{
	my $id = start_over();
	my $consumer = ConsumerTest->start($node, @by_program, '--timeout', '3 s');
	has_begun();
	$node->stop('immediate');
	go();
	ok(poll_until(sub { done_by_program() ne '' }, 'the program'), 'a program ends while there is no server');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'a stop does not wait for ever');
	like($consumer->log, qr/job $id: lost: .*left to its lease/, 'and says what it leaves');
	$node->start;
	becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|1', 'the job comes back');
}

# A completion that the server refuses for a reason of its own
{
	start_over();
	sql(q{
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for the audit'; END $$;
		CREATE TRIGGER refuse BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()});
	run_consumer($node, '--queue', 'jobs', '--exec', 'true', '--drain');
	like(sql('SELECT error FROM jobs'), qr/\Adone, but not completed: ERROR:  kept for the audit/,
		'a refused completion is a failure that says so');
	sql('DROP TRIGGER refuse ON jobs');
}

# No privilege to complete: one job is tried, not all of them
{
	start_over();
	sql(q{
		INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 5);
		CREATE ROLE half LOGIN;
		GRANT SELECT, UPDATE ON jobs TO half});
	my ($status, $log) = run_consumer($node, '--queue', 'jobs', '--exec', 'true', '-U', 'half');
	is($status, 1, 'no privilege to complete is fatal');
	like($log, qr/critical: .*permission denied for table jobs/, 'and is said');
	is(sql('SELECT count(*) FROM jobs WHERE attempt = 0'), '5', 'the other jobs are not touched');
}

# Notifications are hints: without them a job is found within poll_interval
{
	start_over();
	sql('DELETE FROM jobs');
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', 'true');
	becomes($node, q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'ecto_job_consumer' AND query LIKE '%start_available_jobs%' AND state = 'idle'},
		'1', 'the consumer is idle');
	my $id = sql(q{SET session_replication_role = replica; INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a job that nobody announced');

	# The queue goes away under it
	sql(q{SELECT ecto_job.drop_queue('jobs')});
	is($consumer->end, 1, 'a queue that is gone is fatal');
	like($consumer->log, qr/critical: .*jobs.*does not exist/, 'and is said');
}

done_testing();
