# A claim, a completion and a sweep of due jobs read what they return and what is in flight, however many
# jobs wait, are scheduled or have failed, and whenever their plans were made.
#
# The test measures the buffers (hit and read) of a call in a session that has called the function before, so that reading
# catalogs and making plans do not count. Every part has a session of its own, since plans belong to a session.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use Test::More;

my $rows = 100_000;    # of each: AVAILABLE, FAILED, SCHEDULED

# The cost of a row in buffers. A claimed job: its page by the queue's index, to lock the row, and by the primary key
# (three pages and the row's), the update, the trigger. A completed job: the primary key and the row's page. A due job
# enters two indexes. A job in flight precedes the claimed jobs in the index, and is read. Each call has a constant cost:
# descents into indexes, pages of the free space and visibility maps, and catalog rows.
my ($per_claimed, $per_completed, $per_due, $per_in_flight, $per_call) = (10, 7, 20, 1, 20);

my $node = new_node(conf => "autovacuum = off\necto_job.enabled = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION buffers(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	plan := plan -> 0 -> 'Plan';
	RETURN (plan ->> 'Shared Hit Blocks')::bigint + (plan ->> 'Shared Read Blocks')::bigint;
END $$;
SQL

sub fill
{
	return <<"SQL";
INSERT INTO jobs (params) SELECT jsonb_build_object('n', n) FROM generate_series(1, $rows) AS n;
INSERT INTO jobs (params, state) SELECT jsonb_build_object('n', n), 'FAILED' FROM generate_series(1, $rows) AS n;
INSERT INTO jobs (params, schedule)
	SELECT jsonb_build_object('n', n), clock_timestamp() + interval '1 day' FROM generate_series(1, $rows) AS n;
SQL
}

# Five scheduled jobs become due
my $make_due = q{UPDATE jobs SET schedule = clock_timestamp() - interval '1 minute'
	WHERE id IN (SELECT id FROM jobs WHERE state = 'SCHEDULED' ORDER BY id DESC LIMIT 5);};

# Calls each function once, so that the session has its plans
my $first_calls = q{
CREATE TEMP TABLE held (id bigint, lease bigint);
INSERT INTO held SELECT id, lease FROM ecto_job.start_available_jobs('jobs', 100);
SELECT ecto_job.complete_jobs('jobs', coalesce(array_agg(id), '{}'), coalesce(array_agg(lease), '{}')) FROM held;
SELECT count(*) FROM ecto_job.reserve_available_jobs('jobs', 100);
SELECT ecto_job.activate_scheduled_jobs('jobs');};

# Prints lines of "what|buffers", and between the calls the number of rows in each state
my $measured_calls = qq{
CREATE TEMP TABLE measured (what text, buffers bigint);
INSERT INTO measured SELECT 'in flight', count(*) FROM jobs WHERE state IN ('RESERVED', 'IN_PROGRESS');
INSERT INTO measured SELECT 'start', buffers('SELECT * FROM ecto_job.start_available_jobs(''jobs'', 100)');
INSERT INTO measured SELECT 'reserve', buffers('SELECT * FROM ecto_job.reserve_available_jobs(''jobs'', 100)');
INSERT INTO measured SELECT 'claimed', count(*) FROM jobs WHERE state IN ('RESERVED', 'IN_PROGRESS');
TRUNCATE held;
INSERT INTO held SELECT id, lease FROM jobs WHERE state = 'IN_PROGRESS' LIMIT 100;
INSERT INTO measured SELECT 'complete', buffers(format(
	'SELECT ecto_job.complete_jobs(''jobs'', %L::bigint[], %L::bigint[])', array_agg(id), array_agg(lease)))
	FROM held;
$make_due
INSERT INTO measured SELECT 'activate', buffers('SELECT ecto_job.activate_scheduled_jobs(''jobs'')');
INSERT INTO measured SELECT 'activate none', buffers('SELECT ecto_job.activate_scheduled_jobs(''jobs'')');
INSERT INTO measured SELECT 'due', count(*) FROM jobs
	WHERE state = 'AVAILABLE' AND id > (SELECT min(id) FROM jobs WHERE state = 'SCHEDULED');
INSERT INTO measured SELECT 'table', pg_relation_size('jobs') / current_setting('block_size')::int;
SELECT what || '|' || buffers FROM measured;};

# check($name, $before): measures the calls in a new session, which first runs $before
sub check
{
	my ($name, $before) = @_;
	my $output = $node->safe_psql('postgres', qq{
		SELECT ecto_job.create_queue('jobs');
		$before
		$measured_calls
		SELECT ecto_job.drop_queue('jobs');});
	my %got = $output =~ /^([a-z ]+)\|(\d+)$/mg;
	note("$name: " . join(', ', map { "$_ $got{$_}" } sort keys %got));
	my $in_flight = $got{'in flight'};
	is($got{claimed}, $in_flight + 200, "$name: 200 jobs are claimed");
	is($got{due} % 5, 0, "$name: due jobs are activated");
	cmp_ok($got{due}, '>=', 5, "$name: the measured call activated some");
	cmp_ok($got{table}, '>=', 10_000, "$name: the table is large");
	cmp_ok($got{start}, '<=', 100 * $per_claimed + $in_flight * $per_in_flight + $per_call,
		"$name: start_available_jobs reads what it returns and what is in flight");
	cmp_ok($got{reserve}, '<=', 100 * $per_claimed + ($in_flight + 100) * $per_in_flight + $per_call,
		"$name: reserve_available_jobs reads what it returns and what is in flight");
	cmp_ok($got{complete}, '<=', 100 * $per_completed + $per_call, "$name: complete_jobs reads its jobs");
	cmp_ok($got{activate}, '<=', 5 * $per_due + $per_call, "$name: activate_scheduled_jobs reads what is due");
	cmp_ok($got{'activate none'}, '<=', $per_call, "$name: activate_scheduled_jobs reads next to nothing when nothing is due");
	return;
}

check('statistics up to date', fill() . "ANALYZE jobs; $make_due $first_calls");
check('no statistics', fill() . "$make_due $first_calls");
check('1,000 in flight', fill() . "ANALYZE jobs; $make_due $first_calls
	SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 1000);");
check('plans made while the table was empty', $first_calls . fill());
check('plans made after VACUUM of the empty table', "VACUUM jobs; $first_calls" . fill());
check('VACUUM of the empty table, plans made later', "VACUUM jobs;" . fill() . "$make_due $first_calls");
check('statistics of an empty table', "VACUUM ANALYZE jobs;" . fill() . "$make_due $first_calls");
check('statistics of FAILED rows alone',
	"INSERT INTO jobs (params, state) SELECT '{}', 'FAILED' FROM generate_series(1, 1000);
	 VACUUM ANALYZE jobs;" . fill() . "$make_due $first_calls");
check('statistics of a few waiting jobs',
	"INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, 10); VACUUM ANALYZE jobs; $first_calls"
	. fill());

# Pausing and resuming a queue reads and changes what an empty queue's does, and a claim of a paused queue reads nothing
# of its jobs, however many wait
my $pause = sub {
	my ($jobs) = @_;
	my $output = $node->safe_psql('postgres', qq{
		SELECT ecto_job.create_queue('jobs');
		INSERT INTO jobs (params) SELECT '{}' FROM generate_series(1, $jobs);
		VACUUM ANALYZE jobs;
		SELECT ecto_job.pause_queue('jobs'), ecto_job.start_available_jobs('jobs', 100);
		SELECT ecto_job.resume_queue('jobs');
		SELECT 'pause|' || buffers('SELECT ecto_job.pause_queue(''jobs'')');
		SELECT 'claim|' || buffers('SELECT * FROM ecto_job.start_available_jobs(''jobs'', 100)');
		SELECT 'resume|' || buffers('SELECT ecto_job.resume_queue(''jobs'')');
		SELECT 'changed|' || pg_stat_get_xact_tuples_updated('jobs'::regclass)
			FROM (SELECT ecto_job.pause_queue('jobs')) AS p, (SELECT ecto_job.resume_queue('jobs')) AS r;
		SELECT 'table|' || pg_relation_size('jobs') / current_setting('block_size')::int;
		SELECT ecto_job.drop_queue('jobs');});
	note("paused with $jobs jobs: " . join(', ', $output =~ /^(\w+\|\d+)$/mg));
	return $output =~ /^(\w+)\|(\d+)$/mg;
};
my %empty = $pause->(0);
my %full = $pause->($rows);
cmp_ok($full{table}, '>=', 1_000, 'the paused table is large');
cmp_ok($full{$_}, '<=', $empty{$_} + $per_call, "$_: reads no more with a backlog") foreach qw(pause resume);
cmp_ok($full{claim}, '<=', $per_call, 'a claim of a paused queue reads next to nothing');
is($full{changed}, 0, 'pausing and resuming changes no job');

$node->stop;
done_testing();
