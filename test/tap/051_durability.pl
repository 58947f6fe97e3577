# What was acknowledged is there after a crash, as it was given, once; and no id comes again.
#
# I1, I23. Seen to fail with test/mutants/enqueue_not_flushed.patch and ids_reused.patch.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

# The WAL writer would flush by itself what nobody waited for
my $node = new_node(conf => "wal_writer_delay = 10s\nfsync = on\n");

sub sql { return $node->safe_psql('postgres', shift); }

sub crash
{
	ok(kill9_and_wait($node), shift);
	$node->start;
}

my $params = q({"text": "äöü \\" \\\\ \\n", "big": 123456789012345678901234567890.5, "null": null, "list": [1, {}], "": false});
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.create_queue('blobs', params_type => 'binary')");
# Of the last segment of a freshly started server nothing else flushes
my $id = sql("SELECT ecto_job.enqueue('jobs', \$json\$$params\$json\$, schedule => '2999-12-31 23:59:59.999999+00', max_attempts => 7,
	priority => -2147483648, notify => 'n', meta => '{\"a\": []}')");
crash('a crash right after the acknowledgement');
is(sql('SELECT count(*) FROM jobs'), 1, 'an acknowledged job is there');
is(sql("SELECT params = \$json\$$params\$json\$::jsonb AND schedule = '2999-12-31 23:59:59.999999+00' AND max_attempts = 7
	AND priority = -2147483648 AND notify = 'n' AND meta = '{\"a\": []}' AND state = 'SCHEDULED' FROM jobs"), 't', 'as it was given');
sql("INSERT INTO blobs (params) VALUES (decode('00ff0a5c27', 'hex'))");
crash('another, after a plain INSERT');
is(sql("SELECT encode(params, 'hex') FROM blobs"), '00ff0a5c27', 'bytes too');

# Done and acknowledged: its writes and its end, together
sql('CREATE TABLE done (id bigint)');
my $held = sql("SELECT id || ' ' || lease FROM ecto_job.start_available_jobs('blobs')");
my ($job, $lease) = split / /, $held;
sql("BEGIN; SELECT ecto_job.complete_job('blobs', $job, $lease); INSERT INTO done VALUES ($job); COMMIT");
crash('a crash right after a completion');
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '01', 'the job is gone, and its writes are there');
my (undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('blobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: /, 'nobody completes it again, JQ001');

# With synchronous_commit = off the last commits may be lost, each with all that it wrote. Nothing else may flush them
sql('SELECT ecto_job.disable(); TRUNCATE done');
$id = sql("SELECT ecto_job.enqueue('blobs', params_binary => '')");
my $start = "SELECT id || ' ' || lease || ' ' || attempt FROM ecto_job.start_available_jobs('blobs')";
($job, $lease) = split / /, sql("SET synchronous_commit = off; $start");
crash('a crash right after a start that waits for no disk');
is(sql('SELECT state, attempt FROM blobs'), 'AVAILABLE|0', 'it never was');
my $again = sql($start);
like($again, qr/^$id \d+ 1$/, 'the attempt has the same number again');
(undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('blobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: job $id of queue "blobs" is no longer yours$/m, 'but not the same lease: who lost it is told, JQ001');
($job, $lease) = split / /, $again;
my $complete = "BEGIN; SELECT ecto_job.complete_job('blobs', $job, $lease); INSERT INTO done VALUES ($job); COMMIT";
sql("SET synchronous_commit = off; $complete");
crash('a crash right after such a completion');
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '10', 'the completion and its writes are lost together');
sql($complete);
is(sql('SELECT (SELECT count(*) FROM blobs) || (SELECT count(*) FROM done)::text'), '01', 'its holder completes it again');
sql('SELECT ecto_job.enable()');

# Ids: of jobs that are gone, and of those that were rolled back or lost
my $last = sql("SELECT ecto_job.enqueue('jobs', '{}')");
sql('DELETE FROM jobs');
cmp_ok(sql("SELECT ecto_job.enqueue('jobs', '{}')"), '>', $last, 'the id of a job that is gone is not given again');
$last = sql("SELECT max(id) FROM jobs");
sql('DELETE FROM jobs');
crash('a crash');
cmp_ok(sql("SELECT ecto_job.enqueue('jobs', '{}')"), '>', $last, 'nor after a crash');

$node->stop;
done_testing();
