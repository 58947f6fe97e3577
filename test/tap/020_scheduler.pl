# The scheduler moves due and expired jobs by itself, and at once after a change of its configuration; the view
# ecto_job.queues reports its state. Settings, signals, DDL and restarts start and stop the scheduler.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();

sub sql { return $node->safe_psql('postgres', shift); }

sub schedulers
{
	return sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
}

becomes($node,
	"SELECT application_name FROM pg_stat_activity WHERE backend_type = 'ecto_job launcher'",
	'ecto_job launcher', 'the launcher runs');
is(schedulers(), 0, 'no scheduler runs without a queue');

sql("SELECT ecto_job.create_queue('jobs')");
becomes($node,
	"SELECT datname, application_name FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	'postgres|ecto_job scheduler', 'the first queue starts a scheduler');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass", 'ok',
	'the view reports that the new queue is ok');
my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");

# Due jobs
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN jobs');
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("SELECT ecto_job.enqueue('jobs', '{\"n\": 1}', schedule => clock_timestamp() + interval '300 ms')");
is(sql('SELECT state FROM jobs'), 'SCHEDULED', 'a job for later is SCHEDULED');
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'a SCHEDULED job becomes AVAILABLE when it is due');
my $notified = '';
ok( poll_until(
		sub { ($notified .= $listener->query('SELECT 1')) =~ /notification "jobs".*PID $pid/ },
		'the notification of a due job'),
	'the scheduler notifies listeners of a due job');
$listener->quit;

# Expired jobs
sql("SELECT ecto_job.reserve_available_jobs('jobs', 1, timeout_ms => 1)");
becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|0',
	'a job whose reservation expired is AVAILABLE, and no attempt is counted');
sql("SELECT ecto_job.start_available_jobs('jobs', 1, '1 ms')");
becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|1',
	'a job whose attempt expired is AVAILABLE, and the attempt is counted');
sql('UPDATE jobs SET max_attempts = 2');
sql("SELECT ecto_job.start_available_jobs('jobs', 1, '1 ms')");
becomes($node, 'SELECT state, attempt FROM jobs', 'FAILED|2', 'a job whose last attempt expired is FAILED');
becomes($node, "SELECT activated, expired, failed, status FROM ecto_job.queues WHERE queue = 'jobs'::regclass",
	'1|2|1|ok', 'the view counts activated, expired and failed jobs');
is(sql("SELECT last_sweep > clock_timestamp() - interval '1 minute' FROM ecto_job.queues"),
	't', 'the view shows the time of the last sweep');

# A job that a consumer's transaction has locked is skipped
sql("SELECT ecto_job.enqueue('jobs', '{}') FROM generate_series(1, 2)");
sql("SELECT ecto_job.start_available_jobs('jobs', 2, '1 hour')");
my $consumer = $node->background_psql('postgres');
my $held = $consumer->query_safe(
	"BEGIN; SELECT min(id) FROM jobs WHERE state = 'IN_PROGRESS' \\gset
	 SELECT id FROM jobs WHERE id = :min FOR UPDATE");
$held =~ s/\s//g;
sql("UPDATE jobs SET expires = clock_timestamp() WHERE state = 'IN_PROGRESS' AND id <> $held");
becomes($node, "SELECT state FROM jobs WHERE id = (SELECT max(id) FROM jobs)",
	'AVAILABLE', 'a locked job keeps no other job waiting');
$consumer->query_safe('COMMIT');
$consumer->quit;

# Changes of the configuration take effect at once
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')");
sql('TRUNCATE jobs');
sql("SELECT ecto_job.create_queue('slow')");
becomes($node, "SELECT last_sweep IS NOT NULL FROM ecto_job.queues WHERE queue = 'slow'::regclass",
	't', 'a new queue is swept at once');
sql("SELECT ecto_job.configure_queue('slow', poll_interval => '1 day')");
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', '2999-01-02'), ('{}', '2999-01-01')");
my $next_due = "SELECT next_due FROM ecto_job.queues WHERE queue = 'jobs'::regclass";
is(sql($next_due), '2999-01-01 00:00:00+00', 'the view shows the earliest due time');
sql('SELECT ecto_job.disable()');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'disable() stops the scheduler');
is(sql("SELECT DISTINCT status FROM ecto_job.queues"), 'disabled', 'the view reports that the queues are disabled');
sql('TRUNCATE jobs');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT schedule < clock_timestamp() FROM jobs', 't', 'a job comes due while the scheduler is disabled');
is(sql($next_due), sql('SELECT schedule FROM jobs'),
	'the view shows the due time of a job while the scheduler is disabled');
is(sql('SELECT state FROM jobs'), 'SCHEDULED', 'a due job stays SCHEDULED while the scheduler is disabled');
sql('SELECT ecto_job.enable()');
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'enable() starts the scheduler, which sweeps at once');
becomes($node, $next_due, '', 'the view shows no due time when no job is SCHEDULED');

# More due jobs than a batch holds
sql("INSERT INTO jobs (params, schedule) SELECT '{}', clock_timestamp() + interval '50 ms'
     FROM generate_series(1, 3500)");
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0,
	'3,500 due jobs, which are several batches, are all moved');

# Rights
sql('CREATE ROLE stranger LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ecto_job.queues', extra_params => [ '-U', 'stranger' ]),
	0, 'a role that may not read a queue does not see it in the view');
is( $node->safe_psql('postgres',
		"SELECT status IS NULL, activated IS NULL FROM ecto_job.queue_status('jobs', true)",
		extra_params => [ '-U', 'stranger' ]),
	't|t', 'queue_status() shows nothing to a role that may not read the queue');
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', '2999-01-01')");
becomes($node, $next_due, '2999-01-01 00:00:00+00', 'the view shows the due time of a job that waits');
is( $node->safe_psql('postgres',
		"SELECT count(*), count(status), count(next_due) FROM ecto_job.queues",
		extra_params => [ '-U', 'monitor' ]),
	'2|2|0', "pg_monitor sees the queues' status, and no due time of a job");

# Signals and settings
is(schedulers(), 1, 'exactly one scheduler runs');
$pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
is(sql("SELECT pg_cancel_backend($pid)"), 't', 'SIGINT is sent to the scheduler');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"after\": 1}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM jobs WHERE params = '{\"after\": 1}'", 'AVAILABLE',
	'the scheduler sweeps after SIGINT');
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'"),
	$pid, 'the scheduler is the same process after SIGINT');
sql("SELECT pg_terminate_backend($pid)");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $pid",
	1, 'the scheduler is started again after SIGTERM');

sql("ALTER SYSTEM SET ecto_job.enabled = off");
$node->reload;
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues", 'no scheduler: ecto_job.enabled is off',
	'the view reports that ecto_job.enabled is off');
# The scheduler reads the setting a moment later than this test: when ten queries show the same last sweep, it has
my ($same, $last) = (0, '');
poll_until(
	sub {
		my $sweep = sql('SELECT max(last_sweep) FROM ecto_job.queues');
		$same = $sweep eq $last ? $same + 1 : 0;
		$last = $sweep;
		return $same == 10;
	},
	'the end of the sweeps');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"off\": 1}', clock_timestamp(), 'SCHEDULED')");
sql("SELECT ecto_job.configure_queue('jobs', retry_timeout => '3 s')");
is(schedulers(), 1, 'the scheduler stays while ecto_job.enabled is off');
is(sql('SELECT max(last_sweep) FROM ecto_job.queues'), $last,
	'the scheduler sweeps nothing while ecto_job.enabled is off');
sql("ALTER SYSTEM RESET ecto_job.enabled");
$node->reload;
becomes($node, "SELECT state FROM jobs WHERE params = '{\"off\": 1}'", 'AVAILABLE',
	'the scheduler sweeps when ecto_job.enabled is on again');

sql("ALTER SYSTEM SET ecto_job.databases = 'template1, other'");
$node->reload;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'a database that ecto_job.databases does not name loses its scheduler');
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues",
	'no scheduler: ecto_job.databases does not name this database',
	'the view says that ecto_job.databases does not name the database');
sql("ALTER SYSTEM SET ecto_job.databases = 'postgres'");
$node->reload;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	1, 'the scheduler is back when ecto_job.databases names the database again');
my ($status, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET ecto_job.databases = '\"x'");
like($error, qr/invalid value for parameter "ecto_job.databases"/, 'ecto_job.databases refuses a malformed list');

# The extension is dropped and created again
is(scalar $node->psql('postgres', 'BEGIN; DROP EXTENSION ecto_job CASCADE; ROLLBACK'), 0,
	'DROP EXTENSION succeeds in a transaction that is rolled back');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"rolled back\": 1}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM jobs WHERE params = '{\"rolled back\": 1}'", 'AVAILABLE',
	'the scheduler goes on after a DROP EXTENSION that was rolled back');
sql('DROP EXTENSION ecto_job CASCADE');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'DROP EXTENSION ends the scheduler');
sql('DROP TABLE jobs, slow');
sql("BEGIN; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs'); ROLLBACK");
is(schedulers(), 0, 'a CREATE EXTENSION that was rolled back starts no scheduler');
sql("BEGIN; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs');
     SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'the scheduler sweeps when the extension is created again');

# The extension is dropped and created in one transaction: the scheduler finds another extension, and queues of equal names
sql("BEGIN; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs; CREATE EXTENSION ecto_job;
     SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE',
	'the scheduler sweeps when the extension is recreated in one transaction');

# The extension is recreated while the scheduler is between its snapshot, which does not show the new extension, and the
# lookup of the extension's OID, which finds it
my $remaker = $node->background_psql('postgres');
$remaker->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE');
my $looking = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
sql('SELECT pg_reload_conf()'); # has the scheduler look the extension up
becomes($node, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_extension'::regclass AND pid = $looking", 1,
	'the scheduler waits for the catalog of extensions');
$remaker->query_safe("SET client_min_messages = error; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs; CREATE EXTENSION ecto_job;
	SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
is($remaker->query_safe('SELECT 1'), '1', 'recreating the extension during the lookup ends no session');
$remaker->quit;
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'an extension recreated during the lookup is served');
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'"), $looking,
	'an extension recreated during the lookup is served by the same scheduler');

# Queues that are dropped
sql("SELECT ecto_job.create_queue('brief')");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE last_sweep IS NOT NULL", 2, 'two queues are swept');
sql('DROP TABLE brief');
sql("BEGIN; ALTER TABLE ecto_job.queue_settings DISABLE TRIGGER registry_changed;
     INSERT INTO ecto_job.queue_settings (queue) VALUES (4000000000::oid::regclass);
     ALTER TABLE ecto_job.queue_settings ENABLE ALWAYS TRIGGER registry_changed; COMMIT");
sql("SELECT ecto_job.configure_queue('jobs')"); # the scheduler reads the registry
becomes($node, 'SELECT count(*) FROM ecto_job.queue_settings', 1,
	'the scheduler deletes the settings of a queue whose table is gone');
sql("SELECT ecto_job.drop_queue('jobs')");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'the scheduler leaves when no queue is left');

# An extension that is newer than the library, and one that is older
sql("SELECT ecto_job.create_queue('jobs')");
my $log = -s $node->logfile;
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT status FROM ecto_job.queues", 'ok',
	'the queue is ok while extension and library have the same version');
sql("UPDATE pg_extension SET extversion = '999.1' WHERE extname = 'ecto_job'");
sql("SELECT ecto_job.configure_queue('jobs')"); # the scheduler reads the registry
ok(wait_for_log($node, qr/version 999\.1 there, the library is/, $log),
	'the log says that the extension is newer than the library');
becomes($node, "SELECT status FROM ecto_job.queues",
	'no scheduler: the extension is newer than the library; restart the server',
	'the view says that the extension is newer than the library');
sql("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'ecto_job';
     SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 s')");
becomes($node, "SELECT status FROM ecto_job.queues", 'ok', 'an extension older than the library is served');


# Restart
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + interval '1 s')");
$node->restart;
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'the scheduler is back after a restart, without help');

# The SIGTERM above may have met a sweep, which is then reported
unlike(slurp_file($node->logfile),
	qr/WARNING:(?!.*the scheduler ended during it)|exited with exit code [^1]|ERROR:.*sched/,
	'the log holds no warning, no abnormal exit and no error of the scheduler');

$node->stop;
done_testing();
