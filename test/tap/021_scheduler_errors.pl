# A queue that fails, hangs or is locked is reported once and tried again later, and delays no other queue.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(conf => "ecto_job.sweep_timeout = '500 ms'\necto_job.log_min_duration = 0\necto_job.max_queues = 2\necto_job.further_queues = 0\n");

sub sql { return $node->safe_psql('postgres', shift); }

# due($what, @queues): enqueues a job that is due at once in each of the queues; $what marks it in params
sub due
{
	my ($what, @queues) = @_;
	sql("INSERT INTO $_ (params, schedule, state) VALUES ('{\"what\": \"$what\"}', clock_timestamp(), 'SCHEDULED')")
	  for @queues;
}

sub moved
{
	my ($what, $queue) = @_;
	becomes($node, "SELECT state FROM $queue WHERE params ->> 'what' = '$what'", 'AVAILABLE',
		"the due job '$what' of queue $queue is moved");
}

sub status_of { return sql("SELECT status FROM ecto_job.queues WHERE queue = '$_[0]'::regclass"); }

for my $queue (qw(good bad))
{
	sql("SELECT ecto_job.create_queue('$queue')");
	sql("SELECT ecto_job.configure_queue('$queue', poll_interval => '50 ms')");
}
due('first', 'good', 'bad');
moved('first', $_) for qw(good bad);
ok(wait_for_log($node, qr/swept queue "public.good" in \d+ ms: 1 jobs activated/),
	'ecto_job.log_min_duration = 0 logs a sweep');

# A trigger that raises
my $scheduler = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'";
my $pid = sql($scheduler);
my $offset = -s $node->logfile;
sql(q{CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'no change today' USING DETAIL = 'a detail'; END $$;
	CREATE TRIGGER a_raise BEFORE UPDATE ON bad FOR EACH ROW EXECUTE FUNCTION raise()});
due('raised', 'good', 'bad');
moved('raised', 'good');
$offset =
  wait_for_log($node, qr/WARNING:  job \d+ of queue "bad" is skipped: no change today\n.*DETAIL:  a detail/, $offset);
ok($offset, "the log names the job that is skipped, with the trigger's error");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass",
	'failing: no change today', "the status shows the trigger's error");
is(status_of('good'), 'ok', 'the status of the other queue is ok');
# The next two sweeps of the queue come after pauses of 1 s and 2 s
my $tries = "SELECT last_sweep FROM ecto_job.queues WHERE queue = 'bad'::regclass";
for my $more (1 .. 2)
{
	my $last = sql($tries);
	ok(poll_until(sub { sql($tries) ne $last }, 'another try'), "the failing queue is tried again, $more");
}
unlike(slurp_file($node->logfile, $offset), qr/no change today/, 'the same failure is not logged again');
due('meanwhile', 'good');
moved('meanwhile', 'good');
sql('DROP TRIGGER a_raise ON bad');
moved('raised', 'bad');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass", 'ok',
	'the status is ok when the trigger is dropped');

# A broken table
sql("INSERT INTO bad (params, schedule) VALUES ('{}', clock_timestamp() + interval '2 s')");
sql('ALTER TABLE bad RENAME COLUMN expires TO gone');
becomes($node, "SELECT status ~ '^failing: column .*expires' FROM ecto_job.queues WHERE queue = 'bad'::regclass",
	't', 'the status names the missing column');
$offset = -s $node->logfile;
due('column', 'good');
moved('column', 'good');
sql('ALTER TABLE bad RENAME COLUMN gone TO expires');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass", 'ok',
	'the status is ok when the column is back');
ok(wait_for_log($node, qr/LOG:  sweep of queue "public.bad" works again/, $offset),
	'the log says that the sweep works again');
is(sql($scheduler), $pid, 'the failures have not replaced the scheduler');

# A trigger that is slow, and a trigger that only the end of the process stops
sql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON bad FOR EACH ROW EXECUTE FUNCTION slow()});
due('slow', 'bad');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass",
	'failing: it took longer than ecto_job.sweep_timeout, 500 ms',
	'the status says that the sweep took longer than ecto_job.sweep_timeout');
due('beside the slow', 'good');
moved('beside the slow', 'good');
$pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'");
sql(q{CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$});
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND pid <> $pid",
	1, 'a trigger that catches the cancellation makes the scheduler be replaced')
  or die "what follows waits for the other queue, in vain\n";
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass",
	'failing: the scheduler ended during its sweep',
	'the status says that the scheduler ended during the sweep of the queue');
due('after the end', 'good');
moved('after the end', 'good');
sql('DROP TRIGGER a_slow ON bad');
moved('slow', 'bad');

# A locked table
sql("INSERT INTO bad (params, schedule) VALUES ('{}', clock_timestamp() + interval '2 s')");
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE bad IN SHARE MODE');
due('locked', 'good');
moved('locked', 'good');
becomes($node, "SELECT status ~ '^locked' FROM ecto_job.queues WHERE queue = 'bad'::regclass", 't',
	'the status says that the table is locked');
$locker->query_safe('COMMIT');
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'bad'::regclass", 'ok',
	'the status is ok when the lock is released');

# DDL that is waiting behind the sweeps is not starved
sql('ALTER TABLE bad ADD COLUMN note text; ALTER TABLE bad DROP COLUMN note');
sql('ALTER TABLE bad RENAME TO worse; CREATE SCHEMA other; ALTER TABLE worse SET SCHEMA other');
due('renamed', 'other.worse');
moved('renamed', 'other.worse');

# More queues than places in shared memory
$offset = -s $node->logfile;
sql("SELECT ecto_job.create_queue('third'); SELECT ecto_job.configure_queue('third', poll_interval => '50 ms')");
due('past the limit', 'third', 'good');
moved('past the limit', $_) for qw(third good);
ok(wait_for_log($node, qr/WARNING:  more queues than places in shared memory/, $offset),
	'the log warns of more queues than places in shared memory');
like(status_of('third'), qr/^not recorded: /, 'the status says that the queue without a place is not recorded');
sql("SELECT ecto_job.disable()");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'", 0,
	'the scheduler has left after disable()');
sql("SELECT ecto_job.drop_queue('good')");
sql("SELECT ecto_job.enable()");
becomes($node, "SELECT status FROM ecto_job.queues WHERE queue = 'third'::regclass", 'ok',
	'a queue without a place gets that of a dropped queue');

$node->stop;
done_testing();
