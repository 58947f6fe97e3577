# Acknowledged jobs survive a crash unchanged, and no id is given twice.
#
# Invariants I1 and I23 (docs/reliability.md). Seen to fail with test/mutants/enqueue_not_flushed.patch and ids_reused.patch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

# With the default delay, the WAL writer would flush commits that no session has flushed
my $node = new_node(conf => "wal_writer_delay = 10s\nfsync = on\n");

sub sql { return $node->safe_psql('postgres', shift); }

sub crash
{
	ok(kill9_and_wait($node), shift);
	$node->start;
}

my $params = q({"text": "äöü \\" \\\\ \\n", "big": 123456789012345678901234567890.5, "null": null, "list": [1, {}], "": false});
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.create_queue('blobs', params_type => 'binary')");
# No other process flushes the WAL of a server that has just been started
my $id = sql("SELECT ecto_job.enqueue('jobs', \$json\$$params\$json\$, schedule => '2999-12-31 23:59:59.999999+00', max_attempts => 7,
	priority => -2147483648, notify => 'n', meta => '{\"a\": []}')");
crash('the server crashes right after it has acknowledged a job');
is(sql('SELECT count(*) FROM jobs'), 1, 'an acknowledged job survives the crash');
is(sql("SELECT params = \$json\$$params\$json\$::jsonb AND schedule = '2999-12-31 23:59:59.999999+00' AND max_attempts = 7
	AND priority = -2147483648 AND notify = 'n' AND meta = '{\"a\": []}' AND state = 'SCHEDULED' FROM jobs"), 't', 'an acknowledged job has all its values after the crash');
sql("INSERT INTO blobs (params) VALUES (decode('00ff0a5c27', 'hex'))");
crash('the server crashes right after a plain INSERT');
is(sql("SELECT encode(params, 'hex') FROM blobs"), '00ff0a5c27', 'binary params survive the crash');

# A job's acknowledged completion and its writes survive together
sql('CREATE TABLE done (id bigint)');
my $held = sql("SELECT id || ' ' || lease FROM ecto_job.start_available_jobs('blobs')");
my ($job, $lease) = split / /, $held;
sql("BEGIN; SELECT ecto_job.complete_job('blobs', $job, $lease); INSERT INTO done VALUES ($job); COMMIT");
crash('the server crashes right after a completion');
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '01', 'a completed job is gone after the crash, and its writes are there');
my (undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('blobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: /, 'a completed job cannot be completed again after the crash, JQ001');

# With synchronous_commit = off a crash may lose the last commits, each with all its writes. The scheduler, whose own
# commits would flush them, is disabled
sql('SELECT ecto_job.disable(); TRUNCATE done');
$id = sql("SELECT ecto_job.enqueue('blobs', params_binary => '')");
my $start = "SELECT id || ' ' || lease || ' ' || attempt FROM ecto_job.start_available_jobs('blobs')";
($job, $lease) = split / /, sql("SET synchronous_commit = off; $start");
crash('the server crashes right after a start with synchronous_commit = off');
is(sql('SELECT state, attempt FROM blobs'), 'AVAILABLE|0', 'a job whose start was lost is AVAILABLE, without an attempt');
my $again = sql($start);
like($again, qr/^$id \d+ 1$/, 'the next start has the attempt number of the lost start');
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('blobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: job $id of queue "blobs" is no longer yours$/m, 'the lease of the lost start completes nothing, JQ001');
($job, $lease) = split / /, $again;
my $complete = "BEGIN; SELECT ecto_job.complete_job('blobs', $job, $lease); INSERT INTO done VALUES ($job); COMMIT";
sql("SET synchronous_commit = off; $complete");
crash('the server crashes right after a completion with synchronous_commit = off');
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '10', 'the completion and its writes are lost together');
sql($complete);
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '01', 'the holder completes its job again after the lost completion');
sql('SELECT ecto_job.enable()');

# Ids of jobs that are gone
my $last = sql("SELECT ecto_job.enqueue('jobs', '{}')");
sql('DELETE FROM jobs');
cmp_ok(sql("SELECT ecto_job.enqueue('jobs', '{}')"), '>', $last, 'the id of a job that is gone is not given again');
$last = sql("SELECT max(id) FROM jobs");
sql('DELETE FROM jobs');
crash('the server crashes after jobs were deleted');
cmp_ok(sql("SELECT ecto_job.enqueue('jobs', '{}')"), '>', $last, 'the id of a job that is gone is not given again after a crash');

$node->stop;
done_testing();
