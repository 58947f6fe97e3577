# Behind pgbouncer in transaction mode, where a client gets another session for each transaction, consumers that wait
# perform each job once and miss none, and one job wakes one of them: sessions of psql, the documentation's consumer in
# Python, and ecto_job_consumer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use ConsumerTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use WaitTest;

my $pgbouncer = '/usr/sbin/pgbouncer';
plan skip_all => 'no pgbouncer here' unless -x $pgbouncer;
plan skip_all => 'no psycopg here' if system('python3 -c "import psycopg" 2>/dev/null');

my $clients = 8;
my $node = new_node(conf => "max_connections = 120\nclient_connection_check_interval = 1s\n");
my $directory = PostgreSQL::Test::Utils::tempdir_short();
waiters_of($node);

# No wait times out and no session searches by itself: only a wake-up brings a job to its consumer
sql(q{
	SELECT ecto_job.configure_queue(ecto_job.create_queue('jobs'), poll_interval => '1 day');
	CREATE TABLE greetings (job bigint, text text);
	CREATE ROLE pooled LOGIN;
	ALTER ROLE pooled SET ecto_job.session_leases = off;
	GRANT USAGE ON SCHEMA ecto_job TO pooled;
	GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO pooled;
	GRANT INSERT ON greetings TO pooled});
my ($consumer) = slurp_source('docs/consumers.md') =~ /^## Python.*?^```python\n(.*?)^```$/ms;
is($consumer =~ s/'60 s'/'1 day'/ + $consumer =~ s/autocommit=True, /$&prepare_threshold=None, /, 2,
	'the example in Python has a wait and a connection in autocommit');
append_to_file("$directory/consumer.py", $consumer);

my $port = $node->port;
my $server = "host=${\$node->host} port=$port dbname=postgres";
append_to_file("$directory/pgbouncer.ini", <<"INI");
[databases]
postgres = $server user=${\scalar getpwuid($<)}
pooled = $server user=pooled
[pgbouncer]
listen_port = $port
unix_socket_dir = $directory
auth_type = any
pool_mode = transaction
default_pool_size = 52
INI
sub Pooler::connstr { my ($self, $database) = @_; return "host=$directory port=$port dbname=$self->{$database}"; }
my $log = '';
my $pooler = IPC::Run::start([ $pgbouncer, "$directory/pgbouncer.ini" ], '<', \undef, '>&', \$log);
my $through_pooler = bless { postgres => 'postgres' }, 'Pooler';
ok(poll_until(
		sub { $pooler->pump_nb; system('psql', '-XAtq', '-d', $through_pooler->connstr('postgres'), '-o', '/dev/null', '-c', 'SELECT 1') == 0 },
		'the pooler'),
	'pgbouncer runs');

wakes_one_of_fifty($through_pooler->connstr('postgres'));

# Consumers, and one job after the other, each of which needs a wake-up of its own
my $asleep = "SELECT count(*) FROM pg_stat_activity WHERE $sleeping";
my @environment = ('env', "PGHOST=$directory", "PGPORT=$port", 'PGDATABASE=postgres');
my @outputs = ('') x $clients;
my @consumers = map { IPC::Run::start([ @environment, 'python3', "$directory/consumer.py" ], '<', \undef, '>&', \$_) } @outputs;
for my $n (1 .. 10)
{
	remember_sleepers($clients, "all consumers wait before job $n of 10");
	sql(q{SELECT ecto_job.enqueue('jobs', '{"name": "alone"}')});
	becomes($node, q{SELECT count(*) FROM greetings WHERE text = 'Hello, alone'}, $n, "job $n of 10 finds its consumer");
	have_slept_on($clients - 1, "job $n of 10 wakes no other consumer");
}

# Many jobs
append_to_file("$directory/enqueue.sql", q{SELECT ecto_job.enqueue('jobs', jsonb_build_object('name', :client_id || '-' || nextval('names')));});
sql('CREATE SEQUENCE names; TRUNCATE greetings');
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-t', '25', '-f', "$directory/enqueue.sql", $node->connstr('postgres') ], '100 jobs are enqueued');
becomes($node, 'SELECT count(*) FROM jobs', 0, 'behind a pooler, all jobs are performed');
is(sql('SELECT count(*), count(DISTINCT text) FROM greetings'), '100|100', 'behind a pooler, each job is performed once');
becomes($node, $asleep, $clients, 'all consumers wait at the end');
$_->signal('TERM') for @consumers;
$_->finish for @consumers;
is(join('', @outputs), '', 'no consumer has failed');
becomes($node, $asleep, 0, 'no session waits for a client that is gone');

# The consumer program
$through_pooler->{postgres} = 'pooled';
for my $work ([ 'programs', '--exec', 'true' ], [ 'statements', '--sql', q{INSERT INTO greetings VALUES (($2).id, 'by SQL')} ])
{
	my ($kind, @arguments) = @$work;
	my $program = ConsumerTest->start($through_pooler, '--queue', 'jobs', @arguments);
	for my $n (1 .. 3)
	{
		becomes($node, $asleep, 1, "$kind: the consumer program waits before job $n behind the pooler") or diag($program->log);
		my $id = sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
		ok($program->wait_for_log(qr/job $id: completed/), "$kind: the consumer program performs job $n");
	}
	becomes($node, $asleep, 1, "$kind: the consumer program waits at the end");
	$program->signal('TERM');
	is($program->end, 0, "$kind: the consumer program behind the pooler exits with 0 after SIGTERM");
	like($program->log, qr/info: stopped$/m, "$kind: the consumer program has stopped");
	unlike($program->log, qr/warning|error|lost|listens/, "$kind: the log has no fault") or diag($program->log);
	becomes($node, $asleep, 0, "$kind: no session waits for the program that has stopped");
}
is(sql(q{SELECT count(*) FROM greetings WHERE text = 'by SQL'}), 3, 'statements: each job is performed once');
is(sql('SELECT count(*) FROM jobs'), 0, 'no job is left');

$pooler->signal('TERM');
$pooler->finish;
unlike($log, qr/ERROR|FATAL|WARNING/, 'the pooler has no complaint') or diag($log);
$node->stop;
done_testing();
