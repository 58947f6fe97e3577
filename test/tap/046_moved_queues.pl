# ALTER OWNER, RENAME and SET SCHEMA of a queue while the scheduler runs: the sweeps act as the new owner, consumers
# listen to the new name, settings and jobs stay. TRUNCATE and DROP harm nothing; what comes in the middle of a sweep
# waits for its end, and the scheduler goes on.
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

# A job of this queue that is due at once is activated
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
sweeps('jobs', 'it sweeps');
my $pid = scheduler_pid($node);
is(sql('SELECT DISTINCT who FROM seen'), 'one', 'as the owner');

sql('TRUNCATE seen; ALTER TABLE jobs OWNER TO two');
sweeps('jobs', 'ALTER OWNER: it sweeps');
is(sql('SELECT DISTINCT who FROM seen'), 'two', 'as the new owner');
is(sql("SELECT owner FROM ecto_job.queues WHERE queue = 'jobs'::regclass"), 'two', 'whom the view shows');
my (undef, undef, $error) = $node->psql('postgres', "SET ROLE one; SELECT ecto_job.configure_queue('jobs', max_attempts => 1)");
like($error, qr/must be owner of table jobs/, 'the old one has no say any more');
(undef, undef, $error) = $node->psql('postgres', "SET ROLE one; SELECT ecto_job.enqueue('jobs', '{}')");
like($error, qr/permission denied/, 'nor rights');

my $listener = listen_to($node, 'jobs', 'work');
sql('ALTER TABLE jobs RENAME TO work');
sweeps('work', 'RENAME: it sweeps');
is(heard($listener), 'work:scheduler', 'and announces by the new name');
sql("INSERT INTO work (params) VALUES ('{}')");
is(heard($listener), 'work:scheduler', 'new jobs, too');

sql('CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO two; ALTER TABLE work SET SCHEMA other');
sweeps('other.work', 'SET SCHEMA: it sweeps');
is(heard($listener), 'work:scheduler', 'and announces');
sql('ALTER SCHEMA other RENAME TO another');
sweeps('another.work', 'a renamed schema: it sweeps');
is(sql("SELECT retry_timeout FROM ecto_job.queue_settings WHERE queue = 'another.work'::regclass"), '00:00:07',
	'the settings are the same as ever');
is(sql("SELECT count(*) > 3 FROM ecto_job.start_available_jobs('another.work', 100)"), 't', 'and so are the jobs');

# An owner who has lost the way to his table
sql('REVOKE USAGE ON SCHEMA another FROM two');
sql("INSERT INTO another.work (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'another.work'::regclass",
	'failing: permission denied for schema another', 'an owner without USAGE on the schema: the view says so');
sql('GRANT USAGE ON SCHEMA another TO two');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'another.work'::regclass", 'ok', 'until he has it again');

# Another queue of its name: they wake each other, and no more
sql("CREATE SCHEMA twin; SELECT ecto_job.create_queue('work', 'twin')");
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 3, 'a queue of the same name elsewhere');
ok(at_rest($node), 'the scheduler sleeps');
heard($listener);
sql("INSERT INTO twin.work (params) VALUES ('{\"twin\": true}')");
is(heard($listener), 'work:scheduler', 'announces on the same channel');
is(sql("SELECT params FROM ecto_job.start_available_jobs('twin.work', 9)"), '{"twin": true}', 'and has jobs of its own');
sql('DROP TABLE twin.work');

sql('TRUNCATE another.work');
sweeps('another.work', 'TRUNCATE: it sweeps');
sql('DROP TABLE another.work');
sql("SELECT ecto_job.create_queue('work')");
sweeps('work', 'dropped and made anew: it sweeps');
is(sql("SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'"), 2, 'and all is well');

# In the middle of a sweep, which a trigger makes long
my $offset = -s $node->logfile;
sql(q{SELECT ecto_job.create_queue('mid');
	CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
	CREATE TRIGGER a_wait BEFORE UPDATE ON mid FOR EACH ROW EXECUTE FUNCTION wait()});
sweeps('mid', 'a queue with a trigger that can be made to wait');
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
	becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'advisory', "$ddl: a sweep hangs");
	$changer->{stdin} .= "$ddl;\n";
	$changer->{run}->pump_nb;
	becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype <> 'advisory' AND pg_blocking_pids(pid) = '{$pid}'
		AND NOT granted", 1, 'it waits for the sweep');
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$changer->query_safe('SELECT 1');
	my $gone = $ddl =~ /DROP TABLE/;
	is(sql("SELECT to_regclass('mid') IS NULL"), $gone ? 't' : 'f', 'it has been done');
	sweeps($gone ? 'work' : 'mid', 'and it sweeps');
}
is(scheduler_pid($node), $pid, 'by the same scheduler all the time');

$_->quit for $listener->{session}, $holder, $changer;
$node->stop;
unlike(slurp_file($node->logfile, $offset), qr/WARNING:/, 'which has nothing to complain of');
done_testing();
