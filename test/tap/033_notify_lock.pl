# A commit that has notified and waits for a synchronous standby holds NOTIFY's lock, of which the whole cluster has
# one. Meanwhile due jobs are moved and committed, and the status says that they are not announced. When the lock is
# free all of them are announced.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use SchedulerTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(allows_streaming => 1); # without WAL senders no commit waits for a standby

sub sql { return $node->safe_psql('postgres', shift); }
# locally($statements): runs the statements in commits that do not wait for the standby
sub locally { return sql('SET synchronous_commit = local; ' . shift); }
sub job_due { return "INSERT INTO $_[0] (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')"; }

sql(q{SELECT ecto_job.create_queue(name) FROM unnest('{jobs,fence,notifies}'::text[]) AS name; CREATE TABLE other (id int)});
my $listener = new_listener($node, 'jobs', 'jobs.failed', 'jobs.retry', 'mine');
wait_for_sleep($node);

# The commit of the lock's holder waits for a standby that does not exist
sql("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'gone'");
my $holder = session($node);
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
$holder->{stdin} .= "BEGIN; INSERT INTO other VALUES (1); NOTIFY anything; COMMIT;\n";
$holder->{run}->pump_nb;
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'SyncRep',
	'a commit that waits for a standby has NOTIFY\'s lock');

my $offset = -s $node->logfile;
my $waiting = "SELECT count(*) FROM jobs WHERE state IN ('SCHEDULED', 'IN_PROGRESS')";
locally(job_due('jobs'));
becomes($node, $waiting, 0, 'a due job is moved while NOTIFY waits');
my $status = "SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass";
becomes($node, $status, "not announced: NOTIFY waits for a lock, which process $pid holds",
	'the status says that jobs are not announced, and who holds the lock');
locally(q{INSERT INTO jobs (params, state, attempt, max_attempts, expires, lease, notify)
	VALUES ('{}', 'IN_PROGRESS', 1, 1, clock_timestamp(), 42, 'lost'), ('{}', 'IN_PROGRESS', 1, 2, clock_timestamp(), 44, 'again')});
becomes($node, $waiting, 0, 'jobs whose attempts end later are moved while NOTIFY waits');
locally(q{INSERT INTO jobs (params) VALUES ('{}')});
pass('a commit that enqueues does not wait for the lock');
like(sql($status), qr/^not announced/, 'the status still says that jobs are not announced');

# A trigger that calls NOTIFY makes the sweep's commit wait for the lock, up to a limit
locally(q{CREATE FUNCTION notifies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY mine; RETURN NEW; END $$;
	CREATE TRIGGER notifies BEFORE UPDATE ON notifies FOR EACH ROW EXECUTE FUNCTION notifies(); } . job_due('notifies'));
becomes($node, "SELECT status ~ '^failing: its commit took longer than 1000 ms' FROM ecto_job.queues WHERE queue = 'notifies'::regclass",
	't', 'the status says that the commit of a sweep whose trigger notifies took too long');
locally(job_due('jobs'));
becomes($node, $waiting, 0, 'a due job of another queue is moved beside a sweep that notifies');

sql("SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names");
$node->reload;
my $notified = '';
ok(poll_until(sub {
	$notified .= ' ' . notifications($listener);
	$notified =~ /jobs:scheduler/ && $notified =~ /jobs\.failed:scheduler/
		&& $notified =~ /mine:scheduler/ }, 'all notifications'),
	'all jobs and notifications are announced when the lock is free') or diag($notified);
becomes($node, $status, 'ok', 'the status is ok when the lock is free');
becomes($node, "SELECT count(*) FROM notifies WHERE state = 'SCHEDULED'", 0,
	'the job whose sweep failed is moved when the lock is free');
is(() = slurp_file($node->logfile, $offset) =~ /WARNING:  notifying consumers failed: NOTIFY waits for a lock/g, 1,
	'the log says once that NOTIFY waits for a lock');
$holder->quit;

# Commits that have notified queue up for NOTIFY's lock, and each keeps it for 100 ms: the last one waits for all others
my $commits = $node->basedir . '/commits.sql';
append_to_file($commits, "BEGIN; INSERT INTO other VALUES (1); NOTIFY anything; COMMIT;\n");
$node->append_conf('postgresql.conf', "fsync = on\n"); # commit_delay has no effect without fsync
$node->reload;
my ($in, $out) = ('', '');
my $line = do {
	local $ENV{PGOPTIONS} = '-c commit_delay=100000 -c commit_siblings=0';
	IPC::Run::start([ 'pgbench', '-n', '-c', '5', '-T', '600', '-f', $commits, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \$in, '>', \$out, '2>&1');
};
becomes($node, q{SELECT count(*) >= 3 FROM pg_locks WHERE locktype = 'object' AND database = 0 AND objid = 0 AND NOT granted},
	't', 'commits queue up for NOTIFY\'s lock');
sql(job_due('jobs'));
like(next_notification($listener, 'jobs', 30), qr/^jobs:scheduler$/,
	'a due job is announced although commits queue up for NOTIFY\'s lock without end');
$line->signal('TERM');
$line->finish;
$listener->{session}->quit;
$node->stop;
done_testing();
