# Failures of the consumer program: consumers, programs, statements and servers end early, and no job is lost or done
# twice. The cases are kill -9, an expired lease, a stale consumer, stops, a server's restart and a refused completion.
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

# $program writes a file when it has begun. In a job's first attempt it waits until another file exists; in later
# attempts it does not.
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

# The consumer sets ecto_job.session_leases, unless PGOPTIONS has set it
sub without_session_leases
{
	my ($body) = @_;
	local $ENV{PGOPTIONS} = '-c ecto_job.session_leases=off';
	return $body->();
}

# kill -9: with session leases the job is available again at once, otherwise when its lease is over. Another consumer
# performs the job
for my $bound (1, 0)
{
	my $id = start_over();
	my $killed =
	  $bound
	  ? ConsumerTest->start($node, @by_program)
	  : without_session_leases(sub { ConsumerTest->start($node, @by_program, '--timeout', '5 s') });
	has_begun();
	$killed->signal('KILL');
	is($killed->end, 'signal 9', 'kill -9 ends the consumer');
	is(sql('SELECT state, attempt FROM jobs'), 'IN_PROGRESS|1', 'the job of a killed consumer is in progress while its lease runs') unless $bound;
	my $other = ConsumerTest->start($node, @by_program);
	becomes($node, 'SELECT count(*) FROM jobs', '0', 'another consumer does the job');
	is(done_by_program(), "$id 2\n", 'the other consumer has done the job by its second attempt');
	go();
	ok(poll_until(sub { done_by_program() eq "$id 2\n$id 1\n" }, 'the orphan'),
		'the program outlives the killed consumer');
	$other->signal('TERM');
	is($other->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# kill -9 within the job's transaction: the server has received all statements, COMMIT included, and finishes the
# transaction
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $killed = ConsumerTest->start($node, @by_sql, '--timeout', '500 ms');
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1',
		'the statement runs');
	$killed->signal('KILL');
	is($killed->end, 'signal 9', 'kill -9 ends the consumer');
	my $other = ConsumerTest->start($node, @by_sql);
	ok($other->wait_for_log(qr/connection 1: connected/), 'another consumer is connected');
	$lock->quit;
	becomes($node, 'SELECT count(*) FROM jobs', '0', 'the server finishes the transaction of the killed consumer');
	is(sql('SELECT id, attempt FROM effects'), "$id|1", 'the first attempt has its effects once');
	$other->signal('TERM');
	is($other->end, 0, 'the consumer exits with 0 after SIGTERM');
	unlike($other->log, qr/job $id/, 'the other consumer never has the job: an open transaction keeps it');
}
# The backend of the job's transaction is terminated: the transaction is rolled back
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1',
		'the statement runs');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'});
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the job of an ended server process is completed');
	is(sql('SELECT id, attempt FROM effects'), "$id|2", 'only the second attempt has effects');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# A stale consumer: a consumer is stopped (SIGSTOP) until its lease has expired and another consumer has started the job;
# it then continues and tries to complete the job
{
	my $id = start_over();
	my $stale = ConsumerTest->start($node, @by_program, '--timeout', '3 s');
	has_begun();
	$stale->signal('STOP');
	go(); # its program ends, and the stopped consumer does not notice
	ok(poll_until(sub { done_by_program() eq "$id 1\n" }, 'the end'), 'the program of a stopped consumer ends');
	becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'the lease of a stopped consumer ends');
	unlink "$program.go";
	sql(q{UPDATE jobs SET max_attempts = 9});
	my $other = ConsumerTest->start($node, '--queue', 'jobs', '--exec', "until [ -e $program.go ]; do sleep 0.05; done");
	ok($other->wait_for_log(qr/job $id: started, attempt 2/), 'another consumer starts the job');
	$stale->signal('CONT');
	ok($stale->wait_for_log(qr/error: jobs job $id: lost: ".*no longer yours/), 'the consumer with the expired lease logs that its job is lost');
	is(sql('SELECT state, attempt, error FROM jobs'), 'IN_PROGRESS|2|the lease of attempt 1 expired', 'the consumer with the expired lease has changed nothing');
	go();
	ok($other->wait_for_log(qr/job $id: completed/), 'the other consumer completes the job');
	for my $consumer ($stale, $other)
	{
		$consumer->signal('TERM');
		is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	}
}

# --batch: jobs wait under their leases while others run. One is taken away meanwhile, as a sweep would: the consumer
# notices before the job's statement has any effect
{
	my $id = start_over();
	my ($second, $third) = split /\n/, sql(q{INSERT INTO jobs (params) VALUES ('{}'), ('{}') RETURNING id});
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--batch', 3);
	ok($consumer->wait_for_log(qr/job $id: started/), 'the first job of a batch runs');
	is(sql(q{SELECT count(*) FROM jobs WHERE state = 'IN_PROGRESS'}), '3', 'all jobs of the batch are started');
	unlike($consumer->log, qr/job $second: started/, 'the second job of the batch is not performed meanwhile');
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $second");
	$lock->quit;
	ok($consumer->wait_for_log(qr/error: jobs job $second: lost: ".*no longer yours/), 'the job that was taken away is lost');
	ok($consumer->wait_for_log(qr/job $third: completed/), 'the last job of the batch is completed');
	is(sql('SELECT string_agg(id::text, \' \' ORDER BY id) FROM effects'), "$id $third", 'only the other jobs of the batch have effects');
	is(sql('SELECT id, state, error FROM jobs'), "$second|IN_PROGRESS|", 'the job that was taken away is left as it is');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}
# The leases of a batch end while its jobs wait. The lease of the running job ends too, but its transaction holds the
# job
{
	my $id = start_over();
	my $second = sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--batch', 2, '--timeout', '2 s');
	ok($consumer->wait_for_log(qr/job $second: lost: "its lease was over before its turn came"/),
		'a job that waited too long is not begun');
	becomes($node, "SELECT state FROM jobs WHERE id = $second", 'AVAILABLE', 'a job that waited too long is available again');
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $second: completed/), 'a job that waited too long is completed later');
	is(sql('SELECT id, attempt FROM effects ORDER BY id'), "$id|1\n$second|2", 'each job of the batch has its effects once');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# A program that runs until the end of its lease, which is not extended
{
	my $id = start_over();
	sql('SELECT ecto_job.disable()'); # a sweep would race with the program's end
	my ($status, $log) = run_consumer($node, '--queue', 'jobs', '--timeout', '2 s', '--no-extend', '--drain', '--exec',
		'echo going >&2; sleep 60 & wait');
	is($status, 0, 'the consumer drains the queue and exits with 0');
	like($log, qr/warning: jobs job $id: its lease is over: SIGTERM/, 'a program gets SIGTERM when its lease ends');
	is(sql('SELECT state, error FROM jobs'), "RETRY|killed by signal 15: its lease was over: going",
		'the job of a program that was ended fails');
	sql('SELECT ecto_job.enable()');
}

# SIGTERM: the job that runs is finished and no other started, for programs and for statements
for my $kind (\@by_program, \@by_sql)
{
	my $id = start_over();
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @$kind);
	ok($consumer->wait_for_log(qr/job $id: started/), 'a job runs');
	$consumer->signal('TERM');
	ok($consumer->wait_for_log(qr/stopping: jobs to finish: 1/), 'the consumer logs that it stops, and how many jobs it finishes');
	sql(q{INSERT INTO jobs (params) VALUES ('{}')});
	$lock->quit;
	go();
	is($consumer->end, 0, 'the consumer exits with 0 after the job that runs');
	like($consumer->log, qr/job $id: completed after .*stopped$/s, 'the consumer has completed the job that ran');
	is(sql('SELECT state, attempt FROM jobs'), 'AVAILABLE|0', 'the consumer has started no new job');
}

# A second signal: the consumer ends at once and gives its job back
{
	my $id = start_over();
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec',
		# The consumer has closed its end of standard error by then, to which the shell would report that sleep was killed
		"exec 2>/dev/null; trap 'echo terminated >$program.done; exit 1' TERM; echo >$program.begun; "
		  . "until [ -e $program.go ]; do sleep 0.05; done");
	has_begun();
	$consumer->signal('INT');
	ok($consumer->wait_for_log(qr/stopping/), 'the consumer logs that it stops');
	$consumer->signal('INT');
	is($consumer->end, 1, 'a second signal ends the consumer at once, with 1');
	ok(poll_until(sub { done_by_program() eq "terminated\n" }, 'the program'), 'a second signal has the program get SIGTERM');
	becomes($node, q{SELECT attempt FROM jobs WHERE state IN ('RETRY', 'AVAILABLE')}, '1', 'a second signal has the job given back');
}

# The server restarts while jobs run. A program's job is completed over the new connection if its lease has outlived
# the old one, else the job is performed again. A statement's transaction is lost, so its job is performed again. The
# consumer then goes on
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
	ok($consumer->wait_for_log(qr/main connection: "connection lost.*next try in/), 'the consumer logs that its connection is lost');
	$node->start;
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the program\'s job is completed over a new connection');
	is(done_by_program(), $bound ? "$id 1\n$id 2\n" : "$id 1\n", 'the program ran ' . ($bound ? 'twice' : 'once'));
	is($consumer->log =~ /job $id: lost: .*no longer yours/ ? 1 : 0, $bound, $bound ? 'the log says that the first attempt was lost' : 'the log has no lost attempt');
	$id = sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the consumer performs another job after the restart');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
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
		'the log says that a statement\'s job failed or was lost');
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a statement\'s job is completed after the restart');
	is(sql('SELECT id, attempt FROM effects'), "$id|2", 'the second attempt has its effects once');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# SIGTERM while there is no server: the consumer waits for the server until the lease is over
{
	my $id = start_over();
	my $consumer = ConsumerTest->start($node, @by_program, '--timeout', '3 s');
	has_begun();
	$node->stop('immediate');
	go();
	ok(poll_until(sub { done_by_program() ne '' }, 'the program'), 'a program ends while there is no server');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'a consumer without a server exits with 0 after SIGTERM');
	like($consumer->log, qr/job $id: lost: .*left to its lease/, 'the log says which job is left to its lease');
	$node->start;
	becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|1', 'the job that was left to its lease is available again');
}

# A completion that a trigger refuses
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

# No privilege to complete: the consumer tries one job, not all of them
{
	start_over();
	sql(q{
		INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 5);
		CREATE ROLE half LOGIN;
		GRANT SELECT, UPDATE ON jobs TO half});
	my ($status, $log) = run_consumer($node, '--queue', 'jobs', '--exec', 'true', '-U', 'half');
	is($status, 1, 'no privilege to complete is fatal');
	like($log, qr/critical: .*permission denied for table jobs/, 'the log says that the privilege is missing');
	is(sql('SELECT count(*) FROM jobs WHERE attempt = 0'), '5', 'the other jobs are not touched');
}

# Notifications are hints: without one, the consumer finds a job within poll_interval
{
	start_over();
	sql('DELETE FROM jobs');
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', 'true');
	becomes($node, q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'ecto_job_consumer' AND query LIKE 'CALL ecto_job.wait%' AND wait_event_type = 'Extension'},
		'1', 'the consumer is idle');
	my $id = sql(q{SET session_replication_role = replica; INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a job that nobody has announced is completed');

	# The queue is dropped while the consumer runs
	sql(q{SELECT ecto_job.drop_queue('jobs')});
	is($consumer->end, 1, 'a queue that was dropped is fatal');
	like($consumer->log, qr/critical: .*jobs.*does not exist/, 'the log says that the queue does not exist');
}

done_testing();
