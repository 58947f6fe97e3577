# The clock of the server is stepped, as an administrator or NTP does it: what is due is moved, a queue is not
# forgotten, and the scheduler does not spin. What waits for a time waits for the clock to show it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use BellTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $soon = 10;
my $node = new_node(start => 0);
my $clock = $node->basedir . '/clock';
my $library = $node->basedir . '/stepped_clock.so';
my $offset = 0;

# From what the clock showed, for all processes at once
sub step
{
	$offset += shift;
	open(my $file, -e $clock ? '+<' : '>', $clock) or die $!;
	syswrite($file, pack('q', 1_000_000 * $offset)) == 8 or die $!;
	close $file;
}

sub sql { return $node->safe_psql('postgres', shift); }
# Not for as long as at_rest() waits: without what is tested here it never sleeps
sub rests
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
becomes_soon("SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'", 2, 'two queues');
ok(rests(), q{it rests});

# The scheduler sees the steps, or the test would prove nothing
step(-86400);
schedule('proof', '10 ms');
becomes_soon("SELECT updated_at AT TIME ZONE 'UTC' < clock_timestamp() FROM jobs WHERE state = 'AVAILABLE'", 't',
	"the scheduler's clock is the sessions'");
ok(rests(), q{it rests});

# Asleep. A step of less than ten minutes looks like a rest; a queue rests until after its turn
for my $back (5, 300, 3600)
{
	step(-$back);
	schedule("back $back", '300 ms');
	moves("back $back", "$back s back: a job scheduled in the new time");
	ok(rests(), q{it rests});
}
schedule('waits', '30 minutes');
schedule('wakes', '1 hour');
ok(rests(), q{it rests});
step(1801);
sql("INSERT INTO beside (params) VALUES ('{}')");
moves('waits', 'forward: what is due now, when anything wakes the scheduler');
is(sql("SELECT state FROM jobs WHERE params ->> 'what' = 'wakes'"), 'SCHEDULED', 'and no more');
ok(rests(), q{it rests});
step(1801);
moves('wakes', 'or within the minute that it sleeps at most', 70);

# Leases end by the clock that shows now
sql("DELETE FROM jobs; INSERT INTO jobs (params) VALUES ('{}')");
my ($job, $lease) = split /\|/, sql("SELECT id, lease FROM ecto_job.start_available_jobs('jobs', 1, '3 s')");
step(-3600);
schedule('beside a lease', '4 s');
moves('beside a lease', 'a lease of an hour later keeps nothing waiting');
is(sql("SELECT state FROM jobs WHERE params = '{}'"), 'IN_PROGRESS', 'and lasts longer');
step(3600);
sql("INSERT INTO beside (params) VALUES ('{}')");
becomes_soon("SELECT state FROM jobs WHERE params = '{}'", 'AVAILABLE', 'until the clock has passed it');
my (undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT ecto_job.complete_job('jobs', $job, $lease)");
like($error, qr/ERROR:  JQ001: /, 'then its holder is told, JQ001');

# In the middle of a turn, which a trigger makes long. A step forward may end it as too long, and the queue is tried
# again after a second.
sql(q{DELETE FROM jobs; CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
	CREATE TRIGGER a_wait BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION wait()});
my $holder = session($node);
for my $seconds (-3600, 500, -86400 * 365 * 20, 86400 * 365 * 20)
{
	my $name = "a step of $seconds s in a turn";
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	# Both in one round, and the other queue, whose turn was the last, after this one: its job is due when the round
	# begins, and after a step back no more
	my $later = "INSERT INTO beside (params, schedule, state) VALUES ('{}', clock_timestamp() - interval '1 s', 'SCHEDULED')";
	sql("DELETE FROM beside; $later");
	becomes_soon('SELECT state FROM beside', 'AVAILABLE', "$name: another queue's turn");
	ok(rests(), q{it rests});
	before_the_scheduler($node, sub {
		sql("$later; INSERT INTO jobs (params, schedule, state)
		     VALUES ('{\"what\": \"in $seconds\"}', clock_timestamp() - interval '2 s', 'SCHEDULED')");
	});
	becomes_soon("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND wait_event = 'advisory'",
		1, "$name: it begins");
	step($seconds);
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	moves("in $seconds", "$name: it ends");
	schedule("after $seconds", '300 ms');
	moves("after $seconds", "$name: the next job");
	becomes_soon("SELECT state FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 'idle', "$name: it sleeps");
}
$node->stop;
done_testing();
