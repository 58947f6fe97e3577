# The cost of a job from its start to its deletion: bytes of WAL, and the share of updates that are HOT.
#
# The cost is measured in batches of 100, without autovacuum, with params under 100 bytes and jobs that wait behind those
# that run. A CHECKPOINT before the fill keeps full-page images out of the measured WAL. With data checksums, the default
# since PostgreSQL 18, a hint that is set on a row or index entry of a catalog causes such an image, too: VACUUM sets
# these hints before the CHECKPOINT.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use Test::More;

my ($lives, $waiting, $batch) = (20_000, 30_000, 100);

my $node = new_node(
	conf => <<'CONF');
autovacuum = off
ecto_job.enabled = off
checkpoint_timeout = 1h
max_wal_size = 4GB
CONF
$node->safe_psql('postgres', 'CREATE EXTENSION pg_walinspect');

# one_step: jobs are started by start_available_jobs and completed by complete_jobs; each call commits
$node->safe_psql('postgres', qq{
CREATE PROCEDURE one_step() LANGUAGE plpgsql AS \$\$
DECLARE
	ids bigint[];
	leases bigint[];
BEGIN
	FOR i IN 1 .. $lives / $batch LOOP
		SELECT array_agg(j.id), array_agg(j.lease) INTO ids, leases
			FROM ecto_job.start_available_jobs('jobs', $batch) AS j;
		COMMIT;
		PERFORM ecto_job.complete_jobs('jobs', ids, leases);
		COMMIT;
	END LOOP;
END \$\$});

# EctoJob's way: reserve, progress, delete by `done`; each statement handles a batch and commits, so that both ways have
# equal batches (a commit for each job would cost 34 bytes, and prune pages more often)
sub two_steps
{
	my ($done) = @_;
	return qq{
CREATE OR REPLACE PROCEDURE two_steps() LANGUAGE plpgsql AS \$\$
DECLARE
	jobs ecto_job.job[];
	job ecto_job.job;
BEGIN
	FOR i IN 1 .. $lives / $batch LOOP
		SELECT array_agg(j) INTO jobs FROM ecto_job.reserve_available_jobs('jobs', $batch) AS j;
		COMMIT;
		FOREACH job IN ARRAY jobs LOOP
			PERFORM FROM ecto_job.update_job_in_progress('jobs', job.id, job.attempt, lease => job.lease);
		END LOOP;
		COMMIT;
		FOREACH job IN ARRAY jobs LOOP
			PERFORM ecto_job.$done('jobs', job.id, job.attempt + 1, job.lease);
		END LOOP;
		COMMIT;
	END LOOP;
END \$\$};
}

sub lsn { return $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'); }

# Returns WAL bytes per job and the percentage of HOT updates of `CALL $procedure()`
sub life
{
	my ($name, $procedure) = @_;
	$node->safe_psql('postgres', "SELECT ecto_job.create_queue('jobs')");
	$node->safe_psql('postgres', $_) for 'VACUUM (INDEX_CLEANUP ON)', 'CHECKPOINT';
	$node->safe_psql('postgres', qq{
		INSERT INTO jobs (params)
		SELECT jsonb_build_object('kind', 'mail', 'to', 'user' || n || '\@example.com', 'n', n)
		FROM generate_series(1, $lives + $waiting) AS n});
	is($node->safe_psql('postgres', 'SELECT max(octet_length(params::text)) < 100 FROM jobs'),
		't', "$name: params are under 100 bytes");

	my $from = lsn();
	$node->safe_psql('postgres', "CALL $procedure()");
	my $to = lsn();

	is($node->safe_psql('postgres', "SELECT count(*) FROM jobs WHERE state = 'AVAILABLE' AND attempt = 0"),
		$waiting, "$name: $lives jobs are gone, the others wait");
	is($node->safe_psql('postgres',
			"SELECT sum(fpi_size) FROM pg_get_wal_stats('$from', '$to')"),
		'0', "$name: no full-page image is written");
	note($node->safe_psql('postgres', qq{
		SELECT format('%s: %s records, %s bytes a job', "resource_manager/record_type", count,
			round((record_size / $lives)::numeric, 1))
		FROM pg_get_wal_stats('$from', '$to', true) WHERE count > 0 ORDER BY record_size DESC LIMIT 12}));
	my $bytes = $node->safe_psql('postgres', "SELECT ('$to'::pg_lsn - '$from'::pg_lsn) / $lives");
	my $stats = $node->safe_psql('postgres', q{
		SELECT n_tup_upd, n_tup_hot_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'jobs'});
	my ($updated, $hot, $deleted) = split /\|/, $stats;
	is($deleted, $lives, "$name: the statistics know of every job");
	my $percent = 100 * $hot / $updated;
	note("$name: $bytes bytes a job, $percent % HOT of $updated updates");
	$node->safe_psql('postgres', "SELECT ecto_job.drop_queue('jobs')");
	return ($bytes, $percent, $updated);
}

my ($bytes, $hot, $updated) = life('one step', 'one_step');
cmp_ok($bytes, '<=', 260, 'one step: a job costs at most 260 bytes of WAL');
is($updated, $lives, 'one step: a job is updated once');
cmp_ok($hot, '==', 100, 'one step: every update is HOT');

foreach my $done ('delete_job_changeset', 'initial_multi')
{
	$node->safe_psql('postgres', two_steps($done));
	($bytes, $hot, $updated) = life($done, 'two_steps');
	cmp_ok($bytes, '<=', 480, "$done: a job costs at most 480 bytes of WAL");
	is($updated, 2 * $lives, "$done: a job is updated twice");
	cmp_ok($hot, '>=', 95, "$done: at least 95 % of the updates are HOT");
}

$node->stop;
done_testing();
