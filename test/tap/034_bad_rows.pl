# One row at fault stops neither the sweeps of its queue nor the claims, and the status says how many rows are skipped.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(conf => "ecto_job.sweep_timeout = '5 s'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub status_of { return "SELECT status FROM ecto_job.queues WHERE queue = '$_[0]'::regclass"; }

sql("SELECT ecto_job.create_queue(q) FROM unnest('{uniq,lost,kept,claimed}'::text[]) AS q");

# A user's unique index refuses the retry of a job whose lease is over, since a job with its key waits already
sql("CREATE UNIQUE INDEX ON uniq ((params ->> 'key')) WHERE state IN ('AVAILABLE', 'SCHEDULED')");
sql(q{INSERT INTO uniq (params, notify) VALUES ('{"key": "A"}', 'it failed')});
is(sql("SELECT count(*) FROM ecto_job.start_available_jobs('uniq', 1, '1 s')"), 1, 'the job that will meet its twin is started');
my $listener = new_listener($node, 'uniq.failed');

sql(q{INSERT INTO uniq (params) VALUES ('{"key": "A"}')});
sql(q{INSERT INTO uniq (params, schedule) SELECT jsonb_build_object('key', n), now() + interval '1.5 s' FROM generate_series(1, 3) AS n});
becomes($node, "SELECT string_agg(state, ' ' ORDER BY id) FROM uniq", 'FAILED AVAILABLE AVAILABLE AVAILABLE AVAILABLE',
	'the job that meets its twin is FAILED, and the others move');
like(sql('SELECT error FROM uniq WHERE id = 1'), qr/^duplicate key value/, 'the job that meets its twin has the error');
is(sql('SELECT expires IS NULL AND lease IS NULL FROM uniq WHERE id = 1'), 't',
	'the job that meets its twin has no lease');
is(next_notification($listener, 'uniq.failed'), 'uniq.failed:scheduler',
	'the job that meets its twin sends its notification of a failure');
$listener->{session}->quit;
is(sql(status_of('uniq')), 'ok', 'the status is ok after a job has become FAILED');

# A job of a session that has ended, whose next retry would lie past the end of the calendar
sql("SELECT 1 FROM ecto_job.configure_queue('lost', retry_timeout => '100 days')");
sql("INSERT INTO lost (params, attempt, max_attempts) VALUES ('{}', 3000000, 2147483647)");
my $dying = session($node);
$dying->query_safe('SET ecto_job.session_leases = on');
is($dying->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('lost')"), 1,
	'a session starts the job whose next retry lies past the calendar');
$dying->quit;
becomes($node, 'SELECT state FROM lost WHERE id = 1', 'RETRY', 'the job is in RETRY when its session has ended');
is(sql("SELECT schedule > '290000-01-01' FROM lost WHERE id = 1"), 't',
	'the job is scheduled at the end of the calendar');
is(sql(status_of('lost')), 'ok', 'the status is ok after a retry at the end of the calendar');

# A row that cannot be changed
my $offset = -s $node->logfile;
sql("BEGIN; INSERT INTO kept (params, schedule) VALUES ('{\"bad\": 1}', now() + interval '300 ms'), ('{}', now() + interval '300 ms');
	ALTER TABLE kept ADD CONSTRAINT good CHECK (NOT params ? 'bad') NOT VALID; COMMIT");
becomes($node, 'SELECT state FROM kept WHERE id = 2', 'AVAILABLE', 'the row beside one that cannot be changed moves');
my $skipped = 'ok; 1 job skipped by sweeps: new row for relation "kept" violates check constraint "good"';
becomes($node, status_of('kept'), $skipped, 'the status says that one job is skipped, and why');
is(sql('SELECT state FROM kept WHERE id = 1'), 'SCHEDULED', 'the row that cannot be changed is as it was');
for my $id (3 .. 5)
{
	sql("INSERT INTO kept (params, schedule) VALUES ('{}', clock_timestamp() + interval '200 ms')");
	becomes($node, "SELECT state FROM kept WHERE id = $id", 'AVAILABLE',
		"job $id, which is due later, does not wait for the skipped row");
}
my $log = slurp_file($node->logfile, $offset);
is(scalar(() = $log =~ /WARNING:  job 1 of queue "kept" is skipped: new row/g), 1,
	'the log warns once of the skipped row');
unlike($log, qr/sweep of queue "public.kept" failed/, 'the log speaks of no sweep that failed');
sql('ALTER TABLE kept DROP CONSTRAINT good');
becomes($node, 'SELECT state FROM kept WHERE id = 1', 'AVAILABLE', 'the skipped row moves when the table has changed');
becomes($node, status_of('kept'), 'ok', 'the status is ok when the skipped row has moved');

# Claims of two sessions that have claimed before: the first claim that meets the row sees its error; the other session
# skips the row, which the first has recorded in shared memory
sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	\$\$ BEGIN IF NEW.params ? 'bad' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END \$\$;
	CREATE TRIGGER refuse BEFORE UPDATE ON claimed FOR EACH ROW EXECUTE FUNCTION refuse()");
my @sessions = (session($node), session($node));
for my $session (@sessions)
{
	$session->query_safe('SET client_min_messages = error'); # query_safe dies at a WARNING
	sql("INSERT INTO claimed (params) VALUES ('{}')");
	is($session->query_safe("SELECT count(*) FROM ecto_job.start_available_jobs('claimed', 1)"), 1, 'a session starts a job');
}
sql(q{INSERT INTO claimed (params) VALUES ('{"bad": 1}'), ('{}'), ('{}')});
my $start = "SELECT count(*) FROM ecto_job.start_available_jobs('claimed', 1)";
my ($out) = $sessions[0]->query("DO \$\$ BEGIN PERFORM ecto_job.start_available_jobs('claimed', 1);
	EXCEPTION WHEN raise_exception THEN SET my.told = 'yes'; END \$\$; SELECT current_setting('my.told', true)");
like($out, qr/yes/, 'the first session to meet the row gets its error');
is($sessions[1]->query_safe($start), 1, 'the other session gets a job at its first try');
is($sessions[0]->query_safe($start), 1, 'the first session gets a job at its second try');
is(sql('SELECT state FROM claimed WHERE id = 3'), 'AVAILABLE', 'the row that claims skip is as it was');
is(sql(status_of('claimed')), 'ok; 1 job skipped by claims: not this one', 'the status says that claims skip one job, and why');
$_->quit for @sessions;

# A queue of which no claim succeeds has the status `failing`, until a claim succeeds
sql("SELECT ecto_job.create_queue(q) FROM unnest('{refused,slow,long}'::text[]) AS q");
sql(q{INSERT INTO refused (params) SELECT '{}' FROM generate_series(1, 3)});
sql('ALTER TABLE refused ADD CONSTRAINT typo CHECK (false) NOT VALID');
my $fails = 'failing: new row for relation "refused" violates check constraint "typo"';
is(sql("SELECT count(*) FROM ecto_job.start_available_jobs('refused')"), 0, 'no job of the queue can be started');
is(sql(status_of('refused')), $fails, 'the status says that no job can be started, and why');
sql('ALTER TABLE refused DROP CONSTRAINT typo');
is(sql("SELECT count(*) FROM ecto_job.start_available_jobs('refused', 9)"), 3,
	'all jobs start when the constraint is gone');
is(sql(status_of('refused')), 'ok', 'the status is ok at once when a claim succeeds');

# More jobs are refused than one call tries
sql(q{INSERT INTO refused (params) SELECT '{}' FROM generate_series(1, 300)});
sql('ALTER TABLE refused ADD CONSTRAINT typo CHECK (false) NOT VALID');
$node->psql('postgres', "SELECT count(*) FROM ecto_job.start_available_jobs('refused')");
is(sql(status_of('refused')), $fails, 'the status shows a claim that fails for many jobs');

# The value of notify is too long for NOTIFY, since the owner has altered the column's type
sql("ALTER TABLE long ALTER notify TYPE text");
$offset = -s $node->logfile;
sql("INSERT INTO long (params, notify, state, attempt, max_attempts, expires, lease)
	SELECT '{}', repeat('x', 9000), 'IN_PROGRESS', 1, 1, now() + interval '300 ms', 4 FROM generate_series(1, 2)");
becomes($node, "SELECT count(*) FROM long WHERE state = 'FAILED'", 2, 'jobs with a notify that cannot be sent are swept');
ok(wait_for_log($node, qr/WARNING:  notify of a job of queue "long" is too long to be sent/, $offset),
	'the log warns of a notify that is too long to be sent');

# A single job whose trigger takes longer than a sweep may
$node->append_conf('postgresql.conf', "ecto_job.sweep_timeout = '500 ms'");
$node->reload;
sql(q{CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN IF NEW.params ? 'slow' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
	CREATE TRIGGER sleep BEFORE UPDATE ON slow FOR EACH ROW EXECUTE FUNCTION sleep();
	INSERT INTO slow (params, schedule) SELECT CASE n WHEN 1 THEN '{"slow": 1}' ELSE '{}' END::jsonb, now() + interval '1 s' + n * interval '1 ms'
	FROM generate_series(1, 20) AS n});
becomes($node, "SELECT count(*) FROM slow WHERE state = 'AVAILABLE'", 19, 'the jobs behind the slow one move');
becomes($node, status_of('slow'), 'ok; 1 job skipped by sweeps: its change took longer than ecto_job.sweep_timeout',
	'the status says that a job is skipped which takes too long');

$node->stop;
done_testing();
