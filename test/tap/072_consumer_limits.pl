# The consumer program at its limits: standard descriptors are closed, descriptors for programs run out, a job's meta is
# too long for the environment, programs write without end, starts of programs fail for a while, and statements would
# end the job's transaction.
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
	CREATE TABLE effects (id bigint);
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms', retry_timeout => '1 h')});
my @queue = ('--queue', 'jobs');

# Closed standard descriptors: no file or socket of the consumer gets their numbers
for my $closed ('<&-', '>&-', '2>&-', '<&- >&-', '<&- 2>&-', '>&- 2>&-', '<&- >&- 2>&-')
{
	for my $work ([ '--sql', 'INSERT INTO effects VALUES (($2).id)' ], [ '--exec', 'cat; echo out; echo err >&2' ])
	{
		sql(q{TRUNCATE jobs, effects; INSERT INTO jobs (params) VALUES ('{}'), ('{}')});
		my $offset = -s $node->logfile;
		local @ConsumerTest::through = ('sh', '-c', 'exec "$@" ' . $closed, 'sh');
		my ($status, $log) = run_consumer($node, @queue, '--drain', @$work);
		is($status, 0, "$closed: $work->[0] is drained");
		is(sql('SELECT count(*) FROM jobs'), '0', "$closed: the jobs of $work->[0] are done");
		unlike(slurp_file($node->logfile, $offset), qr/FATAL|protocol/, "$closed: nothing but the protocol goes to the server");
	}
}

# Descriptors suffice for a few programs only: the other jobs wait, and lose no attempt
{
	sql(q{TRUNCATE jobs; INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 30)});
	local @ConsumerTest::through = ('sh', '-c', 'ulimit -n 24; exec "$@"', 'sh');
	my $consumer = ConsumerTest->start($node, @queue, '--drain', '-j', 20,
		'--exec', "until [ -e $directory/go ]; do sleep 0.05; done; echo \$ECTO_JOB_ATTEMPT >>$directory/attempts");
	ok($consumer->wait_for_log(qr/warning: jobs job \d+: waits, with \d+ programs at work: pipe: Too many open files/),
		'a job for which no descriptor is left waits');
	append_to_file("$directory/go", '');
	is($consumer->end, 0, 'the consumer drains the queue and exits with 0');
	is(slurp_file("$directory/attempts"), "1\n" x 30, 'each job is done by its first attempt');
	is(sql('SELECT count(*) FROM jobs'), '0', 'no job has failed for want of a descriptor');
	is(scalar(() = $consumer->log =~ /waits, with/g) < 10, 1, 'no more jobs are started than programs can be run');
}

# A meta that is too long for an environment variable
{
	sql(q{TRUNCATE jobs});
	my $id = sql(q{INSERT INTO jobs (params, meta) VALUES ('{}', jsonb_build_object('long', repeat('x', 200000))) RETURNING id});
	my ($status) = run_consumer($node, @queue, '--drain', '--exec',
		"echo \"\$ECTO_JOB_ID \${ECTO_JOB_META-none} \$ECTO_JOB_META_OMITTED\" >$directory/meta");
	is($status, 0, 'the consumer drains the queue and exits with 0');
	is(sql('SELECT count(*) FROM jobs'), '0', 'a job with a meta of 200 kB is done');
	is(-e "$directory/meta" ? slurp_file("$directory/meta") : '', "$id none 200012\n", 'a program learns that the meta was left out');
}

# A program that writes without end does not keep the consumer from its time limit
{
	sql(q{TRUNCATE jobs; INSERT INTO jobs (params) VALUES ('{}')});
	sql('SELECT ecto_job.disable()');
	my $consumer = do
	{
		local @ConsumerTest::through = ('sh', '-c', 'exec "$@" 2>/dev/null', 'sh');
		ConsumerTest->start($node, @queue, '--drain', '--timeout', '1 s', '--no-extend', '--exec', 'cat /dev/zero >&2');
	};
	is($consumer->end, 0, 'the consumer exits with 0 although a program wrote without end');
	is(sql(q{SELECT state, split_part(error, ':', 1) FROM jobs}), 'RETRY|killed by signal 15', 'a program that writes without end is ended with its lease');

	# A program that ignores SIGTERM does not keep the consumer from its time limit either
	sql(q{TRUNCATE jobs; INSERT INTO jobs (params) VALUES ('{}')});
	my ($status, $log) = run_consumer($node, @queue, '--drain', '--timeout', '2 s', '--no-extend',
		'--exec', q{trap '' TERM; exec 2>&-; while :; do sleep 0.1; done});
	is($status, 0, 'the consumer exits with 0 although a program ignores SIGTERM');
	is(sql('SELECT state, error FROM jobs'), 'RETRY|killed by signal 9: its lease was over', 'a program that ignores SIGTERM is killed');
	sql('SELECT ecto_job.enable()');
}

# Starts of programs fail: the consumer continues, and its pauses become longer
{
	sql(q{
		TRUNCATE jobs;
		INSERT INTO jobs (params) VALUES ('{}');
		CREATE TABLE refusals (code text);
		INSERT INTO refusals VALUES ('22003'), ('23514'), ('P0001');
		ALTER FUNCTION ecto_job.start_available_jobs RENAME TO really_start;
		CREATE FUNCTION ecto_job.start_available_jobs(queue regclass, demand integer, timeout interval)
		RETURNS SETOF ecto_job.job LANGUAGE plpgsql AS $$
		DECLARE code text := (SELECT min(r.code) FROM refusals r WHERE demand > 0);
		BEGIN
			IF code IS NOT NULL THEN
				RAISE 'a bad row: %', code USING ERRCODE = code;
			END IF;
			RETURN QUERY SELECT * FROM ecto_job.really_start(queue, demand, timeout);
		END $$});
	my $consumer = ConsumerTest->start($node, @queue, '--exec', 'true');
	for my $code ('22003', '23514', 'P0001')
	{
		ok($consumer->wait_for_log(qr/warning: jobs: next try in \d+\.\d s: .*a bad row: $code/), "a start that fails with $code does not end the consumer");
		sql("DELETE FROM refusals WHERE code = '$code'");
	}
	becomes($node, 'SELECT count(*) FROM jobs', '0', 'the job is done when it can be started');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
	my @pauses = $consumer->log =~ /next try in (\d+\.\d) s/g;
	cmp_ok($pauses[-1], '>', 2, 'the last pause after a failed start is longer than the first can be');
	sql(q{
		DROP FUNCTION ecto_job.start_available_jobs;
		ALTER FUNCTION ecto_job.really_start RENAME TO start_available_jobs});
}

# Statements that would end the job's transaction, or exchange data with the client
sql(q{TRUNCATE jobs; INSERT INTO jobs (params) VALUES ('{}')});
for my $statement ('COMMIT', ' /* a /* b */ c */ commit', '; -- x' . "\n" . 'End', 'ROLLBACK', 'PREPARE TRANSACTION \'x\'',
	'COPY jobs TO STDOUT', 'copy jobs from stdin', '-- nothing')
{
	my ($status, $log) = run_consumer($node, @queue, '--drain', '--sql', $statement);
	is($status, 2, "--sql refuses: $statement");
	like($log, qr/--sql: .*(?:is not possible|must not be empty)/, "the log says why --sql refuses: $statement");
}
is(sql('SELECT state, attempt FROM jobs'), 'AVAILABLE|0', 'a refused statement touches no job');
sql(q{CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$});
is((run_consumer($node, @queue, '--drain', '--sql', 'CALL ends()'))[0], 0, 'the consumer drains the queue and exits with 0');
like(sql('SELECT state, error FROM jobs'), qr/\ARETRY\|ERROR:  invalid transaction termination/, 'a procedure that commits fails its job');

$node->stop;
done_testing();
