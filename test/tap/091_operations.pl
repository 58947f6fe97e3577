# The queries of docs/operations.md show the symptoms that they are meant for: this test makes each symptom, and runs
# the query of its section unchanged.
#
# The first subtest runs all queries on a queue without symptoms, where no query may show one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ConsumerTest;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(allows_streaming => 1, conf => "max_prepared_transactions = 5\nmax_connections = 30\n");
my $text = slurp_source('docs/operations.md');

sub sql { return $node->safe_psql('postgres', shift); }

# query('A section', qr/word of the block/): returns the result of the section's first SQL block with this word
sub query
{
	my ($section, $word, $on) = @_;
	my ($body) = $text =~ /^## \Q$section\E\n(.*?)(?=^## |\z)/ms or die "no section $section";
	my @blocks = grep { $_ =~ $word } $body =~ /^```sql\n(.*?)^```$/msg;
	die "no block with $word in $section" unless @blocks;
	my $query = $blocks[0] =~ s/ \\g \/dev\/null$/;/mgr; # the documentation discards results that differ from run to run
	return ($on // $node)->safe_psql('postgres', $query);
}

sub becomes
{
	my ($shown, $pattern, $name) = @_;
	ok(poll_until(sub { $shown->() =~ $pattern }, $name), $name) or diag($shown->());
}

sql(q{SELECT ecto_job.create_queue('jobs')});

# The query of each symptom, and the pattern that its result must match with the symptom and not without
my %shows = (
	status => [ 'Jobs do not start', qr/status, paused FROM/, qr/^jobs\|(?!ok)/m ],
	paused => [ 'Jobs do not start', qr/status, paused FROM/, qr/^jobs\|.*\|t$/m ],
	states => [ 'Jobs do not start', qr/state, count/, qr/^(?:SCHEDULED|AVAILABLE|FAILED)\|/m ],
	grows => [ 'A queue grows', qr/queue_depth/, qr/^AVAILABLE\|[1-9]/m ],
	blocks => [ 'One job blocks', qr/ORDER BY attempt/, qr/^\d+\|2\|/m ],
	prepared => [ 'One job blocks', qr/pg_prepared_xacts/, qr/^forgotten\|/m ],
	failed => [ 'FAILED jobs', qr/GROUP BY error/, qr/^no such address\|1\|/m ],
	hangs => [ 'A consumer hangs', qr/expired/, qr/^\d+\|1\|[^|]*\|t\|[^|]*\|[^|]*\|\d+\|$/m ],
	off => [ 'The scheduler is off', qr/DISTINCT status/, qr/^(?:disabled|no scheduler)/m ],
	running => [ 'The scheduler is off', qr/backend_type, state/, qr/^\d+\|ecto_job scheduler\|/m ],
	vacuum => [ 'Vacuum does not clean', qr/backend_xmin/, qr/\|idle in transaction\|/ ],
	connections => [ 'Too many connections', qr/application_name/, qr/^ecto_job_consumer\|\w+\|active\|1$/m ]);

sub shown { my ($what, $on) = @_; return query(@{ $shows{$what} }[ 0, 1 ], $on); }
sub found { my ($what, $name) = @_; return becomes(sub { shown($what) }, $shows{$what}[2], $name); }

subtest 'no query shows a symptom while all is well' => sub {
	becomes(sub { shown('status') }, qr/^jobs\|ok\|f$/m, 'the scheduler runs');
	unlike(shown($_), $shows{$_}[2], "query $_ shows no symptom") for grep { $_ ne 'running' } sort keys %shows;
	like(shown('running'), $shows{running}[2], 'query running shows the scheduler');
};

# Jobs do not start, since no consumer claims them, and since a trigger at fault makes the sweeps fail
sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
found('states', 'jobs do not start: they are AVAILABLE, and no consumer takes them');
found('grows', 'a queue grows: the query counts the waiting jobs');
sql(q{CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no change today'; END $$;
	CREATE TRIGGER broken BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION broken();
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes(sub { shown('status') }, qr/^jobs\|failing: no change today\|f$/m, 'jobs do not start: the status has the error of the sweep');
sql('DROP TRIGGER broken ON jobs; TRUNCATE jobs');

sql(q{SELECT ecto_job.pause_queue('jobs')});
found('paused', 'jobs do not start: the queue is paused');
sql(q{SELECT ecto_job.resume_queue('jobs')});

# A consumer at work, and its connections
my $consumer = ConsumerTest->start($node, '--queue', 'jobs', '--exec', 'sleep 3600', '-j', '4');
found('connections', 'too many connections: a consumer program has one');
sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
becomes(sub { query('A queue grows', qr/ecto_job_consumer/) }, qr/^\d+\|ecto_job_consumer\|/m, 'a queue grows: the query shows the consumer that is at work');
$consumer->signal('KILL');
$consumer->end;
sql('TRUNCATE jobs');

# One job blocks, since its consumers die
sql(q{SELECT ecto_job.enqueue('jobs', '{}', max_attempts => 3)});
sql(q{SELECT ecto_job.start_available_jobs('jobs'); SELECT ecto_job.sweep('jobs', '2999-01-01');
	SELECT ecto_job.start_available_jobs('jobs')});
found('blocks', 'one job blocks: it has been started twice');
sql(q{BEGIN; SELECT id FROM jobs FOR UPDATE; PREPARE TRANSACTION 'forgotten'});
found('prepared', 'one job blocks: the query shows the forgotten prepared transaction');
sql(q{ROLLBACK PREPARED 'forgotten'; TRUNCATE jobs});

# FAILED jobs
sql(q{SELECT ecto_job.enqueue('jobs', '{}', max_attempts => 1)});
sql(q{SELECT ecto_job.fail_job('jobs', id, lease, 'no such address') FROM ecto_job.start_available_jobs('jobs')});
sql(q{SELECT ecto_job.enqueue('jobs', '{}', max_attempts => 1)});
sql(q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
	SELECT ecto_job.fail_job('jobs', :id, :lease, 'no such address');
	DELETE FROM jobs WHERE id = (SELECT min(id) FROM jobs)});
found('failed', 'FAILED jobs: the query groups them by their error');
like(query('FAILED jobs', qr/requeue/), qr/^1$/m, 'FAILED jobs: requeue() makes one be tried again');
sql(q{INSERT INTO jobs (params, state, error, schedule)
	SELECT '{}', 'FAILED', CASE n % 2 WHEN 0 THEN 'no such address' END, '2999-01-01' FROM generate_series(1, 4100) AS n});
query('FAILED jobs', qr/^DO /);
is(sql(q{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM
		(SELECT state, count(*) AS n FROM jobs WHERE schedule > '2998-01-01' GROUP BY state) AS s}),
	'FAILED 2050, SCHEDULED 2050', 'FAILED jobs: the block requeues those of its condition in batches');
is(sql(q{SELECT count(DISTINCT xmin::text) FROM jobs WHERE state = 'SCHEDULED' AND schedule > '2998-01-01'}), 3,
	'FAILED jobs: each batch is a transaction of its own');
sql('TRUNCATE jobs');

# A consumer hangs in the transaction that completes its job
sql(q{SELECT ecto_job.enqueue('jobs', '{}')});
my $hanging = $node->background_psql('postgres');
my ($id, $lease) = split /\|/, $hanging->query_safe(
	q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs', timeout => '1 s')});
$hanging->query_safe("BEGIN; SELECT ecto_job.complete_job('jobs', $id, $lease)");
found('hangs', 'a consumer hangs: its lease is over, and the query shows the session that has the row locked');
found('vacuum', 'vacuum does not clean: the query shows the open transaction');
$hanging->query_safe('ROLLBACK');
$hanging->quit;
sql('TRUNCATE jobs');

# The scheduler is off
sql('SELECT ecto_job.disable()');
found('off', 'the scheduler is off: the status says disabled');
becomes(sub { shown('running') =~ /scheduler/ ? 'there' : 'gone' }, qr/gone/, 'the scheduler is off: no process of it is shown');
sql('SELECT ecto_job.enable(); ALTER SYSTEM SET ecto_job.enabled = off');
$node->reload;
becomes(sub { shown('off') }, qr/^no scheduler: ecto_job.enabled is off$/m, 'the scheduler is off: the status says that ecto_job.enabled is off');
sql('ALTER SYSTEM RESET ecto_job.enabled');
$node->reload;
becomes(sub { shown('off') }, qr/^ok$/m, 'the scheduler is on again: the status says ok');

# Failover
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is(query('Failover', qr/pg_is_in_recovery/), 'f|1|0', 'failover: the query shows what the primary has');
is(query('Failover', qr/pg_is_in_recovery/, $standby), 't|0|0', 'failover: the query shows what the standby has');
$node->stop;
$standby->promote;
becomes(sub { query('Failover', qr/pg_is_in_recovery/, $standby) }, qr/^f\|1\|0$/, 'failover: the query shows the scheduler on the new primary');
$standby->stop;
done_testing();
