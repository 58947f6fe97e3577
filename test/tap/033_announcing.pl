# Moving and announcing are two things. A commit that has notified and waits for a synchronous standby holds NOTIFY's
# lock, which the whole cluster has once. What is due is moved and committed meanwhile, the status says that nobody is
# told, and all of it is announced when the lock is free.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use BellTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(allows_streaming => 1); # without WAL senders nobody waits

sub sql { return $node->safe_psql('postgres', shift); }
# Commits that do not wait for the standby
sub locally { return sql('SET synchronous_commit = local; ' . shift); }
sub job_due { return "INSERT INTO $_[0] (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')"; }

sql(q{SELECT ecto_job.create_queue(name) FROM unnest('{jobs,fence,notifies}'::text[]) AS name; CREATE TABLE other (id int)});
my $listener = listen_to($node, 'jobs', 'jobs.failed', 'jobs.retry', 'mine');
at_rest($node);

# Its commit waits for a standby that is not there
sql("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'gone'");
my $holder = session($node);
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
$holder->{stdin} .= "BEGIN; INSERT INTO other VALUES (1); NOTIFY anything; COMMIT;\n";
$holder->{run}->pump_nb;
becomes($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'SyncRep', 'a commit waits, and has NOTIFY\'s lock');

my $offset = -s $node->logfile;
my $waiting = "SELECT count(*) FROM jobs WHERE state IN ('SCHEDULED', 'IN_PROGRESS')";
locally(job_due('jobs'));
becomes($node, $waiting, 0, 'what is due is moved');
my $status = "SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass";
becomes($node, $status, "not announced: NOTIFY waits for a lock, which process $pid holds", 'the status says that nobody is told, and why');
locally(q{INSERT INTO jobs (params, state, attempt, max_attempts, expires, lease, notify)
	VALUES ('{}', 'IN_PROGRESS', 1, 1, clock_timestamp(), 42, 'lost'), ('{}', 'IN_PROGRESS', 1, 2, clock_timestamp(), 44, 'again')});
becomes($node, $waiting, 0, 'what is due later is moved, too');
locally(q{INSERT INTO jobs (params) VALUES ('{}')});
pass('a commit that enqueues does not wait for the lock');
like(sql($status), qr/^not announced/, 'the status still says so');

# A trigger that notifies by itself makes the sweep's commit wait for the lock, but not for long
locally(q{CREATE FUNCTION notifies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY mine; RETURN NEW; END $$;
	CREATE TRIGGER notifies BEFORE UPDATE ON notifies FOR EACH ROW EXECUTE FUNCTION notifies(); } . job_due('notifies'));
becomes($node, "SELECT status ~ '^failing: its commit took longer than 1000 ms' FROM ecto_job.queues WHERE queue = 'notifies'::regclass",
	't', 'a sweep whose trigger notifies fails');
locally(job_due('jobs'));
becomes($node, $waiting, 0, 'and the others are moved');

sql("SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names");
$node->reload;
my $heard = '';
ok(poll_until(sub {
	$heard .= ' ' . heard($listener);
	$heard =~ /jobs:scheduler/ && $heard =~ /jobs\.failed:scheduler/ && $heard =~ /mine:scheduler/ }, 'all of it'),
	'all of it is announced when the lock is free') or diag($heard);
becomes($node, $status, 'ok', 'and the status is well');
becomes($node, "SELECT count(*) FROM notifies WHERE state = 'SCHEDULED'", 0, 'the sweep that failed is done');
is(() = slurp_file($node->logfile, $offset) =~ /WARNING:  notifying consumers failed: NOTIFY waits for a lock/g, 1, 'the log says it once');
$holder->quit;

# Commits that have notified wait in a line for NOTIFY's lock, and each keeps it for 100 ms: who stands last waits for all of them
my $commits = $node->basedir . '/commits.sql';
append_to_file($commits, "BEGIN; INSERT INTO other VALUES (1); NOTIFY anything; COMMIT;\n");
$node->append_conf('postgresql.conf', "fsync = on\n"); # else commit_delay means nothing
$node->reload;
my ($in, $out) = ('', '');
my $line = do {
	local $ENV{PGOPTIONS} = '-c commit_delay=100000 -c commit_siblings=0';
	IPC::Run::start([ 'pgbench', '-n', '-c', '5', '-T', '600', '-f', $commits, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \$in, '>', \$out, '2>&1');
};
becomes($node, q{SELECT count(*) >= 3 FROM pg_locks WHERE locktype = 'object' AND database = 0 AND objid = 0 AND NOT granted},
	't', 'commits stand in a line for NOTIFY\'s lock');
sql(job_due('jobs'));
like(heard_next($listener, 'jobs', 30), qr/^jobs:scheduler$/, 'what is due is announced, though the line never ends');
$line->signal('TERM');
$line->finish;
$listener->{session}->quit;
$node->stop;
done_testing();
