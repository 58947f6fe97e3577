# What goes into one transaction of the consumer, and that a job in it which is stale or fails costs the others
# nothing: the ends of several programs' jobs with the next claim, and several jobs performed by SQL.
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
# A retry waits for an hour, so that a failed job is seen as it is. Each end notes its transaction.
sql(q{
	CREATE TABLE effects (id bigint, xid xid8 DEFAULT pg_current_xact_id());
	CREATE TABLE ends (id bigint, state text, xid xid8 DEFAULT pg_current_xact_id());
	CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO ends VALUES (OLD.id, CASE TG_OP WHEN 'DELETE' THEN 'gone' ELSE NEW.state END);
		RETURN NULL;
	END $$;
	CREATE FUNCTION perform(job ecto_job.job) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effects VALUES (job.id);
		PERFORM pg_advisory_xact_lock_shared(1);
		IF job.params ? 'fails' THEN
			RAISE 'it fails';
		END IF;
	END $$;
	SELECT ecto_job.create_queue('jobs');
	CREATE TRIGGER note_end AFTER DELETE OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note_end();
	SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 h');
});

sub new_jobs
{
	my (@params) = @_;
	sql('DELETE FROM jobs; TRUNCATE effects, ends');
	my @ids = map { sql("INSERT INTO jobs (params) VALUES ('$_') RETURNING id") } @params;
	sql('TRUNCATE ends');
	return @ids;
}
sub one_more { return sql(q{INSERT INTO jobs (params) VALUES ('{"status": 0}') RETURNING id}); }

# A program that says that it has begun, waits for a file, and ends with the status that its params say
my $program = "$directory/program";
append_to_file($program, <<'EOS');
#!/bin/sh
echo "$ECTO_JOB_ID $ECTO_JOB_ATTEMPT" >>"$0.begun"
until [ -e "$0.go" ]; do sleep 0.05; done
echo "$ECTO_JOB_ID" >>"$0.done"
exit "$(sed 's/[^0-9]//g')"
EOS
chmod 0755, $program or die;
sub lines { my ($file) = @_; return -e $file ? scalar(split /\n/, slurp_file($file)) : 0; }

# Starts a consumer with three programs, which end while it is stopped: then their ends wait together
sub three_ended
{
	my @arguments = @_;
	unlink map { "$program.$_" } qw(begun go done);
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', $program, '-j', 3, @arguments);
	ok(poll_until(sub { lines("$program.begun") == 3 }, 'three programs'), 'three programs run');
	$consumer->signal('STOP');
	append_to_file("$program.go", '');
	ok(poll_until(sub { lines("$program.done") == 3 }, 'their ends'), 'and end, before the consumer knows');
	unlink "$program.go";
	sql('TRUNCATE ends');
	return $consumer;
}
sub finish
{
	my ($consumer) = @_;
	append_to_file("$program.go", '');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
	return;
}

# Completed, failed and claimed in one transaction
{
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 3}', '{"status": 0}');
	my $consumer = three_ended();
	my $next = one_more();
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $next: started, attempt 1/), 'the next job is started');
	is(sql('SELECT id, state FROM ends ORDER BY id'),
		"$first|gone\n$second|RETRY\n$third|gone\n$next|IN_PROGRESS", 'two are completed, one has failed, one is claimed');
	is(sql('SELECT count(DISTINCT xid) FROM ends'), '1', 'in one transaction');
	like(sql("SELECT error FROM jobs WHERE id = $second"), qr/\Aexit status 3/, 'the failed one has its error');
	finish($consumer);
}

# One of them is somebody else's by now: the others are told all the same, and the claim that was undone
# with them leaves its job as it was
{
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 0}', '{"status": 3}');
	my $consumer = three_ended();
	my $next = one_more();
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $second; TRUNCATE ends");
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $next: started, attempt 1 /), 'the next job is started, by its first attempt');
	like($consumer->log, qr/error: jobs job $second: lost: ".*no longer yours/, 'the stale one is lost');
	is(sql("SELECT id, state FROM ends WHERE id <> $next ORDER BY id"), "$first|gone\n$third|RETRY",
		'the others have ended');
	is(sql('SELECT count(DISTINCT xid) FROM ends'), '3', 'each by itself');
	is(sql("SELECT state, attempt FROM jobs WHERE id = $second"), 'IN_PROGRESS|1', 'the stale one is left alone');
	finish($consumer);
}

# SIGTERM while ends wait: they are told, and nothing is claimed with them
{
	my @ids = new_jobs(('{"status": 0}') x 3);
	my $consumer = three_ended();
	my $next = one_more();
	$consumer->signal('TERM');
	$consumer->signal('CONT');
	is($consumer->end, 0, 'stopped');
	is(sql('SELECT id, state, attempt FROM jobs'), "$next|AVAILABLE|0", 'with the ends told, and nothing started');
}

# The server crashes while ends wait: they are told over the next connection, if the jobs outlive the first
{
	local $ENV{PGOPTIONS} = '-c ecto_job.session_leases=off';
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 3}', '{"status": 0}');
	my $consumer = three_ended();
	$node->stop('immediate');
	$node->start;
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $second: failed, RETRY/), 'told after a crash');
	becomes($node, 'SELECT id, state FROM jobs', "$second|RETRY", 'all of them');
	finish($consumer);
}

# COMMIT itself fails: a deferred trigger refuses one of the completions
{
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 0}', '{"status": 0}');
	sql(qq{
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'kept for the audit'; END \$\$;
		CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		WHEN (OLD.id = $second) EXECUTE FUNCTION refuse()});
	my $consumer = three_ended();
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $second: failed, RETRY .*kept for the audit/), 'a completion is refused at COMMIT');
	becomes($node, 'SELECT id, state FROM jobs', "$second|RETRY", 'and fails; the others are completed');
	finish($consumer);
	sql('DROP TRIGGER refuse ON jobs');
}

my @by_sql = ('--queue', 'jobs', '--sql', 'SELECT perform($2)');

# Several jobs in a transaction
{
	my @ids = new_jobs(('{}') x 25);
	my ($status) = run_consumer($node, @by_sql, '--per-transaction', 10, '--drain');
	is($status, 0, 'drained');
	is(sql('SELECT count(*), count(DISTINCT id), count(DISTINCT xid) FROM effects'), '25|25|3',
		'25 jobs are performed in three transactions');
	is(sql('SELECT count(*) FROM jobs'), '0', 'and completed');
}

# One of them fails: it alone
{
	my @ids = new_jobs('{}', '{}', '{"fails": 1}', '{}');
	my ($status, $log) = run_consumer($node, @by_sql, '--per-transaction', 10, '--drain');
	is($status, 0, 'drained');
	my $failed = $ids[2];
	is(sql('SELECT id, state, attempt, split_part(error, E\'\n\', 1) FROM jobs'), "$failed|RETRY|1|ERROR:  it fails",
		'one of four has failed');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id), count(DISTINCT xid) FROM effects}), "@ids[0, 1, 3]|3",
		'the others have their effects once, each by itself');
	like($log, qr/warning: connection 1: a transaction of 4 jobs failed, each is performed by itself: .*it fails/,
		'and the log says why');
}

# One of them was taken meanwhile
{
	my @ids = new_jobs(('{}') x 6);
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--per-transaction', 3, '--batch', 6);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1', 'three run, three wait');
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $ids[4]");
	$lock->quit;
	ok($consumer->wait_for_log(qr/error: jobs job $ids[4]: lost: ".*no longer yours/), 'one was taken');
	ok($consumer->wait_for_log(qr/job $ids[5]: completed/), 'the others are done');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM effects}), "@ids[0 .. 3, 5]", 'once each');
	is(sql('SELECT id, state FROM jobs'), "$ids[4]|IN_PROGRESS", 'the taken one is left alone');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}

# The server's process dies in the middle: each is performed by itself on the next connection
{
	my @ids = new_jobs(('{}') x 3);
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--per-transaction', 3);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1', 'they run');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'});
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $ids[2]: completed/), 'they are done');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM effects}), "@ids", 'once each');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'stopped');
}

done_testing();
