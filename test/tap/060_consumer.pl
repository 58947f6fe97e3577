# The consumer program performs every kind of job exactly once, by programs and by SQL. Also tested: the texts of errors,
# the input and environment of programs, --drain, and wrong options.
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

# script('name', text): writes a program for --exec
sub script
{
	my ($name, $text) = @_;
	my $path = "$directory/$name";
	append_to_file($path, "#!/bin/sh\n$text");
	chmod 0755, $path or die "$path: $!";
	return $path;
}

sql(q{
	CREATE TABLE effects (queue text, id bigint, attempt integer, n integer, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE required (n integer PRIMARY KEY);
	CREATE TABLE deferred (n integer REFERENCES required DEFERRABLE INITIALLY DEFERRED);

	CREATE FUNCTION perform(job ecto_job.job) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effects VALUES ('by_sql', job.id, job.attempt, (job.params ->> 'n')::integer);
		IF job.attempt <= (job.params ->> 'fails')::integer THEN
			RAISE 'the % attempt fails', job.attempt USING DETAIL = 'on purpose', ERRCODE = 'EJ001';
		END IF;
	END $$;

	SELECT ecto_job.create_queue(name) FROM unnest('{by_exec,by_sql}'::text[]) name;
	SELECT ecto_job.configure_queue(name::regclass, poll_interval => '100 ms', retry_timeout => '50 ms')
	FROM unnest('{by_exec,by_sql}'::text[]) name;
});

# Jobs that succeed at once, later, in the order of priority, after two failures, or never. The scheduler activates
# those that wait for a time.
my $enqueue = q{
	INSERT INTO %1$s (params) SELECT jsonb_build_object('n', n, 'fails', 0) FROM generate_series(1, 20) n;
	SELECT ecto_job.enqueue('%1$s', '{"n": 21, "fails": 0}', schedule => now() + interval '300 ms');
	SELECT ecto_job.enqueue('%1$s', '{"n": 22, "fails": 0}', priority => -1);
	SELECT ecto_job.enqueue('%1$s', '{"n": 23, "fails": 2}', max_attempts => 3);
	SELECT ecto_job.enqueue('%1$s', '{"n": 24, "fails": 9}', max_attempts => 2);
};
my $by_exec = script('perform', <<'EOS');
n=$(sed 's/.*"n": \([0-9]*\).*/\1/') && fails=0
case $n in 23) fails=2 ;; 24) fails=9 ;; esac
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT $n" >>"$0.effects"
[ "$ECTO_JOB_ATTEMPT" -gt $fails ] && exit
echo "the $ECTO_JOB_ATTEMPT attempt fails" >&2
exit 3
EOS
my %consumers = (
	by_exec => ConsumerTest->start($node, '--queue', 'by_exec', '--exec', $by_exec, '-j', 3),
	by_sql => ConsumerTest->start(
		$node, '--queue', 'by_sql', '--sql', 'SELECT perform($2)', '-j', 3));
for my $queue (sort keys %consumers)
{
	sql(sprintf $enqueue, $queue);
	ok( poll_until(
			sub { sql("SELECT string_agg(state, ' ') FROM $queue") eq 'FAILED' }, "the end of $queue"),
		"$queue: all jobs are done but the one that always fails") or diag($consumers{$queue}->log);
	is(sql("SELECT params ->> 'n', attempt, max_attempts FROM $queue"), '24|2|2',
		"$queue: the job that always fails has used its attempts");
}
like(sql('SELECT error FROM by_exec'), qr/\Aexit status 3: the 2 attempt fails\z/,
	'a job\'s error is its program\'s exit status and standard error');
like(sql('SELECT error FROM by_sql'), qr/\AERROR:  the 2 attempt fails\nDETAIL:  on purpose\nCONTEXT:/,
	'a job\'s error is that of its statement');

my @effects = map { (split)[2] } split /\n/, slurp_file("$by_exec.effects");
is(join(' ', sort { $a <=> $b } @effects), join(' ', 1 .. 23, 23, 23, 24, 24),
	'programs ran once for each attempt');
is( sql(q{SELECT string_agg(n::text, ' ' ORDER BY n) FROM effects WHERE queue = 'by_sql'}),
	join(' ', 1 .. 23),
	'statements had their effects once, and none where they failed');

my $log = $consumers{by_exec}->log;
like($log, qr/info: by_exec job 22: started, attempt 1 of 5/, 'the log has the start of a job');
like($log, qr/info: by_exec job 22: completed after \d+ ms/, 'the log has the completion of a job');
like($log, qr/warning: by_exec job 24: failed, RETRY at \d{4}-.*: "exit status 3: the 1 attempt fails"/,
	'the log has the failure of a job, and what comes next');
like($log, qr/error: by_exec job 24: failed for good, FAILED after attempt 2 of 2: /,
	'the log has the last failure of a job');

# An idle consumer is woken for a new job, however long its poll_interval is
sql("SELECT ecto_job.configure_queue('by_sql', poll_interval => '1 h')");
becomes($node, q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'ecto_job_consumer' AND backend_xid IS NULL AND backend_xmin IS NULL
			AND (xact_start IS NULL OR query LIKE 'CALL ecto_job.wait%')}, 5,
	'an idle consumer holds no snapshot');
for my $n (101 .. 103)
{
	sql(qq{INSERT INTO by_sql (params) VALUES ('{"n": $n, "fails": 0}')});
	ok(poll_until(sub { sql("SELECT count(*) FROM effects WHERE n = $n") eq '1' }, "job $n"),
		"an idle consumer performs job $n at once");
}
for my $queue (sort keys %consumers)
{
	$consumers{$queue}->signal('TERM');
	is($consumers{$queue}->end, 0, "$queue: the consumer exits with 0 after SIGTERM");
}

# Two consumers on one queue: no job is done twice, and none is left
sql(q{
	TRUNCATE effects;
	INSERT INTO by_sql (params) SELECT jsonb_build_object('n', n, 'fails', 0) FROM generate_series(1, 500) n});
my @both = map {
	ConsumerTest->start($node, '--queue', 'by_sql', '--sql', 'SELECT perform($2)', '-j', 2,
		'--batch', $_, '--drain')
} (3, 1);
is($_->end, 0, 'each of two consumers drains the queue and exits with 0') for @both;
is(sql('SELECT count(*), count(DISTINCT n), (SELECT count(*) FROM by_sql WHERE state <> \'FAILED\') FROM effects'),
	'500|500|0', 'two consumers perform each job once');

# The order of jobs that are performed one at a time
sql(q{
	DELETE FROM by_exec;
	INSERT INTO by_exec (params, priority, schedule)
	VALUES ('{"n": 3}', 1, '2020-01-01'), ('{"n": 2}', 0, '2021-01-01'), ('{"n": 1}', 0, '2020-01-01')});
my ($status) = run_consumer($node, '--queue', 'by_exec', '--exec', "cat >>$directory/order", '--drain');
is($status, 0, 'the consumer drains the queue and exits with 0');
is(slurp_file("$directory/order"), '{"n": 1}{"n": 2}{"n": 3}', 'one program at a time performs jobs in the queue\'s order');

# The input and environment of a program
my $report = script('report', <<'EOS');
env | sed -n 's/^ECTO_JOB_//p' | sort >"$0.environment"
psql -qAtX -d "$CONNECTION" -c "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'ecto_job_consumer' AND xact_start IS NOT NULL" >"$0.transactions"
EOS
{
	local $ENV{CONNECTION} = $node->connstr('postgres');
	local $ENV{ECTO_JOB_META} = 'of somebody else';
	my $id = sql(q{SELECT ecto_job.enqueue('by_exec', '{}', max_attempts => 7)});
	is((run_consumer($node, '--queue', 'public.by_exec', '--exec', $report, '--drain'))[0], 0, 'the consumer drains the queue and exits with 0');
	is(slurp_file("$report.environment"), "ATTEMPT=1\nID=$id\nMAX_ATTEMPTS=7\nQUEUE=public.by_exec\n",
		'a program has its job in the environment');
	is(slurp_file("$report.transactions"), "0\n", 'no transaction is open while a program runs');
	sql(q{INSERT INTO by_exec (params, meta) VALUES ('{}', '{"trace": "ü"}')});
	is((run_consumer($node, '--queue', 'by_exec', '--exec', $report, '--drain'))[0], 0, 'the consumer drains the queue and exits with 0');
	like(slurp_file("$report.environment"), qr/^META=\{"trace": "ü"\}$/m, 'a program has its job\'s meta in the environment');

	# The trace of the session that has enqueued the job, and not the consumer's own
	local $ENV{TRACEPARENT} = '00-11111111111111111111111111111111-1111111111111111-00';
	my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
	sql(qq{SET ecto_job.traceparent = '$trace'; SELECT ecto_job.enqueue('by_exec', '{}')});
	sql(q{SELECT ecto_job.enqueue('by_exec', '{}', meta => '{"traceparent": "00-bad"}')});
	run_consumer($node, '--queue', 'by_exec', '--exec', "echo \"\${TRACEPARENT-none}\" >>$directory/traces", '--drain');
	is(slurp_file("$directory/traces"), "$trace\nnone\n", 'a program has its job\'s trace in the environment');
}

# Binary params to a program and to a statement, and a program's error in any bytes
sql(q{
	SELECT ecto_job.create_queue('bytes', params_type => 'binary');
	CREATE TABLE received (bytes bytea);
	INSERT INTO bytes (params) SELECT decode('00ff00', 'hex') || convert_to(repeat('x', 100000), 'UTF8') || '\x00'});
($status) = run_consumer($node, '--queue', 'bytes', '--exec', "cat >$directory/bytes", '--drain');
is($status, 0, 'the consumer drains the queue and exits with 0');
is(slurp_file("$directory/bytes"), "\0\xff\0" . 'x' x 100_000 . "\0", 'a program gets a binary queue\'s bytes');
sql(q{INSERT INTO bytes (params) VALUES ('\x0001ff'), ('')});
($status) = run_consumer($node, '--queue', 'bytes', '--sql', 'INSERT INTO received VALUES ($1)', '--drain');
is($status, 0, 'the consumer drains the queue and exits with 0');
is(sql('SELECT bytes FROM received ORDER BY 1'), "\\x\n\\x0001ff", 'a statement gets a binary queue\'s bytes');
sql(q{INSERT INTO bytes (params) VALUES ('\x00')});
my $said = q{printf '\000\377\303 ende' >&2; exit 1};
($status) = run_consumer($node, '--queue', 'bytes', '--exec', $said, '--drain');
is(sql('SELECT error FROM bytes'), "exit status 1: \x{fffd}\x{fffd} ende" =~ s/\x{fffd}/\xef\xbf\xbd/gr,
	'a program may write any bytes as its error');

# A job's statement and its completion are one transaction: an error at COMMIT rolls back both
sql(q{DELETE FROM by_sql; INSERT INTO by_sql (params) VALUES ('{"n": 1}')});
($status, $log) = run_consumer($node, '--queue', 'by_sql', '--drain', '--sql',
	q{INSERT INTO deferred VALUES (($1 ->> 'n')::integer)});
is($status, 0, 'the consumer exits with 0 although a job failed');
like(sql('SELECT state, error FROM by_sql'), qr/^(RETRY|AVAILABLE)\|ERROR:  insert or update on table "deferred" violates/,
	'an error at COMMIT fails the job');
is(sql('SELECT count(*) FROM deferred'), '0', 'a job that fails at COMMIT has no effects');

# A statement without parameters, and a statement with both parameters
sql(q{DELETE FROM by_sql; INSERT INTO by_sql (params) VALUES ('{"n": "a\"b"}'); TRUNCATE effects});
run_consumer($node, '--queue', 'by_sql', '--drain', '--sql', q{INSERT INTO effects (queue) VALUES ('no parameter')});
sql(q{INSERT INTO by_sql (params) VALUES ('{"n": "a\"b"}')});
run_consumer($node, '--queue', 'by_sql', '--drain', '--sql',
	q{INSERT INTO effects (queue, attempt) VALUES ($1 ->> 'n', ($2).attempt)});
is(sql('SELECT queue, attempt FROM effects ORDER BY at'), "no parameter|\na\"b|1", 'a statement may use no parameter or both');

# --drain on several queues: the consumer performs also jobs that jobs enqueue, and does not wait for a scheduled job
sql(q{
	DELETE FROM by_exec; DELETE FROM by_sql; TRUNCATE effects;
	INSERT INTO by_sql (params) VALUES ('{"more": 3}');
	INSERT INTO by_exec (params) VALUES ('{"more": 1}');
	SELECT ecto_job.enqueue('by_sql', '{}', schedule => now() + interval '1 day');
	CREATE FUNCTION chain(params jsonb) RETURNS void LANGUAGE sql AS $$
		INSERT INTO effects (n) VALUES ((params ->> 'more')::integer);
		INSERT INTO by_sql (params) SELECT jsonb_build_object('more', (params ->> 'more')::integer - 1)
		WHERE (params ->> 'more')::integer > 0;
	$$});
($status, $log) = run_consumer($node, '--queue', 'by_exec', '--queue', 'by_sql', '--drain', '--sql', 'SELECT chain($1)');
is($status, 0, 'the consumer drains the queue and exits with 0');
is(sql(q{SELECT string_agg(n::text, ' ' ORDER BY n) FROM effects}), '0 0 1 1 2 3', '--drain performs the jobs that jobs enqueued, too');
is(sql('SELECT state FROM by_sql'), 'SCHEDULED', '--drain leaves a job that waits for its time');
like($log, qr/drained: nothing left to start/, '--drain logs that nothing is left to start');

# A consumer that cannot work ends at once, with the server's error
my $jobs_left = sql(q{DELETE FROM by_sql; INSERT INTO by_sql (params) VALUES ('{}') RETURNING id});
sql(q{CREATE ROLE stranger LOGIN; CREATE TABLE no_queue (id bigint); CREATE DATABASE plain});
my @queue = ('--queue', 'by_sql');
for my $case (
	[ 'an unknown queue', 1, qr/relation \\"nowhere\\" does not exist/, '--queue', 'nowhere', '--exec', 'true' ],
	[ 'a table that is no queue', 1, qr/critical: .*no_queue.*HINT/, '--queue', 'no_queue', '--exec', 'true' ],
	[ 'no privilege', 1, qr/permission denied/, @queue, '--exec', 'true', '-U', 'stranger' ],
	[ 'no extension', 1, qr/not in this database\\nHINT:  CREATE EXTENSION/, @queue, '--exec', 'true', '-d', $node->connstr('plain') ],
	[ 'a timeout that is none', 1, qr/interval/, @queue, '--exec', 'true', '--timeout', 'soon' ],
	[ 'a statement that is none', 1, qr/syntax error/, @queue, '--sql', 'PERFORM f($1)' ],
	[ 'an unknown function', 1, qr/function nothing\(jsonb\) does not exist/, @queue, '--sql', 'SELECT nothing($1)' ],
	[ 'two statements', 1, qr/multiple commands/, @queue, '--sql', 'SELECT 1; SELECT 2' ],
	[ 'a server that is not there', 2, qr/no connection: .*failed/, @queue, '--exec', 'true', '-d', "host=$directory" ],
	[ 'no queue', 2, qr/--queue is required/, '--exec', 'true' ],
	[ 'nothing to do', 2, qr/one of --exec and --sql/, @queue ],
	[ 'an empty command', 2, qr/--exec: must not be empty/, @queue, '--exec', '' ])
{
	my ($what, $expected, $pattern, @arguments) = @$case;
	($status, $log) = run_consumer($node, @arguments);
	is($status, $expected, "$what: the exit status is $expected");
	like($log, $pattern, "$what: the log says what is wrong");
}
is(sql('SELECT id, state, attempt FROM by_sql'), "$jobs_left|AVAILABLE|0", 'a consumer that cannot work costs no job an attempt');

done_testing();
