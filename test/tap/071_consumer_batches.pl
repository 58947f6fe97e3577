# Transactions of the consumer with several jobs: completions and failures of several programs' jobs together with the
# next claim, and several jobs performed by SQL. A job that fails or was taken away does not affect the others of its
# transaction.
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
# A retry waits for an hour, so that a failed job stays in RETRY. A trigger records the transaction of each end.
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

# $program writes a file when it has begun, waits for another file, and exits with the status in its params
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

# Starts a consumer with three programs that end while the consumer is stopped, so that it completes or fails their jobs
# in one transaction
sub three_ended
{
	my @arguments = @_;
	unlink map { "$program.$_" } qw(begun go done);
	my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', $program, '-j', 3, @arguments);
	ok(poll_until(sub { lines("$program.begun") == 3 }, 'three programs'), 'three programs run');
	$consumer->signal('STOP');
	append_to_file("$program.go", '');
	ok(poll_until(sub { lines("$program.done") == 3 }, 'their ends'), 'three programs end while the consumer is stopped');
	unlink "$program.go";
	sql('TRUNCATE ends');
	return $consumer;
}
sub finish
{
	my ($consumer) = @_;
	append_to_file("$program.go", '');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	return;
}

# Two completions, a failure and a claim in one transaction
{
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 3}', '{"status": 0}');
	my $consumer = three_ended();
	my $next = one_more();
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $next: started, attempt 1/), 'the next job is started');
	is(sql('SELECT id, state FROM ends ORDER BY id'),
		"$first|gone\n$second|RETRY\n$third|gone\n$next|IN_PROGRESS", 'two jobs are completed, one has failed, one is claimed');
	is(sql('SELECT count(DISTINCT xid) FROM ends'), '1', 'three ends and a claim are made in one transaction');
	like(sql("SELECT error FROM jobs WHERE id = $second"), qr/\Aexit status 3/, 'the failed job has its error');
	finish($consumer);
}

# One of three jobs was taken away: the others are completed or failed all the same, and a claim that was rolled back
# with them costs the claimed job no attempt
{
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 0}', '{"status": 3}');
	my $consumer = three_ended();
	my $next = one_more();
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $second; TRUNCATE ends");
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $next: started, attempt 1 /), 'the next job is started, by its first attempt');
	like($consumer->log, qr/error: jobs job $second: lost: ".*no longer yours/, 'the log says that the job that was taken away is lost');
	is(sql("SELECT id, state FROM ends WHERE id <> $next ORDER BY id"), "$first|gone\n$third|RETRY",
		'the other two jobs are completed and failed');
	is(sql('SELECT count(DISTINCT xid) FROM ends'), '3', 'each end and the claim are made in a transaction of their own');
	is(sql("SELECT state, attempt FROM jobs WHERE id = $second"), 'IN_PROGRESS|1', 'the job that was taken away is left as it is');
	finish($consumer);
}

# SIGTERM while completions and failures wait: they are committed, without a claim
{
	my @ids = new_jobs(('{"status": 0}') x 3);
	my $consumer = three_ended();
	my $next = one_more();
	$consumer->signal('TERM');
	$consumer->signal('CONT');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	is(sql('SELECT id, state, attempt FROM jobs'), "$next|AVAILABLE|0", 'SIGTERM has the waiting ends made, and nothing started');
}

# SIGTERM while completions wait, and jobs that were not begun: all are committed together
{
	my @ids = new_jobs(('{"status": 0}') x 5);
	my $consumer = three_ended('--batch', 5);
	$consumer->signal('TERM');
	$consumer->signal('CONT');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
	is(sql('SELECT string_agg(state, \' \' ORDER BY id) FROM ends'), 'gone gone gone AVAILABLE AVAILABLE',
		'SIGTERM has jobs given back that were not begun');
	is(sql('SELECT count(DISTINCT xid) FROM ends'), '1', 'three ends are made, and two jobs given back, in one transaction');
}

# The server crashes while completions and failures wait: they are committed on the next connection, if the leases
# outlive the first
{
	local $ENV{PGOPTIONS} = '-c ecto_job.session_leases=off';
	my ($first, $second, $third) = new_jobs('{"status": 0}', '{"status": 3}', '{"status": 0}');
	my $consumer = three_ended();
	$node->stop('immediate');
	$node->start;
	$consumer->signal('CONT');
	ok($consumer->wait_for_log(qr/job $second: failed, RETRY/), 'a failure that waited in a crash is made over the next connection');
	becomes($node, 'SELECT id, state FROM jobs', "$second|RETRY", 'every end that waited in a crash is made');
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
	becomes($node, 'SELECT id, state FROM jobs', "$second|RETRY", 'the refused job fails, and the others are completed');
	finish($consumer);
	sql('DROP TRIGGER refuse ON jobs');
}

my @by_sql = ('--queue', 'jobs', '--sql', 'SELECT perform($2)');

# Several jobs in one transaction
{
	my @ids = new_jobs(('{}') x 25);
	my ($status) = run_consumer($node, @by_sql, '--per-transaction', 10, '--drain');
	is($status, 0, 'the consumer drains the queue and exits with 0');
	is(sql('SELECT count(*), count(DISTINCT id), count(DISTINCT xid) FROM effects'), '25|25|3',
		'25 jobs are performed in three transactions');
	is(sql('SELECT count(*) FROM jobs'), '0', '25 jobs are completed');
}

# One job of a transaction fails: the others are completed
{
	my @ids = new_jobs('{}', '{}', '{"fails": 1}', '{}');
	my ($status, $log) = run_consumer($node, @by_sql, '--per-transaction', 10, '--drain');
	is($status, 0, 'the consumer drains the queue and exits with 0');
	my $failed = $ids[2];
	is(sql('SELECT id, state, attempt, split_part(error, E\'\n\', 1) FROM jobs'), "$failed|RETRY|1|ERROR:  it fails",
		'one of four has failed');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id), count(DISTINCT xid) FROM effects}), "@ids[0, 1, 3]|3",
		'the other three have their effects once, in a transaction each');
	like($log, qr/warning: connection 1: a transaction of 4 jobs failed, each is performed by itself: .*it fails/,
		'the log says why each job is performed by itself');
}

# One job of a transaction was taken away meanwhile
{
	my @ids = new_jobs(('{}') x 6);
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--per-transaction', 3, '--batch', 6);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1', 'the first three jobs of six run');
	sql("UPDATE jobs SET lease = lease + 2 WHERE id = $ids[4]");
	$lock->quit;
	ok($consumer->wait_for_log(qr/error: jobs job $ids[4]: lost: ".*no longer yours/), 'the log says that one job of six is lost');
	ok($consumer->wait_for_log(qr/job $ids[5]: completed/), 'the last job of six is completed');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM effects}), "@ids[0 .. 3, 5]", 'the other five jobs have their effects once');
	is(sql('SELECT id, state FROM jobs'), "$ids[4]|IN_PROGRESS", 'the job of six that was taken away is left as it is');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

# The backend ends within a transaction: on the next connection each job is performed in a transaction of its own
{
	my @ids = new_jobs(('{}') x 3);
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	my $consumer = ConsumerTest->start($node, @by_sql, '--per-transaction', 3);
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'}, '1', 'a transaction of three jobs runs');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'});
	$lock->quit;
	ok($consumer->wait_for_log(qr/job $ids[2]: completed/), 'the last of three jobs is completed on the next connection');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM effects}), "@ids", 'each of three jobs has its effects once');
	$consumer->signal('TERM');
	is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
}

done_testing();
