# ALTER OWNER, RENAME and SET SCHEMA of a queue while the scheduler runs: sweeps run as the new owner, jobs are announced
# by the new name, settings and jobs stay. TRUNCATE and DROP cause no error in the scheduler. A command in the middle of
# a sweep waits for the sweep's end, and the scheduler continues.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SchedulerTest;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();

sub sql { return $node->safe_psql('postgres', shift); }

my $number = 0;

# Passes when a job of this queue that is due at once is activated
sub sweeps
{
	my ($queue, $name) = @_;
	$number++;
	sql("INSERT INTO $queue (params, schedule, state) VALUES ('{\"n\": $number}', clock_timestamp(), 'SCHEDULED')");
	becomes($node, "SELECT state FROM $queue WHERE params = '{\"n\": $number}'", 'AVAILABLE', $name);
}

sql(q{CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; GRANT CREATE ON SCHEMA public TO one, two;
	CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC;
	SELECT ecto_job.create_queue('fence');
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
	SET ROLE one;
	SELECT ecto_job.create_queue('jobs');
	SELECT ecto_job.configure_queue('jobs', retry_timeout => '7 s');
	CREATE TRIGGER note BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note()});
sweeps('jobs', 'the scheduler sweeps the queue');
my $pid = scheduler_pid($node);
is(sql('SELECT DISTINCT who FROM seen'), 'one', 'the sweep runs as the owner');

sql('TRUNCATE seen; ALTER TABLE jobs OWNER TO two');
sweeps('jobs', 'ALTER OWNER: the scheduler sweeps');
is(sql('SELECT DISTINCT who FROM seen'), 'two', 'ALTER OWNER: the sweep runs as the new owner');
is(sql("SELECT owner FROM ecto_job.queues WHERE queue = 'jobs'::regclass"), 'two', 'ALTER OWNER: the view shows the new owner');
my (undef, undef, $error) = $node->psql('postgres', "SET ROLE one; SELECT ecto_job.configure_queue('jobs', max_attempts => 1)");
like($error, qr/must be owner of table jobs/, 'ALTER OWNER: the former owner cannot configure the queue');
(undef, undef, $error) = $node->psql('postgres', "SET ROLE one; SELECT ecto_job.enqueue('jobs', '{}')");
like($error, qr/permission denied/, 'ALTER OWNER: the former owner cannot enqueue');

my $listener = new_listener($node, 'jobs', 'work');
sql('ALTER TABLE jobs RENAME TO work');
sweeps('work', 'RENAME: the scheduler sweeps');
is(notifications($listener), 'work:scheduler', 'RENAME: an activated job is announced by the new name');
sql("INSERT INTO work (params) VALUES ('{}')");
is(notifications($listener), 'work:scheduler', 'RENAME: a new job is announced by the new name');

sql('CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO two; ALTER TABLE work SET SCHEMA other');
sweeps('other.work', 'SET SCHEMA: the scheduler sweeps');
is(notifications($listener), 'work:scheduler', 'SET SCHEMA: an activated job is announced');
sql('ALTER SCHEMA other RENAME TO another');
sweeps('another.work', 'a renamed schema: the scheduler sweeps');
is(sql("SELECT retry_timeout FROM ecto_job.queue_settings WHERE queue = 'another.work'::regclass"), '00:00:07',
	'the settings are the same after every ALTER');
is(sql("SELECT count(*) > 3 FROM ecto_job.start_available_jobs('another.work', 100)"), 't', 'the jobs are still there after every ALTER');

# The owner loses USAGE on the schema
sql('REVOKE USAGE ON SCHEMA another FROM two');
sql("INSERT INTO another.work (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'another.work'::regclass",
	'failing: permission denied for schema another', 'the view says that the owner lacks USAGE on the schema');
sql('GRANT USAGE ON SCHEMA another TO two');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'another.work'::regclass", 'ok', 'the view says ok when the owner has USAGE again');

# Two queues of one name in two schemas share a channel, and nothing else
sql("CREATE SCHEMA twin; SELECT ecto_job.create_queue('work', 'twin')");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 3, 'a queue of the same name in another schema is served');
ok(wait_for_sleep($node), 'the scheduler is idle');
notifications($listener);
sql("INSERT INTO twin.work (params) VALUES ('{\"twin\": true}')");
is(notifications($listener), 'work:scheduler', 'a queue of the same name is announced on the same channel');
is(sql("SELECT params FROM ecto_job.start_available_jobs('twin.work', 9)"), '{"twin": true}', 'a queue of the same name has jobs of its own');
sql('DROP TABLE twin.work');

sql('TRUNCATE another.work');
sweeps('another.work', 'TRUNCATE: the scheduler sweeps');
sql('DROP TABLE another.work');
sql("SELECT ecto_job.create_queue('work')");
sweeps('work', 'the scheduler sweeps a queue that was dropped and created again');
is(sql("SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'"), 2, 'both queues are ok');

# Commands in the middle of a sweep, which a trigger makes long
my $offset = -s $node->logfile;
sql(q{SELECT ecto_job.create_queue('mid');
	CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
	CREATE TRIGGER a_wait BEFORE UPDATE ON mid FOR EACH ROW EXECUTE FUNCTION wait()});
sweeps('mid', 'the scheduler sweeps a queue whose trigger takes an advisory lock');
my ($holder, $changer) = (session($node), session($node));
$changer->query_safe('SET client_min_messages = warning');
for my $ddl (
	'TRUNCATE mid',
	'ALTER TABLE mid RENAME TO mid2; ALTER TABLE mid2 RENAME TO mid',
	'BEGIN; DROP EXTENSION ecto_job CASCADE; ROLLBACK',
	'DROP TABLE mid')
{
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	sql("INSERT INTO mid (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
	becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'advisory', "$ddl: a sweep waits in the trigger");
	$changer->{stdin} .= "$ddl;\n";
	$changer->{run}->pump_nb;
	becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype <> 'advisory' AND pg_blocking_pids(pid) = '{$pid}'
		AND NOT granted", 1, "$ddl: the command waits for the sweep");
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$changer->query_safe('SELECT 1');
	my $gone = $ddl =~ /DROP TABLE/;
	is(sql("SELECT to_regclass('mid') IS NULL"), $gone ? 't' : 'f', "$ddl: afterwards the table " . ($gone ? 'is gone' : 'exists'));
	sweeps($gone ? 'work' : 'mid', "$ddl: afterwards the scheduler sweeps");
}
is(scheduler_pid($node), $pid, 'the scheduler is the same process as at the beginning');

$_->quit for $listener->{session}, $holder, $changer;
$node->stop;
unlike(slurp_file($node->logfile, $offset), qr/WARNING:/, 'the scheduler has logged no warning');
done_testing();
