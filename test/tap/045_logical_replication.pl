# Logical replication of a queue: the subscriber has the publisher's jobs. While ecto_job is disabled in the
# subscriber's database, the jobs there are neither announced nor swept. At the switch-over enable() starts a scheduler.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "wal_level = logical\n";
my $publisher = new_node(name => 'publisher', allows_streaming => 'logical', conf => $conf);
my $subscriber = new_node(name => 'subscriber', allows_streaming => 'logical', conf => $conf);

sub there { return $subscriber->safe_psql('postgres', shift); }

for my $node ($publisher, $subscriber)
{
	$node->safe_psql('postgres', "SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.create_queue('fence')");
}
there('SELECT ecto_job.disable()');
becomes($subscriber, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
	'the disabled subscriber has no scheduler');
$publisher->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE jobs');
there("CREATE SUBSCRIPTION s CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION p");
$subscriber->wait_for_subscription_sync($publisher, 's');

my $listener = $subscriber->background_psql('postgres');
$listener->query_safe('LISTEN jobs; LISTEN fence');
$publisher->safe_psql('postgres', q{
	SELECT ecto_job.enqueue('jobs', '{"n": 1}', notify => 'n');
	SELECT ecto_job.enqueue('jobs', '{"n": 2}');
	SELECT ecto_job.enqueue('jobs', '{"n": 3}', schedule => clock_timestamp() + interval '1 hour', key => 'k')});
$publisher->wait_for_catchup('s');
is(there("SELECT string_agg(state || in_play, ' ' ORDER BY id) FROM jobs"),
	'AVAILABLEtrue AVAILABLEtrue SCHEDULEDfalse', 'jobs reach the subscriber, with their generated columns');
is(there('SELECT id, waiting_key FROM jobs WHERE key IS NOT NULL'), '3|k', 'a job with a key reaches the subscriber');
$publisher->safe_psql('postgres', q{
	SELECT ecto_job.complete_job('jobs', id, lease) FROM ecto_job.start_available_jobs('jobs') \gset
	SELECT id, lease FROM ecto_job.start_available_jobs('jobs')});
$publisher->wait_for_catchup('s');
my $jobs = q{SELECT id, state, attempt, lease, expires, params FROM jobs ORDER BY id};
is(there($jobs), $publisher->safe_psql('postgres', $jobs), 'changes and deletions of jobs reach the subscriber');
there("INSERT INTO fence (params) VALUES ('{}')");
my $notified = '';
poll_until(sub { ($notified .= $listener->query('SELECT 1')) =~ /"fence"/ }, 'the fence');
unlike($notified, qr/"jobs"/, 'replicated jobs send no notification on the subscriber');
$listener->quit;

# A lease ends and a job becomes due: the subscriber is not swept, which would break the replication
$publisher->safe_psql('postgres', 'SELECT ecto_job.disable()');
becomes($publisher, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
	'the disabled publisher has no scheduler');
$publisher->safe_psql('postgres', q{UPDATE jobs SET schedule = clock_timestamp() WHERE state = 'SCHEDULED';
	UPDATE jobs SET expires = clock_timestamp() WHERE state = 'IN_PROGRESS'});
$publisher->wait_for_catchup('s');
is(there("SELECT string_agg(state, ' ' ORDER BY id) FROM jobs WHERE least(schedule, expires) <= clock_timestamp()"),
	'IN_PROGRESS SCHEDULED', 'a due job and an expired one stay as they are on the subscriber');
is(there("SELECT count(*) FROM ecto_job.queues WHERE status = 'disabled'"), 2, 'the view says that the subscriber is disabled');

# The subscriber takes over: its sequence is set first, since sequences are not replicated
$publisher->stop;
there('ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s');
there("SELECT setval(pg_get_serial_sequence('jobs', 'id'), (SELECT max(id) FROM jobs)); SELECT ecto_job.enable()");
becomes($subscriber, "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED' AND schedule <= now()", 0, 'the enabled subscriber activates a due job');
is(there("SELECT ecto_job.enqueue('jobs', '{}') > 3"), 't', 'new ids follow the old ones');

# Unique jobs: a job that came by the replication waits under its key, and gives way to a later one when it comes back
is(there("SELECT ecto_job.enqueue('jobs', '{}', key => 'k')"), 3, 'enqueue keeps a replicated job that waits under the key');
there("SELECT count(*) FROM ecto_job.start_available_jobs('jobs', 10)");
my $later = there("SELECT ecto_job.enqueue('jobs', '{}', key => 'k')");
cmp_ok($later, '>', 3, 'while the replicated job runs, a new job waits under its key');
there("SELECT ecto_job.fail_job('jobs', id, lease) FROM jobs WHERE id = 3");
is(there("SELECT string_agg(id || state, ' ') FROM jobs WHERE key = 'k'"), "${later}AVAILABLE", 'the replicated job gives way to the one that waits');

$subscriber->stop;
done_testing();
