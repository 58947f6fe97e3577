# The scheduler moves what is due or expired, by itself and at once when told; the view says how it goes.
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
is(schedulers(), 0, 'no scheduler without a queue');

sql("SELECT ecto_job.create_queue('jobs')");
becomes($node,
	"SELECT datname, application_name FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	'postgres|ecto_job scheduler', 'the first queue brings a scheduler');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass", 'ok', 'and the view says so');
my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");

# Due jobs
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN jobs');
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("SELECT ecto_job.enqueue('jobs', '{\"n\": 1}', schedule => clock_timestamp() + interval '300 ms')");
is(sql('SELECT state FROM jobs'), 'SCHEDULED', 'a job for later is SCHEDULED');
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'and becomes AVAILABLE when it is due');
my $heard = '';
ok( poll_until(
		sub { ($heard .= $listener->query('SELECT 1')) =~ /notification "jobs".*PID $pid/ },
		'the notification'),
	'listeners are notified by the scheduler');
$listener->quit;

# Expired ones
sql("SELECT ecto_job.reserve_available_jobs('jobs', 1, timeout_ms => 1)");
becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|0', 'an expired reservation comes back');
sql("SELECT ecto_job.start_available_jobs('jobs', 1, '1 ms')");
becomes($node, 'SELECT state, attempt FROM jobs', 'AVAILABLE|1', 'an expired attempt comes back');
sql('UPDATE jobs SET max_attempts = 2');
sql("SELECT ecto_job.start_available_jobs('jobs', 1, '1 ms')");
becomes($node, 'SELECT state, attempt FROM jobs', 'FAILED|2', 'in the last attempt it is FAILED');
becomes($node, "SELECT activated, expired, failed, status FROM ecto_job.queues WHERE queue = 'jobs'::regclass",
	'1|2|1|ok', 'the view has counted');
is(sql("SELECT last_sweep > clock_timestamp() - interval '1 minute' FROM ecto_job.queues"),
	't', 'and knows the last sweep');

# A transaction that performs a job is passed by
sql("SELECT ecto_job.enqueue('jobs', '{}') FROM generate_series(1, 2)");
sql("SELECT ecto_job.start_available_jobs('jobs', 2, '1 hour')");
my $consumer = $node->background_psql('postgres');
my $held = $consumer->query_safe(
	"BEGIN; SELECT min(id) FROM jobs WHERE state = 'IN_PROGRESS' \\gset
	 SELECT id FROM jobs WHERE id = :min FOR UPDATE");
$held =~ s/\s//g;
sql("UPDATE jobs SET expires = clock_timestamp() WHERE state = 'IN_PROGRESS' AND id <> $held");
becomes($node, "SELECT state FROM jobs WHERE id = (SELECT max(id) FROM jobs)",
	'AVAILABLE', 'a locked job keeps no other waiting');
$consumer->query_safe('COMMIT');
$consumer->quit;

# At once when told
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')");
sql('TRUNCATE jobs');
sql("SELECT ecto_job.create_queue('slow')");
becomes($node, "SELECT last_sweep IS NOT NULL FROM ecto_job.queues WHERE queue = 'slow'::regclass",
	't', 'a new queue is swept at once');
sql("SELECT ecto_job.configure_queue('slow', poll_interval => '1 day')");
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', '2999-01-02'), ('{}', '2999-01-01')");
my $next_due = "SELECT next_due FROM ecto_job.queues WHERE queue = 'jobs'::regclass";
is(sql($next_due), '2999-01-01 00:00:00+00', 'the view knows what is due next');
sql('SELECT ecto_job.disable()');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'disable() stops it');
is(sql("SELECT DISTINCT status FROM ecto_job.queues"), 'disabled', 'and the view says so');
sql('TRUNCATE jobs');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT schedule < clock_timestamp() FROM jobs', 't', 'a job is due');
is(sql($next_due), sql('SELECT schedule FROM jobs'), 'and shown as such');
is(sql('SELECT state FROM jobs'), 'SCHEDULED', 'nothing moves while it is disabled');
sql('SELECT ecto_job.enable()');
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'enable() starts it, and it sweeps at once');
becomes($node, $next_due, '', 'and nothing waits for its time any more');

# More than a batch
sql("INSERT INTO jobs (params, schedule) SELECT '{}', clock_timestamp() + interval '50 ms'
     FROM generate_series(1, 3500)");
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'", 0, 'several batches in one turn');

# Rights
sql('CREATE ROLE stranger LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ecto_job.queues', extra_params => [ '-U', 'stranger' ]),
	0, 'who may not read a queue does not see it');
is( $node->safe_psql('postgres',
		"SELECT status IS NULL, activated IS NULL FROM ecto_job.queue_status('jobs', true)",
		extra_params => [ '-U', 'stranger' ]),
	't|t', 'nor through the function');
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', '2999-01-01')");
becomes($node, $next_due, '2999-01-01 00:00:00+00', 'a job waits');
is( $node->safe_psql('postgres',
		"SELECT count(*), count(status), count(next_due) FROM ecto_job.queues",
		extra_params => [ '-U', 'monitor' ]),
	'2|2|0', 'pg_monitor sees how it goes, and no job');

# Signals and settings
is(schedulers(), 1, 'one scheduler');
$pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
is(sql("SELECT pg_cancel_backend($pid)"), 't', 'SIGINT is sent');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"after\": 1}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM jobs WHERE params = '{\"after\": 1}'", 'AVAILABLE', 'and ignored');
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'"),
	$pid, 'by the same process');
sql("SELECT pg_terminate_backend($pid)");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $pid",
	1, 'after SIGTERM it comes back');

sql("ALTER SYSTEM SET ecto_job.enabled = off");
$node->reload;
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues", 'no scheduler: ecto_job.enabled is off',
	'ecto_job.enabled = off is seen');
# The scheduler reads it a moment later than we: it has when ten looks find the same last sweep
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
is(schedulers(), 1, 'the scheduler stays');
is(sql('SELECT max(last_sweep) FROM ecto_job.queues'), $last, 'and sweeps nothing');
sql("ALTER SYSTEM RESET ecto_job.enabled");
$node->reload;
becomes($node, "SELECT state FROM jobs WHERE params = '{\"off\": 1}'", 'AVAILABLE', 'and sweeps when it is on again');

sql("ALTER SYSTEM SET ecto_job.databases = 'template1, other'");
$node->reload;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'a database that is not listed loses its scheduler');
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues",
	'no scheduler: ecto_job.databases does not name this database', 'and the view says why');
sql("ALTER SYSTEM SET ecto_job.databases = 'postgres'");
$node->reload;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	1, 'listed again, it is back');
my ($status, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET ecto_job.databases = '\"x'");
like($error, qr/invalid value for parameter "ecto_job.databases"/, 'a broken list is refused');

# The extension goes and comes
is(scalar $node->psql('postgres', 'BEGIN; DROP EXTENSION ecto_job CASCADE; ROLLBACK'), 0, 'DROP EXTENSION works');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"rolled back\": 1}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT state FROM jobs WHERE params = '{\"rolled back\": 1}'", 'AVAILABLE',
	'DROP EXTENSION rolled back: it goes on');
sql('DROP EXTENSION ecto_job CASCADE');
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'DROP EXTENSION ends it');
sql('DROP TABLE jobs, slow');
sql("BEGIN; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs'); ROLLBACK");
is(schedulers(), 0, 'CREATE EXTENSION rolled back brings none');
sql("BEGIN; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs');
     SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'created again, it runs');

# In one transaction: the scheduler sees another extension, and queues with the same names
sql("BEGIN; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs; CREATE EXTENSION ecto_job;
     SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'made anew in one transaction, it runs');

# Made anew while the scheduler is between its snapshot, which does not show the new extension, and the look for its OID,
# which finds it
my $remaker = $node->background_psql('postgres');
$remaker->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE');
my $looking = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
sql('SELECT pg_reload_conf()'); # the scheduler looks
becomes($node, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_extension'::regclass AND pid = $looking", 1,
	'the scheduler waits for the catalog of extensions');
$remaker->query_safe("SET client_min_messages = error; DROP EXTENSION ecto_job CASCADE; DROP TABLE jobs; CREATE EXTENSION ecto_job;
	SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms'); COMMIT");
is($remaker->query_safe('SELECT 1'), '1', 'an extension made anew during the look ends no session');
$remaker->quit;
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'an extension made anew during the look is served');
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'"), $looking, 'the scheduler of before serves an extension made anew during the look');

# A queue that goes
sql("SELECT ecto_job.create_queue('brief')");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE last_sweep IS NOT NULL", 2, 'two queues');
sql('DROP TABLE brief');
sql("BEGIN; ALTER TABLE ecto_job.queue_settings DISABLE TRIGGER registry_changed;
     INSERT INTO ecto_job.queue_settings (queue) VALUES (4000000000::oid::regclass);
     ALTER TABLE ecto_job.queue_settings ENABLE ALWAYS TRIGGER registry_changed; COMMIT");
sql("SELECT ecto_job.configure_queue('jobs')"); # the scheduler looks
becomes($node, 'SELECT count(*) FROM ecto_job.queue_settings', 1, 'a row without a table is cleaned up');
sql("SELECT ecto_job.drop_queue('jobs')");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'",
	0, 'without a queue it leaves');

# A newer version of the SQL than the library
sql("SELECT ecto_job.create_queue('jobs')");
my $log = -s $node->logfile;
sql("SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
becomes($node, "SELECT status FROM ecto_job.queues", 'ok', 'it runs');
sql("UPDATE pg_extension SET extversion = '999.1' WHERE extname = 'ecto_job'");
sql("SELECT ecto_job.configure_queue('jobs')"); # the scheduler looks
ok(wait_for_log($node, qr/version 999\.1 there, the library is/, $log), 'newer SQL than library is logged');
becomes($node, "SELECT status FROM ecto_job.queues",
	'no scheduler: the extension is newer than the library; restart the server', 'and shown');
sql("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'ecto_job';
     SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 s')");
becomes($node, "SELECT status FROM ecto_job.queues", 'ok', 'older SQL is served');


# Restart
sql("SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.configure_queue('jobs', poll_interval => '100 ms')");
sql("INSERT INTO jobs (params, schedule) VALUES ('{}', clock_timestamp() + interval '1 s')");
$node->restart;
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'after a restart it is back without help');

# The SIGTERM above may have met a sweep, which is then reported
unlike(slurp_file($node->logfile),
	qr/WARNING:(?!.*the scheduler ended during it)|exited with exit code [^1]|ERROR:.*sched/, 'a quiet log');

$node->stop;
done_testing();
