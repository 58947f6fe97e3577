# Behind pgbouncer in transaction mode, where a client gets another session for each transaction, consumers that wait
# perform each job once and miss none: the documentation's consumer in Python, eight times.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $pgbouncer = '/usr/sbin/pgbouncer';
plan skip_all => 'no pgbouncer here' unless -x $pgbouncer;
plan skip_all => 'no psycopg here' if system('python3 -c "import psycopg" 2>/dev/null');

my $clients = 8;
my $node = new_node();
my $directory = PostgreSQL::Test::Utils::tempdir_short();

# No wait times out and no session searches by itself: only a wake-up brings a job to its consumer
$node->safe_psql('postgres', q{
	SELECT ecto_job.configure_queue(ecto_job.create_queue('jobs'), poll_interval => '1 hour');
	CREATE TABLE greetings (job bigint, text text)});
my ($consumer) = slurp_source('docs/consumers.md') =~ /^## Python.*?^```python\n(.*?)^```$/ms;
is($consumer =~ s/'60 s'/'1 day'/ + $consumer =~ s/autocommit=True, /$&prepare_threshold=None, /, 2,
	'the example in Python has a wait and a connection in autocommit');
append_to_file("$directory/consumer.py", $consumer);

my $port = $node->port;
append_to_file("$directory/pgbouncer.ini", <<"INI");
[databases]
postgres = host=${\$node->host} port=$port user=${\scalar getpwuid($<)}
[pgbouncer]
listen_port = $port
unix_socket_dir = $directory
auth_type = any
pool_mode = transaction
default_pool_size = ${\($clients + 2)}
INI
my $log = '';
my $pooler = IPC::Run::start([ $pgbouncer, "$directory/pgbouncer.ini" ], '<', \undef, '>&', \$log);
{
	local $ENV{PGHOST} = $directory;
	ok(poll_until(sub { $pooler->pump_nb; system("psql -XAtc 'SELECT 1' -p $port postgres >/dev/null 2>&1") == 0 }, 'the pooler'),
		'pgbouncer runs');
}
my @environment = ('env', "PGHOST=$directory", "PGPORT=$port", 'PGDATABASE=postgres');
my @outputs = ('') x $clients;
my @consumers = map { IPC::Run::start([ @environment, 'python3', "$directory/consumer.py" ], '<', \undef, '>&', \$_) } @outputs;

my $sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL ecto_job.wait%' AND state = 'active' AND wait_event_type = 'Extension'";
becomes($node, $sleeping, $clients, 'all consumers wait');

append_to_file("$directory/enqueue.sql", q{SELECT ecto_job.enqueue('jobs', jsonb_build_object('name', :client_id || '-' || nextval('names')));});
$node->safe_psql('postgres', 'CREATE SEQUENCE names');
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-t', '25', '-f', "$directory/enqueue.sql", $node->connstr('postgres') ], '100 jobs are enqueued');
becomes($node, 'SELECT count(*) FROM jobs', 0, 'behind a pooler, all jobs are performed');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT text) FROM greetings'), '100|100', 'behind a pooler, each job is performed once');
becomes($node, $sleeping, $clients, 'all consumers wait again');

# One by one, so that each job needs a wake-up of its own
for my $n (1 .. 10)
{
	$node->safe_psql('postgres', qq{SELECT ecto_job.enqueue('jobs', '{"name": "alone"}')});
	becomes($node, q{SELECT count(*) FROM greetings WHERE text = 'Hello, alone'}, $n, "job $n of 10 finds its consumer");
}
becomes($node, $sleeping, $clients, 'all consumers wait at the end');

$_->signal('TERM') for @consumers;
$_->finish for @consumers;
is(join('', @outputs), '', 'no consumer has failed');
$pooler->signal('TERM');
$pooler->finish;
unlike($log, qr/ERROR|FATAL|WARNING/, 'the pooler has no complaint') or diag($log);
$node->stop;
done_testing();
