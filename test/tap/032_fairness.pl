# The owners of queues share the scheduler's time: beside queues whose triggers are slow, and beside long backlogs,
# another owner's job that comes due waits for the batch that is under way, and not for all that others have due.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node(conf => "ecto_job.safety_interval = '1 h'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub as_mallory { return $node->safe_psql('postgres', shift, extra_params => [ '-U', 'mallory' ]); }

sub stop_scheduler
{
	sql('SELECT ecto_job.disable()');
	becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
		'the scheduler has left after disable()');
}

# latest_of($count): enqueues jobs of the victim, one after the other, each due in a moment, and returns the greatest
# delay of a job in seconds
sub latest_of
{
	my ($count) = @_;
	sql('TRUNCATE victim');
	for my $job (1 .. $count)
	{
		sql(q{INSERT INTO victim (params, schedule) VALUES ('{}', clock_timestamp() + interval '0.3 s')});
		becomes($node, "SELECT count(*) FROM victim WHERE state = 'AVAILABLE'", $job, "the other owner's job $job is moved");
	}
	return sql(q{SELECT extract(epoch FROM max(updated_at - (schedule AT TIME ZONE 'UTC'))) FROM victim});
}

sql(q{CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory; SELECT ecto_job.create_queue('victim')});

# Ten queues of an owner whose triggers take 3 s
my $nap = 3;
as_mallory(qq{CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM pg_sleep($nap); RETURN NEW; END \$\$;
	SELECT ecto_job.create_queue('slow' || i) FROM generate_series(1, 10) AS i});
stop_scheduler();
as_mallory("INSERT INTO slow$_ (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED');
	CREATE TRIGGER nap BEFORE UPDATE ON slow$_ FOR EACH ROW EXECUTE FUNCTION nap()") for 1 .. 10;
sql('SELECT ecto_job.enable()');
becomes($node, "SELECT count(*) > 0 FROM ecto_job.queues WHERE status ~ '^slow: its batch has taken [0-9.]+ s so far'", 't',
	'a batch that takes long shows in the status');
my $late = latest_of(4);
my $open = join ' + ', map { "(SELECT count(*) FROM slow$_ WHERE state = 'SCHEDULED')" } 1 .. 10;
cmp_ok(sql("SELECT $open"), '>', 0, 'slow queues were due while the other jobs were moved');
cmp_ok($late, '<', 2 * $nap + 3, "another owner's job waits for a batch, and not for ten: $late s");
becomes($node, "SELECT $open", 0, 'the slow queues are served in the end');
becomes($node, "SELECT count(*) FROM ecto_job.queues WHERE status ~ '^slow: its last batch took [0-9.]+ s and moved 1;'", 10,
	'a last batch that took long shows in the status');
is(sql("SELECT status FROM ecto_job.queues WHERE queue = 'victim'::regclass"), 'ok',
	"the status of the other owner's queue is ok");
as_mallory("SELECT ecto_job.drop_queue('slow$_')") for 1 .. 10;

# Four backlogs of an owner
my $rows = 30_000;
as_mallory("SELECT ecto_job.create_queue('backlog' || i) FROM generate_series(1, 4) AS i");
stop_scheduler();
as_mallory("INSERT INTO backlog$_ (params, schedule, state) SELECT '{}', clock_timestamp(), 'SCHEDULED' FROM generate_series(1, $rows)")
  for 1 .. 4;
sql('TRUNCATE victim; SELECT ecto_job.enable()');
my $began = time;
my $backlog = join ' + ', map { "(SELECT count(*) FROM backlog$_ WHERE state = 'SCHEDULED')" } 1 .. 4;
ok(poll_until(sub { sql("SELECT $backlog") < 4 * $rows }, 'the first batch'), 'the sweeps of the backlogs have begun');
sql(q{INSERT INTO victim (params, schedule) VALUES ('{}', clock_timestamp())});
sql(q{INSERT INTO victim (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes($node, "SELECT count(*) FROM victim WHERE state = 'SCHEDULED'", 0,
	"another owner's jobs are moved beside the backlogs");
$late = sql(q{SELECT extract(epoch FROM max(updated_at - (schedule AT TIME ZONE 'UTC'))) FROM victim});
becomes($node, "SELECT $backlog", 0, 'the backlogs are moved in the end');
my $took = time - $began;
my $later = join ' + ', map { "(SELECT count(*) FROM backlog$_ WHERE updated_at > (SELECT max(updated_at) FROM victim))" } 1 .. 4;
cmp_ok(sql("SELECT $later"), '>', $rows, "more than a quarter of the backlogs is moved after the other owner's jobs");
cmp_ok($late, '<', 1 + $took / 4,
	"another owner's job waits for a batch, and not for the $took s of the backlogs: $late s");

$node->stop;
done_testing();
