# EctoJob's reserve, as its library prepares it, reads a range of its index and never the table, on queues of
# create_queue(ectojob => true) and on adopted ones, whenever its plan was made and for whatever LIMIT.
#
# The test measures the buffers (hit and read) of a reserve of 100 in the session that has prepared the statement, with
# failed jobs behind the waiting ones. Seen to fail without the fixed statistics of state (with statistics up to date,
# for any LIMIT), without the planner hook (on a drained queue: 6 s), and without both the hook and the renewal of plans
# on a growing table (with a plan that was made while the table was empty).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use Test::More;

my $rows = 20_000; # AVAILABLE, half as many FAILED

# The cost of a row in buffers: its page, by the index and by the primary key, and the new version, which without free
# space in its page enters each index again. Descents and catalog reads have a constant cost.
my ($per_row, $per_call) = (20, 50);

my $node = new_node(conf => "autovacuum = off\necto_job.enabled = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION buffers(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	what text;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	what := (SELECT string_agg(m[1], ', ') FROM regexp_matches(plan::text, '"(Seq Scan|Hash Join|Sort|Join Filter)"', 'g') AS m);
	plan := plan -> 0 -> 'Plan';
	RETURN (plan ->> 'Shared Hit Blocks')::bigint + (plan ->> 'Shared Read Blocks')::bigint || coalesce(' ' || what, '');
END $$;
SQL
(my $ectojob = slurp_source('test/regress/ectojob.sql')) =~ s/^--.*\n//mg;

my $adopt = q{SELECT ecto_job.adopt_queue('jobs');};
my %make = (
	ectojob => q{SELECT ecto_job.create_queue('jobs', ectojob => true);},
	adopted => "$ectojob SELECT pg_temp.ectojob_table('jobs', 3); $adopt");
my $fill = qq{
	INSERT INTO jobs (params, inserted_at, updated_at) SELECT jsonb_build_object('n', n), now(), now() FROM generate_series(1, $rows) AS n;
	INSERT INTO jobs (params, state, inserted_at, updated_at)
	SELECT jsonb_build_object('n', n), 'FAILED', now(), now() FROM generate_series(1, $rows / 2) AS n;};
my $prepare = q{
	PREPARE reserve (int) AS WITH "available_jobs" AS (SELECT sj0."id" AS "id" FROM "jobs" AS sj0 WHERE (sj0."state" = 'AVAILABLE') ORDER BY sj0."priority", sj0."schedule", sj0."id" LIMIT $1 FOR UPDATE SKIP LOCKED) UPDATE "jobs" AS j0 SET "state" = 'RESERVED', "expires" = '2999-01-01', "updated_at" = '2031-01-01' FROM "available_jobs" AS a1 WHERE (j0."id" = a1."id") RETURNING j0."id";};
my $any = 'SET plan_cache_mode = force_generic_plan;';
my $call = 'EXECUTE reserve (100);';
# Reserved jobs are deleted at once, so that they do not precede the next jobs in the index
my $measure = q{SELECT 'buffers ' || buffers('EXECUTE reserve (100)');
	SELECT 'reserved ' || count(*) FROM jobs WHERE state = 'RESERVED';
	DELETE FROM jobs WHERE state = 'RESERVED';};

# check($kind, $name, $before, $times): makes a queue, runs $before in the session, and measures the reserve
sub check
{
	my ($kind, $name, $before, $times, $make) = (@_[ 0 .. 2 ], $_[3] // 1, $_[4]);
	my $output = $node->safe_psql('postgres', join(' ', $make // $make{$kind}, $before, ($measure) x $times,
			q{SELECT 'pages ' || pg_relation_size('jobs') / current_setting('block_size')::int; DROP TABLE jobs;}));
	my @buffers = $output =~ /^buffers (\d+)/mg;
	my @others = $output =~ /^buffers \d+ (.+)$/mg;
	my @reserved = $output =~ /^reserved (\d+)$/mg;
	my ($pages) = $output =~ /^pages (\d+)$/m;
	note("$kind, $name: @buffers of $pages pages");
	is("@reserved", join(' ', (100) x $times), "$kind, $name: each call reserves 100 jobs");
	my ($most) = sort { $b <=> $a } @buffers;
	is("@others", '', "$kind, $name: each call reads by the indexes alone");
	cmp_ok($most, '<=', 100 * $per_row + $per_call, "$kind, $name: each call reads no more than its rows cost");
	return;
}

for my $kind (qw(ectojob adopted))
{
	check($kind, 'statistics up to date, a session of its own', "$fill ANALYZE jobs; $prepare", 8);
	check($kind, 'no statistics', "$fill $prepare", 8);
	check($kind, 'statistics up to date, for any LIMIT', "$fill ANALYZE jobs; $prepare $any");
	check($kind, 'no statistics, for any LIMIT', "$fill $prepare $any");
	check($kind, 'made while the table was empty', "$prepare $call $fill", 8);
	check($kind, 'made while the table was empty, for any LIMIT', "$prepare $any $call $fill");
	check($kind, 'made after VACUUM of the empty table', "VACUUM ANALYZE jobs; $prepare $any $call $fill");
	check($kind, 'made later, with statistics of an empty table', "VACUUM ANALYZE jobs; $fill $prepare $any");
	for my $left (0, 1, 5)
	{
		check($kind, "made when the queue was drained, but for $left", "$fill
			DELETE FROM jobs WHERE id <= (SELECT max(id) - $left FROM jobs); VACUUM ANALYZE jobs; $prepare $any $call $fill");
	}
	check($kind, 'in the sixth call and later', "$prepare @{[ $call x 6 ]} $fill", 8);
	check($kind, 'jobs of many priorities', "$fill UPDATE jobs SET priority = id * 7919 % 1000 WHERE state = 'AVAILABLE';
		UPDATE jobs SET priority = 1000 WHERE state = 'FAILED'; VACUUM ANALYZE jobs; $prepare $any", 2);
}
my $stock = "$ectojob SELECT pg_temp.ectojob_table('jobs', 3);";
check('adopted', 'statistics from before', "$fill ANALYZE jobs; $adopt $prepare $any", 1, $stock);
check('adopted', 'a plan from before', "$fill ANALYZE jobs; $prepare $any $call $adopt DELETE FROM jobs WHERE state = 'RESERVED';", 1, $stock);
check('adopted', 'upgraded from version 2',
	"$fill $adopt SELECT pg_temp.ectojob_up_3('jobs'); ANALYZE jobs; $prepare $any", 1,
	"$ectojob SELECT pg_temp.ectojob_table('jobs', 2);");

$node->stop;
done_testing();
