# adopt_queue() on a queue on which EctoJob's library is working; the scheduler and the consumer program on an adopted
# queue; the application's own upgrade of its table; a dump; release_queue().
#
# The server's TimeZone is one with a summer time, and not UTC.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use ConsumerTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $jobs = 2_000;
my $node = new_node(conf => "timezone = 'Europe/Berlin'\n");
my $ectojob = slurp_source('test/regress/ectojob.sql') =~ s/^--.*\n//mgr;

sub sql { return $node->safe_psql('postgres', shift); }

sub refused
{
	my ($query, $pattern, $name) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $query);
	like($error, $pattern, $name);
	return;
}

# Two nodes of an application run the library's statements; each job is done once. When half of the jobs are done the
# nodes wait for the adoption, which on a fast machine might otherwise come too late
sql(qq{$ectojob SELECT pg_temp.ectojob_table('jobs', 2);
	INSERT INTO jobs (params, inserted_at, updated_at) SELECT jsonb_build_object('n', n), now(), now() FROM generate_series(1, $jobs) AS n});
sql(<<'SQL' =~ s{HALF}{$jobs / 2}er);
CREATE TABLE effects (n int PRIMARY KEY);
CREATE PROCEDURE library_node() LANGUAGE plpgsql AS $$
DECLARE
	job jobs;
BEGIN
	LOOP
		WITH available_jobs AS (SELECT id FROM jobs WHERE state = 'AVAILABLE' ORDER BY schedule, id LIMIT 1 FOR UPDATE SKIP LOCKED)
		UPDATE jobs j SET state = 'RESERVED', expires = '2999-01-01', updated_at = '2031-01-01' FROM available_jobs a WHERE j.id = a.id
		RETURNING j.* INTO job;
		EXIT WHEN NOT FOUND;
		COMMIT;
		UPDATE jobs SET attempt = 1, state = 'IN_PROGRESS', expires = '2999-01-01' WHERE id = job.id AND attempt = 0 AND state = 'RESERVED';
		COMMIT;
		DELETE FROM jobs WHERE attempt = 1 AND id = job.id;
		INSERT INTO effects VALUES ((job.params ->> 'n')::int);
		COMMIT;
		PERFORM pg_advisory_xact_lock_shared(1) WHERE (job.params ->> 'n')::int > HALF;
		COMMIT;
	END LOOP;
END
$$;
SQL
my $adoption = $node->background_psql('postgres');
$adoption->query_safe('SELECT pg_advisory_lock(1)');
my $filenode = sql("SELECT pg_relation_filenode('jobs')");
my @nodes = map { IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'CALL library_node()' ],
		'<', \undef, '>&', \my $output) } 1, 2;
ok(poll_until(sub { sql('SELECT count(*) FROM effects') > 0 }, 'the first jobs'), "the library's nodes perform jobs");
ok(poll_until(sub { $node->psql('postgres', q{SELECT ecto_job.adopt_queue('jobs')}) == 0 }, 'the adoption'), 'the queue is adopted');
my $done = sql('SELECT count(*) FROM effects');
$adoption->quit; # the nodes continue
cmp_ok($done, '<', $jobs, "the queue is adopted before the library is through: $done of $jobs jobs were done");
ok($_->finish, 'a node of the library ended without an error') for @nodes;
is(sql('SELECT count(*) FROM effects'), $jobs, 'each job is done once');
is(sql('SELECT count(*) FROM jobs'), 0, "the library's nodes leave no job");
is(sql("SELECT pg_relation_filenode('jobs')"), $filenode, 'the adoption does not rewrite the table');

# The scheduler: an INSERT is announced, a due job activated, an expired one made available again
sql("SELECT ecto_job.create_queue('fence')");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 2, 'the scheduler serves both queues');
wait_for_sleep($node);
my $listener = new_listener($node, 'jobs');
sql(q{INSERT INTO jobs (params, inserted_at, updated_at) VALUES ('{}', '2031-01-01', '2031-01-01')});
is(notifications($listener), 'jobs:scheduler', 'the scheduler announces an INSERT of the library');
sql(q{INSERT INTO jobs (params, state, schedule) VALUES ('{"due": true}', 'SCHEDULED', timezone('UTC', clock_timestamp()) + interval '300 ms')});
is(next_notification($listener, 'jobs', 30), 'jobs:scheduler', 'a job that is due is announced');
is(sql(q{SELECT state, updated_at BETWEEN schedule - interval '1 s' AND timezone('UTC', clock_timestamp()) + interval '1 s' FROM jobs WHERE params ? 'due'}),
	'AVAILABLE|t', 'a due job is activated at its time, in UTC');
sql('DELETE FROM jobs');
sql(q{INSERT INTO jobs (params, state, attempt, expires) VALUES ('{"lost": true}', 'IN_PROGRESS', 1, timezone('UTC', clock_timestamp()) + interval '300 ms')});
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'a job whose lease is over is available again');
becomes($node, "SELECT status, activated, expired FROM ecto_job.queues WHERE queue = 'jobs'::regclass", 'ok|1|1', 'the view counts an activated and an expired job');
$listener->{session}->quit;

# The trigger of 0.2.0 is replaced by the present one in the way that the documentation describes
my $lease_trigger = q{SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'ecto_job_lease' AND tgrelid = 'jobs'::regclass};
my $made_now = sql($lease_trigger);
sql(q{CREATE OR REPLACE TRIGGER ecto_job_lease BEFORE UPDATE ON jobs FOR EACH ROW
	WHEN (NEW.lease = OLD.lease AND NEW.state <> OLD.state AND NEW.state <> 'IN_PROGRESS') EXECUTE FUNCTION ecto_job.clear_lease()});
isnt(sql($lease_trigger), $made_now, 'the trigger of 0.2.0 is another');
my ($recipe) = slurp_source('docs/from-ectojob.md') =~ /(CREATE OR REPLACE TRIGGER ecto_job_lease .*?;)/s;
sql($recipe);
is(sql($lease_trigger), $made_now, 'the documentation makes the trigger of an older version anew');

# The application upgrades its table to version 3 while the consumer program works, and reverts the upgrade
my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--sql', 'INSERT INTO effects SELECT ($1 ->> \'n\')::int', '--log-level', 'warning');
sub are_done
{
	my ($from, $columns, $values, $name) = @_;
	my $to = $from + 99;
	sql("INSERT INTO jobs (params$columns) SELECT jsonb_build_object('n', n)$values FROM generate_series($from, $to) AS n");
	becomes($node, "SELECT count(*) FROM effects WHERE n BETWEEN $from AND $to", 100, $name);
	return;
}
sql('DELETE FROM jobs');
are_done(10_000, '', '', 'our consumer performs jobs of a table of version 2');
sql("$ectojob SELECT pg_temp.ectojob_up_3('jobs')");
are_done(11_000, ', priority', ', n % 7', 'our consumer performs jobs after the upgrade to version 3');
sql("$ectojob SELECT pg_temp.ectojob_down_3('jobs')");
are_done(12_000, '', '', 'our consumer performs jobs after the way back to version 2');
$consumer->signal('TERM');
is($consumer->end, 0, 'our consumer exits with 0 after SIGTERM');

# Bytes, to a program and to a statement
sql(qq{$ectojob SELECT pg_temp.ectojob_table('terms', 3, params_type => 'bytea'); SELECT ecto_job.adopt_queue('terms');
	CREATE TABLE received (bytes bytea);
	INSERT INTO terms (params, inserted_at, updated_at) VALUES ('\\x836802000a0dff', now(), now())});
my $file = $node->basedir . '/bytes';
is((run_consumer($node, '--queue', 'terms', '--exec', "cat >$file", '--drain'))[0], 0, 'the consumer drains the queue and exits with 0');
is(slurp_file($file), "\x83\x68\x02\x00\x0a\x0d\xff", 'a program gets an Erlang term as it is');
sql(q{SELECT ecto_job.enqueue('terms', params_binary => '\x8300ff')});
is((run_consumer($node, '--queue', 'terms', '--sql', 'INSERT INTO received VALUES ($1)', '--drain'))[0], 0, 'the consumer drains the queue and exits with 0');
is(sql('SELECT * FROM received'), '\x8300ff', 'a statement gets an Erlang term as it is');

# A large table: the adoption reads none of its rows, and so holds its lock for a short time. If the table is locked, the
# adoption waits only up to a limit.
sql(qq{$ectojob SELECT pg_temp.ectojob_table('large', 3);
	ALTER TABLE large DISABLE TRIGGER USER; INSERT INTO large (params, inserted_at, updated_at) SELECT '{}', now(), now() FROM generate_series(1, 50000);
	ALTER TABLE large ENABLE TRIGGER USER; ANALYZE large});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT count(*) FROM large WHERE id = 1');
refused(q{SELECT ecto_job.adopt_queue('large')},
	qr/ERROR:  canceling statement due to lock timeout\nHINT:  A transaction uses the queue's table\. Try again, or when fewer do\./,
	'adopt_queue() gives up behind a long transaction, with a hint');
is(sql("SELECT count(*) FROM pg_attribute WHERE attrelid = 'large'::regclass AND attname = 'lease'"), 0, 'an adoption that gave up has added no column');
$holder->query_safe('COMMIT');
$holder->quit;
# The blocks are counted within the transaction, since the scheduler reads the table as soon as the adoption has committed
my $blocks = q{SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class
	WHERE oid = 'large'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'large'::regclass)};
is(sql("BEGIN; SELECT ecto_job.adopt_queue('large') \\g /dev/null\n$blocks; COMMIT"), 0, 'adopt_queue() reads no row of a large table');
cmp_ok(sql("BEGIN; SELECT count(*) FROM large \\g /dev/null\n$blocks; COMMIT"), '>', 100, 'the statistics show when a large table is read');
my $plan = sql("SELECT 1 FROM ecto_job.start_available_jobs('large', 10) LIMIT 1; EXPLAIN (ANALYZE, BUFFERS, FORMAT YAML) SELECT * FROM ecto_job.start_available_jobs('large', 100)");
my ($buffers) = $plan =~ /Shared Hit Blocks: (\d+)/;
cmp_ok($buffers, '<=', 100 * 20 + 50, 'a claim from a large adopted table reads what it returns');

# A dump
sql('CREATE DATABASE restored');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump ends without an error');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'psql restores the dump without an error');
my $settings = 'SELECT * FROM ecto_job.queue_settings ORDER BY queue::text';
is($node->safe_psql('restored', $settings), sql($settings), 'the settings are restored');
my $triggers = q{SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgfoid::regproc::text LIKE 'ecto_job.%' AND tgrelid = 'jobs'::regclass ORDER BY 1};
is($node->safe_psql('restored', $triggers), sql($triggers), 'the triggers are restored');
is($node->safe_psql('restored', q{SET client_min_messages = warning; SELECT ecto_job.adopt_queue('terms');
		SELECT ecto_job.enqueue('terms', params_binary => '\x83ff'); SELECT params_binary FROM ecto_job.start_available_jobs('terms')}) =~ s/^terms\n\d+\n//r,
	'\x83ff', 'a restored table works as an adopted queue');
is($node->safe_psql('restored', "SELECT n_distinct FROM pg_stats WHERE tablename = 'terms' AND attname = 'state'"), 20,
	'adopted again, a restored table has the statistics that a dump leaves out');

# release_queue() and DROP EXTENSION
refused('DROP EXTENSION ecto_job', qr/cannot drop extension ecto_job because other objects depend on it/, 'DROP EXTENSION fails while there are queues');
sql('SELECT ecto_job.release_queue(queue) FROM ecto_job.queue_settings; DROP EXTENSION ecto_job');
$listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN jobs');
sql(q{INSERT INTO jobs (params, inserted_at, updated_at) VALUES ('{}', now(), now())});
ok(poll_until(sub { $listener->query('SELECT 1') =~ /notification "jobs"/ }, 'a notification'), 'an INSERT into a released table notifies the library as before');
$listener->quit;
sql('TRUNCATE effects; TRUNCATE jobs');
sql(q{INSERT INTO jobs (params, inserted_at, updated_at) SELECT jsonb_build_object('n', n), now(), now() FROM generate_series(1, 10) AS n;});
sql('CALL library_node()');
is(sql('SELECT count(*) FROM effects'), 10, 'the library performs the jobs of a released table');
sql("$ectojob SELECT pg_temp.ectojob_down('jobs')");
is(sql("SELECT to_regclass('jobs') IS NULL"), 't', "the migration's rollback works");

$node->stop;
done_testing();
