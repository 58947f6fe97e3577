# The clock of the server is stepped, as an administrator or NTP does: due jobs are moved, no queue is forgotten, and
# the scheduler does not spin. A job becomes due when the stepped clock shows its time.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $soon = 10;
my $node = new_node(start => 0);
my $clock = $node->basedir . '/clock';
my $library = $node->basedir . '/stepped_clock.so';
my $offset = 0;

# step($seconds): steps the clock of all processes at once, relative to its present time
sub step
{
	$offset += shift;
	open(my $file, -e $clock ? '+<' : '>', $clock) or die $!;
	syswrite($file, pack('q', 1_000_000 * $offset)) == 8 or die $!;
	close $file;
}

sub sql { return $node->safe_psql('postgres', shift); }
# sleeps_soon(): returns whether the scheduler sleeps soon. Without the guards that this file tests the scheduler never
# sleeps, and wait_for_sleep() would wait for its full time limit
sub sleeps_soon
{
	return poll_until(
		sub { sql("SELECT state FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'") eq 'idle' },
		'a scheduler that sleeps', $soon);
}

sub becomes_soon { becomes($node, @_[ 0 .. 2 ], $soon); }

sub schedule
{
	my ($what, $in) = @_;
	sql("INSERT INTO jobs (params, schedule, state)
	     VALUES ('{\"what\": \"$what\"}', clock_timestamp() + interval '$in', 'SCHEDULED')");
}

sub moves
{
	my ($what, $name, $limit) = (@_, $soon);
	becomes($node, "SELECT state FROM jobs WHERE params ->> 'what' = '$what'", 'AVAILABLE', $name, $limit);
}

system_or_bail('gcc', '-O2', '-fPIC', '-shared', '-o', $library, source_dir() . '/test/stepped_clock.c');
step(0);
{
	local @ENV{ 'LD_PRELOAD', 'STEPPED_CLOCK' } = ($library, $clock);
	$node->start;
}
sql('CREATE EXTENSION ecto_job');
sql("SELECT ecto_job.create_queue(name) FROM unnest('{jobs,beside}'::text[]) AS name");
becomes_soon("SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 2, 'two queues are ok');
ok(sleeps_soon(), q{the scheduler sleeps before the first step});

# The scheduler's clock follows the steps, or the test would prove nothing
step(-86400);
schedule('proof', '10 ms');
becomes_soon("SELECT updated_at AT TIME ZONE 'UTC' < clock_timestamp() FROM jobs WHERE state = 'AVAILABLE'", 't',
	"the scheduler's clock is stepped like the sessions'");
ok(sleeps_soon(), q{the scheduler sleeps after a step of a day back});

# Steps while the scheduler sleeps. After a sweep a queue pauses; a step back of less than ten minutes looks like a pause
for my $back (5, 300, 3600)
{
	step(-$back);
	schedule("back $back", '300 ms');
	moves("back $back", "a job scheduled after a step of $back s back is moved");
	ok(sleeps_soon(), qq{the scheduler sleeps after a step of $back s back});
}
schedule('waits', '30 minutes');
schedule('wakes', '1 hour');
ok(sleeps_soon(), q{the scheduler sleeps while jobs wait for their time});
step(1801);
sql("INSERT INTO beside (params) VALUES ('{}')");
moves('waits', 'a job that a step forward makes due is moved when a commit wakes the scheduler');
is(sql("SELECT state FROM jobs WHERE params ->> 'what' = 'wakes'"), 'SCHEDULED',
	'a job that is not due after the step forward stays SCHEDULED');
ok(sleeps_soon(), q{the scheduler sleeps after a step forward});
step(1801);
moves('wakes', 'a job that a step forward makes due is moved within about a minute by itself', 70);

# Leases end by the clock as it was stepped
sql("DELETE FROM jobs; INSERT INTO jobs (params) VALUES ('{}')");
my ($job, $lease) = split /\|/, sql("SELECT id, lease FROM ecto_job.start_available_jobs('jobs', 1, '3 s')");
step(-3600);
schedule('beside a lease', '4 s');
moves('beside a lease', 'a lease that ends an hour later keeps no due job waiting');
is(sql("SELECT state FROM jobs WHERE params = '{}'"), 'IN_PROGRESS', 'a lease lasts longer after a step back');
step(3600);
sql("INSERT INTO beside (params) VALUES ('{}')");
becomes_soon("SELECT state FROM jobs WHERE params = '{}'", 'AVAILABLE',
	'a lease ends when the clock has passed its end');
my (undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('jobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: /, 'the holder of a lease that has ended gets JQ001');

# Steps in the middle of a sweep, which a trigger makes long. A step forward may cancel the sweep as too long, and the
# queue is tried again after a second.
sql(q{DELETE FROM jobs; CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
	CREATE TRIGGER a_wait BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION wait()});
my $holder = session($node);
for my $seconds (-3600, 500, -86400 * 365 * 20, 86400 * 365 * 20)
{
	my $name = "a step of $seconds s in a sweep";
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	# Both queues are due in one step of the scheduler, and `beside`, which was swept last, comes after `jobs`: its job
	# is due when the step begins, and no longer due once the clock is stepped back
	my $later = "INSERT INTO beside (params, schedule, state) VALUES ('{}', clock_timestamp() - interval '1 s', 'SCHEDULED')";
	sql("DELETE FROM beside; $later");
	becomes_soon('SELECT state FROM beside', 'AVAILABLE', "$name: the other queue is swept before");
	ok(sleeps_soon(), qq{$name: the scheduler sleeps before});
	before_the_scheduler($node, sub {
		sql("$later; INSERT INTO jobs (params, schedule, state)
		     VALUES ('{\"what\": \"in $seconds\"}', clock_timestamp() - interval '2 s', 'SCHEDULED')");
	});
	becomes_soon("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND wait_event = 'advisory'",
		1, "$name: the sweep begins");
	step($seconds);
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	moves("in $seconds", "$name: the sweep moves its job");
	schedule("after $seconds", '300 ms');
	moves("after $seconds", "$name: the next job is moved");
	becomes_soon("SELECT state FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'idle',
		"$name: the scheduler sleeps afterwards");
}
$node->stop;
done_testing();
