# The consumer program's jobs whose attempt does not end in completion or failure: programs that give up or put their job
# back, jobs that a consumer gives back when it stops, programs that take longer than a lease, and programs whose job was
# cancelled or lost. An extension before 0.3.0 has none of these functions, and the program works without them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes becomes_in);
use ConsumerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();
my $directory = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', shift); }

# The table extensions records each extension of a lease, and by how much its end has moved. Each extension ends the
# lease a whole length later, so the first one was made that long after the start
sub create_queue
{
	my ($database) = @_;
	$node->safe_psql($database, q{
		CREATE TABLE effects (id bigint);
		CREATE FUNCTION perform(job ecto_job.job) RETURNS void LANGUAGE sql AS $$
			INSERT INTO effects VALUES (job.id);
			SELECT pg_advisory_xact_lock_shared(1);
		$$;
		CREATE TABLE extensions (id bigint, number int GENERATED ALWAYS AS IDENTITY, moved interval);
		SELECT ecto_job.create_queue('jobs');
		SELECT ecto_job.configure_queue('jobs', poll_interval => '1 h', retry_timeout => '1 h', max_attempts => 5);
		CREATE FUNCTION record_extension() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.extensions (id, moved) VALUES (new.id, new.expires - old.expires);
			RETURN new;
		END $$;
		CREATE TRIGGER record_extension BEFORE UPDATE ON jobs FOR EACH ROW
			WHEN (new.lease IS NOT DISTINCT FROM old.lease AND new.expires > old.expires)
			EXECUTE FUNCTION record_extension()});
}
create_queue('postgres');

# A program with a lease of a minute, in a database of its own: when its lease was extended is read at the end of this
# test, which takes about that long anyhow
sql('CREATE DATABASE slow');
$node->safe_psql('slow', 'CREATE EXTENSION ecto_job');
create_queue('slow');
$node->safe_psql('slow', q{INSERT INTO jobs (params) VALUES ('{}')});
my $slow = ConsumerTest->start($node, '-d', $node->connstr('slow'), '--queue', 'jobs', '--timeout', '60 s',
	'--exec', "until [ -e '$directory/end' ]; do sleep 0.2; done");

# $program writes a file when it has begun, and waits until another file exists. It notes SIGTERM in a file, which ends
# it; with $STUBBORN it continues
my $program = "$directory/program";
append_to_file($program, <<'EOS');
#!/bin/sh
exec 2>/dev/null
[ "$STUBBORN" ] && trap '' TERM || trap 'echo "$ECTO_JOB_ID" >>"$0.terminated"; exit 0' TERM
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT" >>"$0.begun"
until [ -e "$0.go" ]; do sleep 0.05; done
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT" >>"$0.done"
EOS
chmod 0755, $program or die;
sub file { my ($suffix) = @_; return -e "$program.$suffix" ? slurp_file("$program.$suffix") : ''; }
sub go { append_to_file("$program.go", ''); }
# Returns the ids of new jobs
sub start_over
{
	my ($count, $database) = @_;
	unlink map { "$program.$_" } qw(begun go done terminated);
	return split /\n/, $node->safe_psql($database // 'postgres', qq{
		TRUNCATE jobs, effects, extensions;
		INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, $count) RETURNING id});
}
sub has_begun { my ($what) = @_; return ok(poll_until(sub { file('begun') ne '' }, 'the program'), "$what: the program runs"); }
sub ends_with_zero
{
	my ($consumer, $what) = @_;
	$consumer->signal('TERM');
	return is($consumer->end, 0, "$what: the consumer exits with 0 after SIGTERM");
}
my @queue = ('--queue', 'jobs');

# Exit status 65: the job is FAILED, though four attempts are left. Its error is the end of the program's standard error
{
	my ($id) = start_over(1);
	my ($status, $log) = run_consumer($node, @queue, '--drain', '--exec',
		q{seq 2000 >&2; printf 'no such caf\303\251: \377\n' >&2; exit 65});
	is($status, 0, 'exit status 65: the consumer drains the queue and exits with 0');
	is(sql('SELECT state, attempt, max_attempts FROM jobs'), 'FAILED|1|5', 'exit status 65: the job is FAILED by its first attempt');
	my $error = sql('SELECT error FROM jobs');
	like($error, qr/\Aexit status 65: \.\.\.\d+\n.*\n2000\nno such caf\303\251: \357\277\275\z/s,
		'exit status 65: the error is the status and the last lines of standard error, in valid UTF-8');
	cmp_ok(length($error), '<', 8192, 'exit status 65: the error is bounded');
	like($log, qr/^no such caf/m, 'exit status 65: standard error goes to the consumer\'s, too');
	like($log, qr/error: jobs job $id: failed for good, FAILED after attempt 1 of 5: "exit status 65/,
		'exit status 65: the log says that the job failed for good');
}

# Exit status 75: the job is due later, and the attempt is not counted
for my $case ([ '1 minute', 'by default' ], [ '1 hour', 'by --snooze', '--snooze', 3600 ])
{
	my ($delay, $what, @options) = @$case;
	my ($id) = start_over(1);
	sql(q{UPDATE jobs SET error = 'of before'});
	my ($status, $log) = run_consumer($node, @queue, '--drain', @options, '--exec', 'echo busy >&2; exit 75');
	is($status, 0, "exit status 75, $what: the consumer drains the queue and exits with 0");
	is(sql('SELECT state, attempt, lease IS NULL, error FROM jobs'), 'SCHEDULED|0|t|of before', "exit status 75, $what: the attempt is not counted");
	is(sql(qq{SELECT schedule BETWEEN now() + interval '$delay' * 0.5 AND now() + interval '$delay' FROM jobs}),
		't', "exit status 75, $what: the job is due after $delay");
	like($log, qr/info: jobs job $id: snoozed until \S+ \S+: "exit status 75: busy"/, "exit status 75, $what: the log says so");
}
is(sql('SELECT count(*) FROM extensions'), '0', 'no lease is extended for a program that ends soon');

# Other statuses fail the job as before
{
	start_over(1);
	is((run_consumer($node, @queue, '--drain', '--exec', 'echo no >&2; exit 66'))[0], 0, 'exit status 66: the consumer exits with 0');
	is(sql('SELECT state, attempt, error FROM jobs'), 'RETRY|1|exit status 66: no', 'exit status 66: the job will be retried');
}

# A consumer that stops gives back what it has claimed and not begun, while its first job runs
for my $work ([ '--exec', $program ], [ '--sql', 'SELECT perform($2)' ])
{
	my $what = "$work->[0], stop";
	my ($id, @others) = start_over(3);
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @queue, '--batch', 3, @$work);
	ok($consumer->wait_for_log(qr/job $id: started/), "$what: a job runs");
	is(sql(q{SELECT count(*) FROM jobs WHERE state = 'IN_PROGRESS' AND attempt = 1}), '3', "$what: all jobs of the batch are claimed");
	$consumer->signal('TERM');
	ok($consumer->wait_for_log(qr/stopping: jobs to finish: 1, to give back: 2;/), "$what: the log says how many jobs are given back");
	becomes($node, q{SELECT string_agg(concat_ws(' ', state, attempt, lease, expires), ',' ORDER BY id) FROM jobs WHERE state <> 'IN_PROGRESS'},
		'AVAILABLE 0,AVAILABLE 0', "$what: the other jobs are AVAILABLE at once, and their attempts are not counted");
	is((run_consumer($node, @queue, '--drain', '--exec', 'true'))[0], 0, "$what: another consumer drains the queue");
	is(sql('SELECT string_agg(id::text, \' \') FROM jobs'), $id, "$what: another consumer performs the jobs that were given back");
	$lock->quit;
	go();
	is($consumer->end, 0, "$what: the consumer exits with 0 after its first job");
	like($consumer->log, qr/job $id: completed after .*stopped$/s, "$what: the consumer has completed its first job");
	like($consumer->log, qr/info: jobs job $_: given back: "not begun"/, "$what: the log says that job $_ is given back") for @others;
	is(sql('SELECT count(*) FROM jobs'), '0', "$what: all jobs are done");
}

# A program that takes longer than its lease: the scheduler takes nothing back
{
	my ($id) = start_over(1);
	my $consumer = ConsumerTest->start($node, @queue, '--timeout', '3 s', '--exec', $program);
	has_begun('a long program');
	becomes($node, 'SELECT count(*) > 4 FROM extensions', 't', 'a long program: its lease is extended each second');
	is(sql('SELECT state, attempt, expires > now() FROM jobs'), 'IN_PROGRESS|1|t', 'a long program: its job is held');
	go();
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a long program: its job is completed');
	is(file('done'), "$id 1\n", 'a long program: it has run once');
	is(sql('SELECT count(*) FROM jobs'), '0', 'a long program: the job is deleted');
	ends_with_zero($consumer, 'a long program');
	unlike($consumer->log, qr/SIGTERM/, 'a long program: it was sent no signal');
}

# A job that is cancelled while its program runs
{
	my ($id) = start_over(1);
	my $consumer = ConsumerTest->start($node, @queue, '--timeout', '3 s', '--exec', $program);
	has_begun('a cancelled job');
	is(sql("SELECT state FROM ecto_job.cancel_job('jobs', $id, 'a test')"), 'IN_PROGRESS', 'a cancelled job: it is deleted while its program runs');
	ok(poll_until(sub { file('terminated') eq "$id\n" }, 'SIGTERM'), 'a cancelled job: its program gets SIGTERM');
	my $next = sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	go();
	ok($consumer->wait_for_log(qr/job $next: completed/), 'a cancelled job: the consumer performs the next one');
	ends_with_zero($consumer, 'a cancelled job');
	is(file('done'), "$next 1\n", 'a cancelled job: its program has not come to its end');
	like($consumer->log, qr/warning: jobs job $id: lost or cancelled: SIGTERM/, 'a cancelled job: the log says so');
	unlike($consumer->log, qr/job $id: (?:completed|failed|lost:)/, 'a cancelled job: nothing is reported');
}

# A job that is lost while its program runs: the consumer's connection ends, and its jobs are given back. The program
# ignores SIGTERM
{
	my ($id) = start_over(1);
	my $consumer = do
	{
		local $ENV{STUBBORN} = 1;
		# exec: the shell that runs the program must not stay to get SIGTERM
		ConsumerTest->start($node, @queue, '--timeout', '6 s', '--exec', "exec $program");
	};
	has_begun('a lost job');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ecto_job_consumer' AND datname = current_database()});
	becomes($node, 'SELECT state, attempt FROM jobs', 'RETRY|1', 'a lost job: it is given back');
	ok($consumer->wait_for_log(qr/warning: jobs job $id: lost or cancelled: SIGTERM.*warning: jobs job $id: lost or cancelled: SIGKILL/s),
		'a lost job: its program gets SIGTERM, then SIGKILL');
	ends_with_zero($consumer, 'a lost job');
	unlike($consumer->log, qr/job $id: (?:completed|failed|lost:)/, 'a lost job: nothing is reported');
	is(file('done'), '', 'a lost job: its program has not come to its end');
	is(sql('SELECT id, state, error FROM jobs'), "$id|RETRY|the consumer's connection ended", 'a lost job: the consumer has not changed it');
}

# A lease that cannot be extended does not affect the leases of other programs
{
	my ($id, $other) = start_over(2);
	sql("ALTER TABLE extensions ADD CHECK (id <> $id)");
	my $consumer = ConsumerTest->start($node, @queue, '-j', 2, '--timeout', '3 s', '--exec', $program);
	ok($consumer->wait_for_log(qr/warning: jobs job $id: its lease could not be extended: .*violates check/), 'a refused extension is logged');
	ok($consumer->wait_for_log(qr/warning: jobs job $id: its lease is over: SIGTERM/), 'a refused extension: the program gets SIGTERM when its lease ends');
	becomes($node, "SELECT count(*) > 4 FROM extensions WHERE id = $other", 't', 'a refused extension: the other lease is extended');
	go();
	ok($consumer->wait_for_log(qr/job $other: completed/), 'a refused extension: the other job is completed');
	ends_with_zero($consumer, 'a refused extension');
	unlike($consumer->log, qr/job $other: its lease/, 'a refused extension: the other job is not concerned');
}

# An extension before 0.3.0
{
	sql('CREATE DATABASE old');
	$node->safe_psql('old', q{CREATE EXTENSION ecto_job VERSION '0.2.1'});
	create_queue('old');
	my @old = ('-d', $node->connstr('old'), @queue);
	my $offset = -s $node->logfile;
	for my $status (65, 75)
	{
		start_over(1, 'old');
		is((run_consumer($node, @old, '--drain', '--exec', "echo old >&2; exit $status"))[0], 0, "0.2.1, exit status $status: the consumer exits with 0");
		is($node->safe_psql('old', 'SELECT state, attempt, error FROM jobs'), "RETRY|1|exit status $status: old",
			"0.2.1, exit status $status: the job will be retried");
	}
	my ($id, $second) = start_over(2, 'old');
	my $consumer = ConsumerTest->start($node, @old, '--batch', 2, '--exec', $program);
	has_begun('0.2.1, stop');
	$consumer->signal('TERM');
	ok($consumer->wait_for_log(qr/stopping: jobs to finish: 2, to give back: 0;/), '0.2.1, stop: no job is given back');
	go();
	is($consumer->end, 0, '0.2.1, stop: the consumer exits with 0');
	is(file('done'), "$id 1\n$second 1\n", '0.2.1, stop: the jobs that wait are performed');
	is($node->safe_psql('old', 'SELECT count(*) FROM jobs'), '0', '0.2.1, stop: all jobs are completed');

	($id) = start_over(1, 'old');
	$consumer = ConsumerTest->start($node, @old, '--timeout', '3 s', '--exec', $program);
	ok($consumer->wait_for_log(qr/job $id: its lease is over: SIGTERM/), '0.2.1: a program gets SIGTERM when its lease ends');
	ends_with_zero($consumer, '0.2.1');
	is($node->safe_psql('old', 'SELECT count(*) FROM extensions'), '0', '0.2.1: no lease is extended');
	unlike(slurp_file($node->logfile, $offset), qr/ERROR/, '0.2.1: no statement fails');
}

# A lease is extended at a third of its length: not long before, and well before its half
{
	becomes_in($node, 'slow', 'SELECT count(*) > 0 FROM extensions', 't', 'a lease of a minute: it is extended');
	is($node->safe_psql('slow', q{SELECT moved BETWEEN '15 s' AND '27 s' FROM extensions ORDER BY number LIMIT 1}), 't',
		'a lease of a minute: it is first extended after 20 seconds')
	  or diag($node->safe_psql('slow', 'SELECT * FROM extensions ORDER BY number'));
	append_to_file("$directory/end", '');
	ends_with_zero($slow, 'a lease of a minute');
	is($node->safe_psql('slow', 'SELECT count(*) FROM jobs'), '0', 'a lease of a minute: the job is completed');
}

$node->stop;
done_testing();
