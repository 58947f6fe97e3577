# The option failed_retention: the scheduler deletes FAILED jobs that are older, as the table's owner, and nothing else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(conf => "ecto_job.log_min_duration = 0\n");

sub sql { return $node->safe_psql('postgres', shift); }

sql(q{
	CREATE ROLE tenant LOGIN; GRANT CREATE ON SCHEMA public TO tenant;
	SET ROLE tenant;
	SELECT ecto_job.create_queue('jobs'), ecto_job.create_queue('kept');
	CREATE TABLE deleted (id bigint, by_role name);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO public.deleted VALUES (OLD.id, current_user); RETURN OLD; END $$;
	CREATE TRIGGER note BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
	ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
	ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
	INSERT INTO kept (params, state, updated_at) VALUES ('{}', 'FAILED', '2001-01-01');
	CREATE TABLE notes (job bigint)});
# More than a batch; every third job is old
sql(q{INSERT INTO jobs (params, state, updated_at)
	SELECT '{}', CASE n % 3 WHEN 1 THEN 'AVAILABLE' ELSE 'FAILED' END, CASE n % 3 WHEN 2 THEN now() AT TIME ZONE 'UTC' ELSE '2001-01-01' END
	FROM generate_series(1, 9000) AS n});
my $states = q{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, count(*) AS n FROM jobs GROUP BY state) AS s};
my $owned = 'SELECT count(*) FROM deleted WHERE by_role = \'tenant\'';
is(sql($states), 'AVAILABLE 3000, FAILED 6000', 'without the option no job is deleted');

# One of the old jobs is locked
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT id FROM jobs WHERE id = 3 FOR UPDATE');
my $offset = -s $node->logfile;
sql(q{SET ROLE tenant; SELECT ecto_job.configure_queue('jobs', options => '{"failed_retention": "1 day"}')});
# Any commit that concerns the queue has the scheduler read its settings; else the next full sweep has
sql(q{SELECT ecto_job.enqueue('jobs', '{}', schedule => now() + interval '10 ms')});
becomes($node, $states, 'AVAILABLE 3001, FAILED 3001', 'the scheduler deletes old FAILED jobs, but for the locked one');
is(sql($owned), 2999, 'jobs are deleted with the rights of the owner, whatever the policies of the table');
is(sql('SELECT count(*) FROM jobs WHERE state = \'FAILED\' AND updated_at < \'2002-01-01\''), 1, 'one old job is left, the locked one');
is(sql('SELECT count(*) FROM kept'), 1, 'a queue without the option keeps its FAILED jobs');
like(slurp_file($node->logfile, $offset), qr/swept queue "public.jobs" in \d+ ms: 0 jobs activated, 0 expired, 0 failed, \d+ FAILED deleted/,
	'the log shows the number of jobs that were deleted')
  or diag(slurp_file($node->logfile, $offset));
$locker->query_safe('ROLLBACK');
$locker->quit;

# A restart begins a new pass; a job that a foreign key refers to is kept, and does not make the queue fail
sql(q{INSERT INTO notes VALUES (3); ALTER TABLE notes ADD FOREIGN KEY (job) REFERENCES jobs});
sql(q{INSERT INTO jobs (params, state, updated_at) VALUES ('{}', 'FAILED', '2001-01-01')});
$offset = -s $node->logfile;
$node->restart;
becomes($node, $states, 'AVAILABLE 3001, FAILED 3001', 'after a restart the scheduler deletes what it can');
ok(wait_for_log($node, qr/WARNING:  FAILED job 3 of queue "jobs" is kept beyond failed_retention: .*foreign key/, $offset),
	'the log says which job is kept, and why');
is(sql(q{SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass}), 'ok', 'the queue does not count as failing');

# null ends it
sql(q{TRUNCATE notes; SET ROLE tenant; SELECT ecto_job.configure_queue('jobs', options => '{"failed_retention": null}')});
$node->restart;
sql(q{SELECT ecto_job.enqueue('jobs', '{}', schedule => now() + interval '10 ms')});
becomes($node, $states, 'AVAILABLE 3002, FAILED 3001', 'without the option the scheduler sweeps');
is(sql('SELECT count(*) FROM jobs WHERE id = 3'), 1, 'a job is kept for ever once the option is reset');
done_testing();
