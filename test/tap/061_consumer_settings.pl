# The consumer program under settings that a role, a database or a server may have, and in databases of all kinds of
# encodings: no setting ends a session whose jobs run, stops the program, or changes a job's input.
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
sub count_lines { my ($file) = @_; return -e $file ? scalar(() = slurp_file($file) =~ /\n/g) : 0; }

sql(q{
	CREATE TABLE effects (id bigint, isolation text DEFAULT current_setting('transaction_isolation'), note text);
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', poll_interval => '1 h', retry_timeout => '1 h')});
sub one_job
{
	sql('TRUNCATE jobs, effects');
	return sql(q{INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
}
my @queue = ('--queue', 'jobs');

# idle_session_timeout: a session that holds jobs is idle while their programs run. The role has the setting, so that
# each new connection has it
sql(q{CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET idle_session_timeout = '2 s'; ALTER ROLE hasty SET exit_on_error = on});
{
	one_job();
	my $consumer = ConsumerTest->start($node, @queue, '-U', 'hasty',
		'--exec', "echo begun >>$directory/idle; until [ -e $directory/go ]; do sleep 0.05; done");
	ok(poll_until(sub { count_lines("$directory/idle") == 1 }, 'the program'), 'a program runs');
	like($consumer->log, qr/main connection: set for this session: idle_session_timeout = 0, was 2000/, 'the log says that idle_session_timeout is set to 0');
	my $idle = q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'hasty' AND state = 'idle'
		AND state_change < clock_timestamp() - interval '3 s'};
	becomes($node, $idle, '1', 'a session lives on that is idle for longer than idle_session_timeout');
	append_to_file("$directory/go", '');
	ok($consumer->wait_for_log(qr/completed after/), 'the job is completed');
	is(count_lines("$directory/idle"), 1, 'the program ran once');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hasty'});
	ok($consumer->wait_for_log(qr/connected.*connected.*set for this session: idle_session_timeout = 0/s),
		'a new connection has idle_session_timeout set to 0, too');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	unlike($consumer->log, qr/idle-session timeout/, 'no session was ended by the timeout');
}

# exit_on_error: an error that fails one job must not end the session that holds the others
{
	one_job();
	sql(q{
		INSERT INTO jobs (params) VALUES ('{}');
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for the audit'; END $$;
		CREATE TRIGGER refuse BEFORE DELETE ON jobs FOR EACH ROW WHEN (OLD.id % 2 = 0) EXECUTE FUNCTION refuse()});
	my ($status, $log) = run_consumer($node, @queue, '-U', 'hasty', '--exec', 'true', '--drain');
	is($status, 0, 'the consumer drains the queue and exits with 0');
	unlike($log, qr/connection lost/, 'an error does not end a session whose role has exit_on_error');
	is(sql('SELECT count(*) FROM jobs'), '1', 'one job is completed, and one is refused');
	sql('DROP TRIGGER refuse ON jobs');
}

# lock_timeout and statement_timeout: a statement that they cancel is logged and repeated
sql(q{CREATE ROLE brief LOGIN SUPERUSER; ALTER ROLE brief SET lock_timeout = '100 ms'; ALTER ROLE brief SET statement_timeout = '5 s'});
{
	my $id = one_job();
	my $lock = $node->background_psql('postgres');
	my $consumer = ConsumerTest->start($node, @queue, '-U', 'brief',
		'--exec', "echo begun >>$directory/brief; until [ -e $directory/ends ]; do sleep 0.05; done");
	ok(poll_until(sub { count_lines("$directory/brief") == 1 }, 'the program'), 'a program runs');
	$lock->query_safe('BEGIN; LOCK TABLE jobs');
	append_to_file("$directory/ends", '');
	ok($consumer->wait_for_log(qr/job $id: its end could not be told, next try in 1 s: .*lock timeout/), 'the log says that a job\'s end meets the lock_timeout');
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $id: completed/), 'a job\'s end that met the lock_timeout is reported later');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	is(count_lines("$directory/brief"), 1, 'the program of a job whose end was delayed ran once');
}

# SERIALIZABLE as the default applies to the user's statement, and not to the program's own statements; a transaction
# with a serialization failure is repeated
sql(q{CREATE ROLE strict LOGIN SUPERUSER; ALTER ROLE strict SET default_transaction_isolation = serializable});
{
	one_job();
	sql(q{TRUNCATE jobs; INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 200)});
	my @both = map {
		ConsumerTest->start($node, @queue, '-U', 'strict', '-j', 4, '--drain',
			'--sql', 'INSERT INTO effects (id) VALUES (($2).id)')
	} (1, 2);
	is($_->end, 0, 'each of two consumers drains the queue and exits with 0') for @both;
	is(sql('SELECT count(*), count(DISTINCT id), min(isolation), max(isolation) FROM effects'),
		'200|200|serializable|serializable', 'each job is done once, in the isolation that the role has chosen');
	is(sql('SELECT count(*) FROM jobs'), '0', 'no job is left after conflicts');
	my $logs = join('', map { $_->log } @both);
	unlike($logs, qr/next try in/, 'no start was delayed by a conflict');
	like($logs, qr/main connection: set for this session: default_transaction_isolation = read committed, was serializable/,
		'starts are made in READ COMMITTED');
	unlike($logs, qr/connection 1: set for this session: default_transaction/, 'the connections that perform jobs keep the isolation of the role');
}

# A transaction that has a conflict at each try fails the job after some tries
{
	one_job();
	sql(q{
		CREATE SEQUENCE tries;
		CREATE FUNCTION conflict(times bigint) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('tries') <= times THEN
				RAISE 'met another' USING ERRCODE = 'deadlock_detected';
			END IF;
			INSERT INTO effects VALUES (1);
		END $$});
	is((run_consumer($node, @queue, '--drain', '--sql', 'SELECT conflict(5)'))[0], 0, 'the consumer drains the queue and exits with 0');
	is(sql(q{SELECT count(*), last_value, (SELECT count(*) FROM jobs) FROM effects, tries GROUP BY 2}), '1|6|0',
		'a transaction with conflicts is repeated, and done once');
	one_job();
	sql('ALTER SEQUENCE tries RESTART');
	is((run_consumer($node, @queue, '--drain', '--sql', 'SELECT conflict(1000)'))[0], 0, 'the consumer drains the queue and exits with 0');
	is(sql(q{SELECT state, attempt, split_part(error, E'\n', 1), last_value FROM jobs, tries}),
		'RETRY|1|ERROR:  met another|9', 'a job whose transaction has a conflict each time fails');
}

# A role that is read-only by a setting is not taken for a standby
sql(q{CREATE ROLE reader LOGIN SUPERUSER; ALTER ROLE reader SET default_transaction_read_only = on});
{
	one_job();
	my ($status, $log) = run_consumer($node, @queue, '-U', 'reader', '--exec', 'true');
	is($status, 1, 'a role that is read-only by default is a fatal error');
	like($log, qr/critical: "jobs: .*read-only transaction.*HINT:  This is no standby: default_transaction_read_only/, 'the error of a read-only role says what to do');
	is(sql('SELECT state, attempt FROM jobs'), 'AVAILABLE|0', 'a read-only role costs no job an attempt');
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off';
	is((run_consumer($node, @queue, '-U', 'reader', '--exec', 'true', '--drain'))[0], 0, 'the consumer drains with default_transaction_read_only = off');
	is(sql('SELECT count(*) FROM jobs'), '0', 'the job is done with default_transaction_read_only = off');
}
# The consumer waits for a server that becomes read-only while the consumer runs
{
	one_job();
	sql('DELETE FROM jobs');
	my $consumer = ConsumerTest->start($node, @queue, '--exec', 'true');
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecto_job_consumer'
		AND query LIKE 'CALL ecto_job.wait%' AND wait_event_type = 'Extension'}, '1', 'the consumer waits for jobs');
	sql(q{ALTER SYSTEM SET default_transaction_read_only = on});
	sql(q{SELECT pg_reload_conf()});
	$node->poll_query_until('postgres', 'SHOW default_transaction_read_only', 'on');
	my $id = sql(q{SET default_transaction_read_only = off; INSERT INTO jobs (params) VALUES ('{}') RETURNING id});
	sql('NOTIFY jobs'); # the scheduler cannot write, and sends no notification
	ok($consumer->wait_for_log(qr/warning: jobs: next try in .*read-only transaction/), 'the consumer waits for a server that is read-only for now');
	sql('ALTER SYSTEM RESET default_transaction_read_only');
	sql('SELECT pg_reload_conf()');
	ok($consumer->wait_for_log(qr/job $id: completed/), 'the consumer performs a job when the server can write again');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# A job's input does not depend on the session's formats of times and bytes, nor on its search_path
sql(q{
	CREATE ROLE writer LOGIN SUPERUSER;
	ALTER ROLE writer SET DateStyle = 'SQL, DMY';
	ALTER ROLE writer SET TimeZone = 'Asia/Kolkata';
	ALTER ROLE writer SET IntervalStyle = 'sql_standard';
	ALTER ROLE writer SET bytea_output = 'escape';
	ALTER ROLE writer SET search_path = traps, public, pg_catalog;
	CREATE SCHEMA traps;
	CREATE FUNCTION traps.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION traps.trap(integer, float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION traps.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION traps.trap(timestamptz, timestamptz) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE OPERATOR traps.= (FUNCTION = traps.trap, LEFTARG = oid, RIGHTARG = oid);
	CREATE OPERATOR traps.= (FUNCTION = traps.trap, LEFTARG = text, RIGHTARG = text);
	CREATE OPERATOR traps.* (FUNCTION = traps.trap, LEFTARG = integer, RIGHTARG = float8);
	CREATE OPERATOR traps.- (FUNCTION = traps.trap, LEFTARG = timestamptz, RIGHTARG = timestamptz);
	CREATE DOMAIN traps.text AS pg_catalog.text CHECK (false);
	CREATE DOMAIN traps.regclass AS pg_catalog.text});
{
	my $id = one_job();
	my ($status, $log) = run_consumer($node, @queue, '-U', 'writer', '--drain', '--sql',
		q{INSERT INTO effects (id, note) VALUES (($2).id, extract(epoch FROM ($2).schedule) || ' ' || extract(epoch FROM ($2).inserted_at))});
	is($status, 0, 'the consumer drains the queue and exits with 0') or diag($log);
	unlike($log, qr/trapped/, 'no operator of the search_path was called');
	my $noted = sql('SELECT note FROM effects') // '';
	$id = one_job();
	my ($schedule, $inserted) = split / /, $noted || '0 0';
	is(sql(qq{SELECT abs(extract(epoch FROM clock_timestamp()) - $schedule) < 3600 AND $inserted - $schedule < 60}), 't',
		'a job\'s times are those of its row, whatever DateStyle and TimeZone are') or diag($noted);
}

# Encodings: a job's error is its program's output, as far as the database's encoding has the characters
my $say = q{printf 'caf\303\251 can\342\200\231t \360\237\230\200 \377' >&2; exit 1};
my %expected = (
	UTF8 => "caf\xc3\xa9 can\xe2\x80\x99t \xf0\x9f\x98\x80 \xef\xbf\xbd",
	SQL_ASCII => "caf\xc3\xa9 can\xe2\x80\x99t \xf0\x9f\x98\x80 \xef\xbf\xbd",
	LATIN1 => 'caf? can?t ? ?',
	EUC_JP => 'caf? can?t ? ?');
my $long = q{i=0; while [ $i -lt 3000 ]; do printf '\342\200\231'; i=$((i + 1)); done >&2; exit 1};
for my $encoding (sort keys %expected)
{
	my $database = lc $encoding;
	$node->safe_psql('postgres',
		"CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	my $psql = sub { return $node->safe_psql($database, shift); };
	$psql->(q{
		CREATE EXTENSION ecto_job;
		SELECT ecto_job.create_queue('jobs');
		SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 h', poll_interval => '1 h');
		INSERT INTO jobs (params) VALUES ('{}')});
	my @here = ('-d', $node->connstr($database), @queue, '--drain');
	is((run_consumer($node, @here, '--exec', $say))[0], 0, "$encoding: the consumer drains the queue and exits with 0");
	is($psql->(q{SELECT state, error FROM jobs}),
		"RETRY|exit status 1: $expected{$encoding}", "$encoding: the job's error is what the program wrote");
	$psql->(q{TRUNCATE jobs; INSERT INTO jobs (params) VALUES ('{}')});
	is((run_consumer($node, @here, '--exec', $long))[0], 0, "$encoding: the consumer drains the queue and exits with 0");
	my ($state, $error) = split /\|/, $psql->(q{SET client_encoding = 'UTF8'; SELECT state, error FROM jobs});
	is($state, 'RETRY', "$encoding: a job with a long error is in RETRY");
	ok(utf8::decode(my $text = $error), "$encoding: a long error is cut at a character's end");
}
# In a database without an encoding a statement gets the bytes of the row
{
	my $psql = sub { return $node->safe_psql('sql_ascii', shift); };
	$psql->(q{
		TRUNCATE jobs; CREATE TABLE effects (note text);
		INSERT INTO jobs (params) VALUES (E'{"name": "caf\xe9"}')});
	is((run_consumer($node, '-d', $node->connstr('sql_ascii'), @queue, '--drain', '--sql',
				q{INSERT INTO effects VALUES ($1 ->> 'name')}))[0], 0, 'the consumer drains the queue and exits with 0');
	is($psql->(q{SELECT note::bytea FROM effects}), '\x636166e9', 'SQL_ASCII: a statement gets the bytes of the row');
	$psql->(q{
		INSERT INTO jobs (params) VALUES ('{}');
		CREATE FUNCTION fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'x%', repeat(E'\xe2\x80\x99', 3000); END $$});
	is((run_consumer($node, '-d', $node->connstr('sql_ascii'), @queue, '--drain', '--sql', 'SELECT fails()'))[0], 0, 'the consumer drains the queue and exits with 0');
	my $error = $psql->(q{SELECT error FROM jobs});
	ok(utf8::decode($error) && $error =~ /\AERROR:  x\x{2019}{2000}/, 'SQL_ASCII: a statement\'s long error is cut at a character\'s end');
}

$node->stop;
done_testing();
