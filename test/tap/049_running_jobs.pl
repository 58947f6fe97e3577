# running_jobs shows which session holds a job's lease, and which session or prepared transaction has its row locked; on
# a standby it shows the jobs alone. queue_depth counts there as on the primary.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(allows_streaming => 1, conf => "ecto_job.enabled = off\nmax_prepared_transactions = 3\n");

sub sql { return $node->safe_psql('postgres', shift); }

# column($id, $columns): returns columns of a running job; NULL is empty
sub column
{
	my ($id, $columns) = @_;
	return sql("SELECT $columns FROM ecto_job.running_jobs('jobs') WHERE id = $id");
}

# take($session): starts a job in the session and returns its id and lease
sub take { return split / /, shift->query_safe("SELECT id || ' ' || lease FROM ecto_job.start_available_jobs('jobs')"); }

sql(q{SELECT ecto_job.create_queue('jobs');
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	CREATE ROLE reader LOGIN;
	GRANT SELECT ON jobs TO reader;
	SELECT ecto_job.enqueue('jobs', '{}') FROM generate_series(1, 4)});

# The lease's session
my $bound = session($node);
my $unbound = session($node);
$bound->query_safe("SET ecto_job.session_leases = on; SET application_name = 'worker-7'");
my ($id, $lease) = take($bound);
my ($other, $other_lease) = take($unbound);
my $pid = $bound->query_safe('SELECT pg_backend_pid()');
is(column($id, 'pid, application_name, client_addr'), "$pid|worker-7|", 'a job under a bound lease shows the session of its lease');
is(column($other, 'pid, application_name'), '|', 'a job under a lease of no session shows no session');
is(column($id, 'lease'), $lease, 'the lease is shown');
my $seen = "SELECT pid, application_name FROM ecto_job.running_jobs('jobs') WHERE id = $id";
is($node->safe_psql('postgres', $seen, extra_params => [ '-U', 'monitor' ]), "$pid|worker-7", 'pg_monitor sees the session');
is($node->safe_psql('postgres', $seen, extra_params => [ '-U', 'reader' ]), "$pid|worker-7", 'a reader sees the session as pg_stat_activity shows it');

sql("INSERT INTO jobs (params, state, lease, expires) VALUES ('{}', 'RESERVED', 1, now())");
is(sql("SELECT count(*), count(pid) FROM ecto_job.running_jobs('jobs') WHERE lease = 1"), '1|0', 'a lease that we did not draw shows no session');
sql('DELETE FROM jobs WHERE lease = 1');

# The row's lock: a completion that is not committed, one within a savepoint, and locks that are shared
my $locked = 'locked_by_pid, locked_by_gid';
is(column($id, $locked), '|', 'a job whose row nobody has locked shows no transaction');
$bound->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease)");
is(column($id, $locked), "$pid|", 'a job that is being completed shows the session that completes it');
is(sql("SELECT pid FROM ecto_job.running_jobs('jobs') WHERE locked_by_pid IS NULL"), '', 'another job shows no session');
$bound->query_safe("ROLLBACK; BEGIN; SELECT 1; SAVEPOINT s; SELECT ecto_job.complete_job('jobs', $id, $lease)");
is(column($id, $locked), "$pid|", 'a completion within a savepoint shows the session');
$bound->query_safe('ROLLBACK TO s');
is(column($id, $locked), '|', 'a completion that is rolled back to a savepoint shows none');
$bound->query_safe('ROLLBACK');
$bound->query_safe("BEGIN; SELECT FROM jobs WHERE id = $id FOR SHARE");
$unbound->query_safe("BEGIN; SELECT FROM jobs WHERE id = $id FOR SHARE");
$bound->query_safe('ROLLBACK');
is(column($id, $locked), $unbound->query_safe('SELECT pg_backend_pid()') . '|', 'of locks that two have shared the one that is left is shown');
$unbound->query_safe('ROLLBACK');
is(column($id, $locked), '|', 'locks that have ended show no session');

# A prepared transaction, with and without a savepoint
$unbound->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $other, $other_lease); PREPARE TRANSACTION 'forgotten'");
is(column($other, $locked), '|forgotten', 'a prepared completion shows the name of its transaction');
is($node->safe_psql('postgres', "SELECT locked_by_gid FROM ecto_job.running_jobs('jobs') WHERE id = $other", extra_params => [ '-U', 'monitor' ]),
	'forgotten', 'pg_monitor sees the name');
$bound->query_safe("BEGIN; SELECT 1; SAVEPOINT s; SELECT ecto_job.complete_job('jobs', $id, $lease); PREPARE TRANSACTION 'within'");
is(column($id, $locked), '|within', 'a prepared completion within a savepoint shows the name of its transaction');
sql("ROLLBACK PREPARED 'within'");
is(column($id, $locked), '|', 'a prepared transaction that was rolled back is not shown');

# A standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$bound->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease)");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $jobs = "SELECT count(*), count(expires), count(pid), count(locked_by_pid), count(locked_by_gid) FROM ecto_job.running_jobs('jobs')";
is(sql($jobs), '2|2|1|1|1', 'the primary knows the session and both transactions');
is($standby->safe_psql('postgres', $jobs), '2|2|0|0|0', 'a standby lists the jobs, and knows neither sessions nor transactions');
is($standby->safe_psql('postgres', "SELECT string_agg(jobs::text, ' ') FROM ecto_job.queue_depth('jobs')"), '0 2 0 2 0 0', 'a standby counts');
is($standby->safe_psql('postgres', "SELECT count(*) FROM ecto_job.queue_depth('jobs')", extra_params => [ '-U', 'monitor' ]),
	6, 'pg_monitor counts on a standby');
sql("SELECT ecto_job.create_queue('unlogged'); ALTER TABLE unlogged SET UNLOGGED");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
(undef, undef, my $refusal) = $standby->psql('postgres', "SELECT * FROM ecto_job.queue_depth('unlogged')");
like($refusal, qr/the jobs of queue "unlogged" are not on this standby/, 'a standby does not read the missing file of an unlogged table');
sql("SELECT ecto_job.drop_queue('unlogged')");
$standby->stop;
$bound->query_safe('ROLLBACK');

# An ended session
$bound->quit;
is(column($id, 'pid, application_name'), '|', 'a job of a session that has ended shows no session');
sql("COMMIT PREPARED 'forgotten'");
is(sql("SELECT count(*) FROM ecto_job.running_jobs('jobs')"), 1, 'a completed job is not listed');
$unbound->quit;

# A session waits for the table's lock as a SELECT does, and not one without rights
my $locker = session($node);
$locker->query_safe('BEGIN; LOCK TABLE jobs');
my (undef, undef, $error) = $node->psql('postgres', "SET lock_timeout = '10ms'; SELECT * FROM ecto_job.queue_depth('jobs')");
like($error, qr/canceling statement due to lock timeout/, 'a reader waits for the lock of the table');
$locker->query_safe('ROLLBACK');
# Nothing stays locked: a session that held an index alone would wait for DROP TABLE, which would wait for the index
$locker->query_safe("BEGIN; SELECT count(*) FROM ecto_job.queue_depth('jobs'); SELECT count(*) FROM ecto_job.running_jobs('jobs')");
is($locker->query_safe("SELECT count(*) FROM pg_locks JOIN pg_class c ON c.oid = relation
	WHERE pid = pg_backend_pid() AND c.relname LIKE 'jobs%'"), 0, 'neither the table nor an index stays locked until the end of the transaction');
$locker->query_safe('ROLLBACK; BEGIN; LOCK TABLE jobs');
sql('CREATE ROLE stranger LOGIN');
(undef, undef, $error) = $node->psql('postgres', "SET lock_timeout = '10ms'; SELECT * FROM ecto_job.queue_depth('jobs')",
	extra_params => [ '-U', 'stranger' ]);
like($error, qr/permission denied for table jobs/, 'a role without rights gets its error and no lock');
$locker->quit;

# An owner's long values of the column state are not decompressed: 20 MB each
sql(q{SELECT ecto_job.create_queue('long'); ALTER TABLE long DROP CONSTRAINT long_state_check;
	INSERT INTO long (params, state) SELECT '{}', repeat('x', 20000000) FROM generate_series(1, 20)});
my $peak = sql(q{SELECT count(*) FROM ecto_job.queue_depth('long') \g /dev/null
	SELECT count(*) FROM ecto_job.running_jobs('long') \g /dev/null
	SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') FROM 'VmHWM:\s+(\d+)')});
cmp_ok($peak, '<', 200_000, "neither function decompresses what is no state (${peak} kB)");
$node->stop;

# Without preload nobody knows the sessions of leases
my $plain = new_node(name => 'plain', preload => 0, extension => 0);
$plain->safe_psql('postgres', "SET client_min_messages = error; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs');
	INSERT INTO jobs (params, state, lease, expires) VALUES ('{}', 'IN_PROGRESS', 2097153, now()), ('{}', 'RESERVED', 1, now())");
is($plain->safe_psql('postgres', "SELECT count(*), count(pid) FROM ecto_job.running_jobs('jobs')"), '2|0', 'without preload jobs are listed without sessions');
$plain->stop;
done_testing();
