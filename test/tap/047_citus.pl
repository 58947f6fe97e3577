# Citus distributes tables and schemas over several nodes, and a queue there would go wrong silently: it is refused, is
# not swept, and its status says so. In a server without Citus nothing is asked.
#
# This test has no Citus. It makes a stand-in for the two catalog tables in which Citus records what is distributed, with
# Citus's names, columns and indexes. That is all that the library reads of Citus.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();

sub sql { return $node->safe_psql('postgres', shift); }

# refused($statement, $like, $name): passes when the statement fails with this error
sub refused
{
	my ($statement, $like, $name) = @_;
	my (undef, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	return like($error, $like, $name);
}

my $library_table = q{(
	id bigserial PRIMARY KEY, state varchar(255) DEFAULT 'AVAILABLE' NOT NULL, expires timestamp,
	schedule timestamp DEFAULT timezone('UTC', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
	max_attempts integer DEFAULT 5 NOT NULL, params jsonb NOT NULL, notify varchar(255),
	priority integer DEFAULT 0 NOT NULL, inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL)};

sql(q{CREATE SCHEMA spread; SELECT ecto_job.create_queue('jobs'); SELECT ecto_job.create_queue('fence')});
sql("CREATE TABLE library_jobs $library_table; CREATE TABLE plain_jobs $library_table");
becomes($node, "SELECT DISTINCT status FROM ecto_job.queues", 'ok', 'without Citus queues are swept');

sql(q{
	SET allow_system_table_mods = on;
	CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass NOT NULL, partmethod "char" NOT NULL);
	CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index ON pg_catalog.pg_dist_partition (logicalrelid);
	CREATE TABLE pg_catalog.pg_dist_schema (schemaid oid CONSTRAINT pg_dist_schema_pkey PRIMARY KEY, colocationid int);
	GRANT SELECT ON pg_catalog.pg_dist_partition, pg_catalog.pg_dist_schema TO PUBLIC;
	INSERT INTO pg_dist_schema VALUES ('spread'::regnamespace, 1);
	INSERT INTO pg_dist_partition VALUES ('library_jobs', 'n')});

# In a distributed schema
refused(q{SELECT ecto_job.create_queue('jobs', schema_prefix => 'spread')},
	qr/ERROR:  0A000: queue "jobs" cannot be created: Citus distributes schema "spread"\nDETAIL: .*\nHINT:  Choose a schema that is not distributed/,
	'create_queue in a distributed schema is refused');
is(sql(q{SELECT to_regclass('spread.jobs') IS NULL}), 't', 'create_queue that is refused makes no table');
is(sql(q{SELECT ecto_job.create_queue('more_jobs')}), 'more_jobs', 'create_queue works in a schema that is not distributed');
is(sql(q{SELECT ecto_job.create_queue('jobs')}), 'jobs', 'create_queue of a queue that exists works beside Citus');

# A distributed table
my $distributed = qr/ERROR:  0A000: "library_jobs" cannot be a queue: Citus distributes the table\nDETAIL: .*\nHINT:  A queue is a plain table/;
refused(q{SELECT ecto_job.adopt_queue('library_jobs')}, $distributed, 'adopt_queue of a distributed table is refused');
refused(q{INSERT INTO ecto_job.queue_settings (queue) VALUES ('library_jobs')}, $distributed,
	'a row of the registry for a distributed table is refused');
is(sql(q{SELECT ecto_job.adopt_queue('plain_jobs')}), 'plain_jobs', 'adopt_queue works for a plain table beside Citus');

# A restore makes the table before its triggers, so that Citus may have distributed the table
my $trigger = 'CREATE TRIGGER ecto_job_changed AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ecto_job.job_changed(%s)';
my ($settings) = sql(q{SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'jobs'::regclass AND tgname = 'ecto_job_changed'}) =~
  /job_changed\((.*)\)$/;
my (undef, undef, $warning) = $node->psql('postgres',
	'CREATE TABLE restored (LIKE jobs INCLUDING ALL); INSERT INTO pg_dist_partition VALUES (\'restored\', \'n\');'
	  . sprintf($trigger, 'restored', $settings));
like($warning, qr/WARNING:  "restored" is not made a queue: Citus distributes it/, 'a restored table that is distributed is not made a queue');
is(sql(q{SELECT count(*) FROM ecto_job.queue_settings WHERE queue = 'restored'::regclass}), '0', 'a restored table that is distributed is not registered');

# A queue whose table is distributed later
my $log = -s $node->logfile;
sql(q{
	BEGIN;
	INSERT INTO pg_dist_partition VALUES ('jobs', 'n');
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED');
	COMMIT});
is(sql(q{SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass}),
	'not swept: Citus distributes its table; create a queue in a schema that is not distributed',
	'the status of a distributed queue says that it is not swept');
for my $function ('queue_depth', 'running_jobs')
{
	refused("SELECT * FROM ecto_job.$function('jobs')", qr/ERROR:  0A000: the jobs of queue "jobs" are not in this table/,
		"$function of a distributed queue is refused, since its table is empty here");
}
ok( poll_until(sub { slurp_file($node->logfile, $log) =~ /table "jobs" is not swept: Citus distributes it/ }, 'a line of the log'),
	"the server's log says that a distributed queue is not swept");
sql(q{INSERT INTO fence (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes($node, 'SELECT state FROM fence', 'AVAILABLE', 'queues that are not distributed are swept');
is(sql('SELECT state FROM jobs'), 'SCHEDULED', 'the scheduler does not sweep a distributed queue');

sql(q{DELETE FROM pg_dist_partition WHERE logicalrelid = 'jobs'::regclass});
becomes($node, 'SELECT state FROM jobs', 'AVAILABLE', 'a queue that is distributed no longer is swept');
becomes($node, q{SELECT status FROM ecto_job.queues WHERE queue = 'jobs'::regclass}, 'ok', 'the status of a queue that is distributed no longer is ok');

$node->stop;
done_testing();
