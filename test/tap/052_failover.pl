# Failover to a synchronous and to an asynchronous standby: which acknowledged jobs are kept, which holder of a lease may
# complete a job, what may be lost.
#
# A synchronous standby has every acknowledged job. An asynchronous standby may lack the last jobs, may give their ids
# to other jobs, and after its promotion a completed job may run again, its writes being lost too. The lease refuses a
# holder whose job was started again, whose id belongs to another job, or whose attempt was lost. Seen to fail with
# test/mutants/complete_any_lease.patch and with synchronous_commit = on instead of local in the scheduler.
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

# A synchronous standby
my ($primary, $standby) = new_pair('sync');
sql($primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication");
sql($primary, "SELECT ecto_job.enqueue('jobs', '{\"n\": $_}')") for 1 .. 3;
my ($id, $lease) = start($primary);
my @second = start($primary);
is(complete($primary, $id, $lease, 'before'), 'done', 'a job is completed before the failover');
sql($primary, "BEGIN; SELECT ecto_job.start_available_jobs('jobs'); PREPARE TRANSACTION 'p'");
$primary->stop('immediate');
$standby->promote;
is(sql($standby, "SELECT string_agg(state, ' ' ORDER BY id) FROM jobs"), 'IN_PROGRESS AVAILABLE',
	'every acknowledged job is on the new primary, and none that was completed');
is(sql($standby, 'SELECT * FROM done'), "$id|before", 'the writes of a completed job are on the new primary');
is(complete($standby, @second, 'after'), 'done', 'a holder of a lease from before completes on the new primary');
is(complete($standby, $id, $lease, 'again'), 'JQ001', 'a completed job cannot be completed again on the new primary');
is(join('', start($standby)), '', 'a start that was prepared before the failover hides its job');
is(sql($standby, 'SELECT gid FROM pg_prepared_xacts'), 'p', 'a start that was prepared before the failover is in pg_prepared_xacts');
sql($standby, "ROLLBACK PREPARED 'p'");
is((start($standby))[0], $second[0] + 1, 'ROLLBACK PREPARED makes the hidden job available');
sql($standby, "INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($standby, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0, 'the scheduler runs on the new primary');
$standby->stop;

# An asynchronous standby, which does not receive the last commits
($primary, $standby) = new_pair('async');
sql($primary, q{SELECT ecto_job.enqueue('jobs', '{"n": 1}')});
$primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert'));
sql($standby, "ALTER SYSTEM SET primary_conninfo = ''");
$standby->reload;
becomes($standby, 'SELECT count(*) FROM pg_stat_wal_receiver', 0, 'the standby receives no more WAL');
($id, $lease) = start($primary);
is(complete($primary, $id, $lease, 'lost'), 'done', 'a job is completed on the primary alone');
sql($primary, q{SELECT ecto_job.enqueue('jobs', '{"n": 2}')});
my @lost = start($primary);
$primary->stop('immediate');
$standby->promote;
is(sql($standby, "SELECT id || state FROM jobs"), "${id}AVAILABLE", 'the completed job is back, and the enqueued one is lost');
is(sql($standby, 'SELECT count(*) FROM done'), 0, 'the writes of the completed job are lost with its completion');
is(complete($standby, $id, $lease, 'former holder'), 'JQ001', 'the former holder cannot complete the job that is back');
my @again = start($standby);
is(complete($standby, $id, $lease, 'former holder'), 'JQ001', 'the former holder cannot complete the job that another has started');
is(complete($standby, @again, 'again'), 'done', 'the new holder completes the job that was back');
# WAL has a sequence's values ahead of their use, so the standby's ids would continue behind the lost ones. setval() sets
# the sequence back, as it would be on an older standby
sql($standby, "SELECT setval(pg_get_serial_sequence('jobs', 'id'), $lost[0], false)");
is(sql($standby, q{SELECT ecto_job.enqueue('jobs', '{"n": 3}')}), $lost[0], 'the id of the lost job is given to another job');
my @other = start($standby);
is(complete($standby, @lost, 'former holder'), 'JQ001', 'the holder of the lost job cannot complete the job that has its id');
is(complete($standby, @other, 'other'), 'done', 'the holder of the job with the reused id completes it');
is(sql($standby, "SELECT string_agg(who, ' ' ORDER BY who) FROM done"), 'again other', 'each job on the new primary was done once');
$standby->stop;

# A synchronous standby that does not exist: commits wait, sweeps do not
$primary = new_node(name => 'alone', allows_streaming => 1); # without WAL senders no commit waits
sql($primary, q{SELECT ecto_job.create_queue('jobs');
	INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + interval '2 s');
	INSERT INTO jobs (params, state, attempt, expires, lease) VALUES ('{}', 'IN_PROGRESS', 1, clock_timestamp() + interval '2 s', 42)});
sql($primary, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'");
becomes($primary, "SELECT count(*) FROM jobs WHERE state = 'AVAILABLE'", 2, 'the scheduler sweeps while commits wait for a standby');
my $producer = $primary->background_psql('postgres', on_error_stop => 0);
my $pid = $producer->query_safe('SELECT pg_backend_pid()');
$producer->{stdin} .= "INSERT INTO jobs (params) VALUES ('{\"n\": 9}');\n";
$producer->{run}->pump_nb;
becomes($primary, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'SyncRep', 'a commit waits for the missing standby');
is(sql($primary, q{SELECT count(*) FROM jobs WHERE params = '{"n": 9}'}), 0, 'the job of a waiting commit is not visible');
sql($primary, "SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names");
$primary->reload;
becomes($primary, q{SELECT count(*) FROM jobs WHERE params = '{"n": 9}'}, 1, 'the job is visible when its commit waits no more');
$producer->quit;
$primary->stop;
done_testing();
