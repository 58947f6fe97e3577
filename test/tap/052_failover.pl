# Failover, synchronous and not: what was acknowledged before it, who may finish what, and what may be lost.
#
# A synchronous standby has every acknowledged job. An asynchronous one may lack the last ones, may give their ids
# to other jobs, and runs a completed job again together with its writes: the lease tells the old holder, that of
# another job, or of an attempt that never was. Seen to fail with test/mutants/complete_any_lease.patch and with
# synchronous_commit = on instead of local in the scheduler.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub sql { my ($node, $query) = @_; return $node->safe_psql('postgres', $query); }

sub new_pair
{
	my ($name) = @_;
	my $primary = new_node(name => "${name}_primary", allows_streaming => 1, conf => "max_prepared_transactions = 2\n");
	sql($primary, q{SELECT ecto_job.create_queue('jobs'); CREATE TABLE done (id bigint, who text)});
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new("${name}_standby");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $primary->connstr . " application_name=standby'");
	$standby->start;
	$primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert'));
	return ($primary, $standby);
}

sub start
{
	my ($node) = @_;
	return split /\|/, sql($node, q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs')});
}

sub complete
{
	my ($node, $id, $lease, $who) = @_;
	my ($status, undef, $error) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\nBEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease); INSERT INTO done VALUES ($id, '$who'); COMMIT",
		on_error_stop => 1);
	return $status == 0 ? 'done' : $error =~ /ERROR:  (\w+)/ ? $1 : $error;
}

# Synchronous
my ($primary, $standby) = new_pair('sync');
sql($primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication");
sql($primary, "SELECT ecto_job.enqueue('jobs', '{\"n\": $_}')") for 1 .. 3;
my ($id, $lease) = start($primary);
my @second = start($primary);
is(complete($primary, $id, $lease, 'before'), 'done', 'a job is completed before it');
sql($primary, "BEGIN; SELECT ecto_job.start_available_jobs('jobs'); PREPARE TRANSACTION 'p'");
$primary->stop('immediate');
$standby->promote;
is(sql($standby, "SELECT string_agg(state, ' ' ORDER BY id) FROM jobs"), 'IN_PROGRESS AVAILABLE',
	'every acknowledged job is on the new primary, and none that was completed');
is(sql($standby, 'SELECT * FROM done'), "$id|before", 'with its writes');
is(complete($standby, @second, 'after'), 'done', 'a lease from before goes on: its holder completes there');
is(complete($standby, $id, $lease, 'again'), 'JQ001', 'and the completed one is done once');
is(join('', start($standby)), '', 'a start that was prepared before it hides its job');
is(sql($standby, 'SELECT gid FROM pg_prepared_xacts'), 'p', 'and can be seen');
sql($standby, "ROLLBACK PREPARED 'p'");
is((start($standby))[0], $second[0] + 1, 'until it is rolled back');
sql($standby, "INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($standby, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0, 'the scheduler runs there');
$standby->stop;

# Asynchronous: the standby does not get the last commits
($primary, $standby) = new_pair('async');
sql($primary, q{SELECT ecto_job.enqueue('jobs', '{"n": 1}')});
$primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert'));
sql($standby, "ALTER SYSTEM SET primary_conninfo = ''");
$standby->reload;
becomes($standby, 'SELECT count(*) FROM pg_stat_wal_receiver', 0, 'the standby lags');
($id, $lease) = start($primary);
is(complete($primary, $id, $lease, 'lost'), 'done', 'a job is completed, which the standby does not hear of');
sql($primary, q{SELECT ecto_job.enqueue('jobs', '{"n": 2}')});
my @lost = start($primary);
$primary->stop('immediate');
$standby->promote;
is(sql($standby, "SELECT id || state FROM jobs"), "${id}AVAILABLE", 'the completed one is back, the enqueued one lost');
is(sql($standby, 'SELECT count(*) FROM done'), 0, 'the writes of the completed one went with its completion');
is(complete($standby, $id, $lease, 'zombie'), 'JQ001', 'its former holder cannot complete it');
my @again = start($standby);
is(complete($standby, $id, $lease, 'zombie'), 'JQ001', 'nor when another has started it');
is(complete($standby, @again, 'again'), 'done', 'who then completes it');
# Ids go on from a value that the sequence wrote ahead; force what an older standby would do
sql($standby, "SELECT setval(pg_get_serial_sequence('jobs', 'id'), $lost[0], false)");
is(sql($standby, q{SELECT ecto_job.enqueue('jobs', '{"n": 3}')}), $lost[0], 'the id of the lost one is given to another job');
my @other = start($standby);
is(complete($standby, @lost, 'zombie'), 'JQ001', 'which the holder of the lost one cannot complete');
is(complete($standby, @other, 'other'), 'done', 'but its own');
is(sql($standby, "SELECT string_agg(who, ' ' ORDER BY who) FROM done"), 'again other', 'each was done once');
$standby->stop;

# A synchronous standby that is not there: commits wait, sweeps do not
$primary = new_node(name => 'alone', allows_streaming => 1); # without WAL senders nobody waits
sql($primary, q{SELECT ecto_job.create_queue('jobs');
	INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + interval '2 s');
	INSERT INTO jobs (params, state, attempt, expires, lease) VALUES ('{}', 'IN_PROGRESS', 1, clock_timestamp() + interval '2 s', 42)});
sql($primary, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'");
becomes($primary, "SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'", 2, 'without its standby the scheduler goes on');
my $producer = $primary->background_psql('postgres', on_error_stop => 0);
my $pid = $producer->query_safe('SELECT pg_backend_pid()');
$producer->{stdin} .= "INSERT INTO jobs (params) VALUES ('{\"n\": 9}');\n";
$producer->{run}->pump_nb;
becomes($primary, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'SyncRep', 'a commit waits for it');
is(sql($primary, q{SELECT count(*) FROM jobs WHERE params = '{"n": 9}'}), 0, 'and nobody sees its job meanwhile');
sql($primary, "SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names");
$primary->reload;
becomes($primary, q{SELECT count(*) FROM jobs WHERE params = '{"n": 9}'}, 1, 'until it need not');
$producer->quit;
$primary->stop;
done_testing();
