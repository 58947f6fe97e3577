# A physical standby: functions that read work, functions that write fail with 25006, and no process of ecto_job runs.
# After the promotion all functions work.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ConsumerTest;
use EctoJobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node(allows_streaming => 1);
$primary->safe_psql('postgres', q{
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.enqueue('jobs', '{"n": 1}');
	SELECT ecto_job.enqueue('jobs', '{"n": 2}', schedule => clock_timestamp() + interval '1 day');
	SELECT count(*) FROM ecto_job.start_available_jobs('jobs')});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

sub ask { return $standby->safe_psql('postgres', shift); }

is(ask('SELECT queue, status FROM ecto_job.queues'), 'jobs|no scheduler: the server is a standby', 'the view says that the server is a standby');
is(ask('SELECT count(*) FROM ecto_job.queue_settings'), 1, 'the registry can be read');
is(ask("SELECT string_agg(state, ' ' ORDER BY id) FROM jobs"), 'IN_PROGRESS SCHEDULED', 'the jobs can be read');
is(ask("SELECT ecto_job.increase_time('2001-01-01 00:00Z', 2, 1000)"), '2001-01-01 00:00:02+00', 'times can be computed');
is(ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'ecto_job'"), 0, 'neither launcher nor scheduler runs');

# The error of a function that writes names the function
my %calls = (
	enqueue => q{'jobs', '{}'},
	start_available_jobs => q{'jobs'},
	reserve_available_jobs => q{'jobs', 1},
	available_jobs => q{'jobs', 1},
	update_job_in_progress => q{'jobs', 1, 0},
	complete_job => q{'jobs', 1, 1},
	complete_jobs => q{'jobs', '{1}', '{1}'},
	fail_job => q{'jobs', 1, 1},
	snooze_job => q{'jobs', 1, 1},
	extend_lease => q{'jobs', 1, 1},
	cancel_job => q{'jobs', 1},
	pause_queue => q{'jobs'},
	resume_queue => q{'jobs'},
	job_failed => q{'jobs', 1, 1},
	delete_job_changeset => q{'jobs', 1, 1},
	initial_multi => q{'jobs', 1, 1},
	requeue => q{'jobs', 1},
	sweep => q{'jobs'},
	activate_scheduled_jobs => q{'jobs'},
	activate_expired_jobs => q{'jobs'},
	fail_expired_jobs_at_max_attempts => q{'jobs'});
for my $function (sort keys %calls)
{
	my (undef, undef, $error) =
	  $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM ecto_job.$function($calls{$function})");
	like($error, qr/ERROR:  25006: cannot execute $function in a read-only transaction/, "$function() is refused with 25006 and its name");
}
for my $call (q{create_queue('more')}, q{configure_queue('jobs', max_attempts => 2)}, q{drop_queue('jobs')},
	q{adopt_queue('jobs')}, q{release_queue('jobs')}, 'enable()', 'disable()', 'start_scheduler()', 'stop_scheduler()')
{
	my (undef, undef, $error) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.$call");
	like($error, qr/ERROR:  25006: cannot execute .* (?:in a read-only transaction|during recovery)/, "$call is refused with 25006");
}
for my $statement ("CALL ecto_job.wait('jobs')", 'LISTEN jobs', 'NOTIFY jobs', "INSERT INTO jobs (params) VALUES ('{}')", 'SELECT FROM jobs FOR UPDATE',
	"SELECT nextval('jobs_id_seq')")
{
	my (undef, undef, $error) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	like($error, qr/ERROR:  25006: cannot execute .* (?:in a read-only transaction|during recovery)/, "$statement is refused with 25006");
}
my $consumer = ConsumerTest->start($standby, '--queue', 'jobs', '--exec', 'true');
ok($consumer->wait_for_log(qr/cannot execute \w+ (?:in a read-only transaction|during recovery)/),
	'a consumer logs that the server is read-only');

# Promotion
$primary->stop('immediate');
$standby->promote;
ask("INSERT INTO jobs (params, schedule, state) VALUES ('{\"n\": 3}', clock_timestamp(), 'SCHEDULED')");
ok(poll_until(sub { ask("SELECT count(*) FROM jobs WHERE state = 'SCHEDULED' AND schedule <= now()") eq 0 }, 'a sweep'),
	'the promoted server sweeps without enable()');
is(ask('SELECT status FROM ecto_job.queues'), 'ok', 'the view says ok after promotion');
ok($consumer->wait_for_log(qr/job \d+: completed/), 'the waiting consumer performs a job after promotion');
$consumer->signal('TERM');
is($consumer->end, 0, 'the consumer exits with 0 after SIGTERM');
$standby->stop;
done_testing();
