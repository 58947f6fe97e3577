# pg_upgrade keeps queues, jobs and settings, and the database stays enabled; no process of ecto_job runs during the upgrade.
#
# The upgrade is to the same version, since no other one is installed; its steps are the same. Seen to fail without the check of
# IsBinaryUpgrade in _PG_init (the log then shows a launcher).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node(name => 'old');
$old->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN;
	GRANT CREATE ON SCHEMA public TO owner;
	SET ROLE owner;
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.create_queue('blobs', params_type => 'binary');
	SELECT ecto_job.configure_queue('jobs', retry_timeout => '7 s', max_attempts => 3);
	SELECT ecto_job.enqueue('jobs', '{"n": 1}');
	SELECT ecto_job.enqueue('jobs', '{"n": 2}', schedule => '2999-01-01');
	SELECT count(*) FROM ecto_job.start_available_jobs('jobs')});
my $contents = q{SELECT j.*, s.* FROM jobs j, ecto_job.queue_settings s ORDER BY id, queue::text};
my $jobs = $old->safe_psql('postgres', $contents);
my $record = $old->safe_psql('postgres', 'SELECT * FROM ecto_job.scheduler_state');
$old->stop;

my $new = new_node(name => 'new', start => 0);
chdir $PostgreSQL::Test::Utils::tmp_check or die;
my $offset = -s $new->logfile // 0;
my ($bindir) = map { chomp; $_ } `pg_config --bindir`;
my $path = (grep { -x "$_/pg_upgrade" } split /:/, $ENV{PATH})[0] // $bindir;
# The sockets of pg_upgrade need a short path
my $sockets = PostgreSQL::Test::Utils::tempdir_short();
command_ok(
	[ 'pg_upgrade', '--no-sync', '--retain', '-o', '-c log_min_messages=debug1', '-O', '-c log_min_messages=debug1',
		'-d', $old->data_dir, '-D', $new->data_dir, '-b', $path, '-B', $path,
		'-s', $sockets, '-p', $old->port, '-P', $new->port ],
	'pg_upgrade ends without an error');
my @logs = glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log');
my $log = join '', map { slurp_file($_) } @logs;
like($log, qr/DEBUG:  checkpoint record is at/, "pg_upgrade's servers log what is of level debug1");
unlike($log, qr/ecto_job (?:launcher|scheduler)/, "pg_upgrade's servers start no launcher and no scheduler");

$new->append_conf('postgresql.conf', 'log_min_messages = debug1');
$new->start;
ok(wait_for_log($new, qr/DEBUG:  registering background worker "ecto_job launcher"/), 'a server that no pg_upgrade runs logs at debug1 that it registers the launcher');
is($new->safe_psql('postgres', $contents), $jobs, 'jobs and settings are the same after pg_upgrade');
is($new->safe_psql('postgres', "SELECT database = (SELECT oid FROM pg_database WHERE datname = 'postgres'), enabled
		FROM ecto_job.scheduler_state"), 't|t', 'the database is still enabled after pg_upgrade') or diag($record);
$new->safe_psql('postgres', "INSERT INTO jobs (params, schedule, state) VALUES ('{\"n\": 3}', clock_timestamp(), 'SCHEDULED')");
ok( poll_until(
		sub { $new->safe_psql('postgres', "SELECT state FROM jobs WHERE params = '{\"n\": 3}'") eq 'AVAILABLE' },
		'the sweep'),
	'the upgraded database is swept without enable()');
$new->stop;
done_testing();
