# A dump has the whole of a queue: its table, jobs, triggers, rights and settings. Restored by the database's owner,
# who is no superuser, the database is equal to the dumped one and is not swept until enable(). In every form of dump
# and restore, a table that comes with its triggers is a queue with its settings. Dropped queues are not in the dump.
#
# Seen to fail without INSERT ON queue_settings for pg_database_owner (a dump of 0.2.0), and with scheduler_state
# dumped.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes_in);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();

sub sql { return $node->safe_psql('postgres', shift); }

sub in_database
{
	my ($database, $query, $user) = @_;
	return $node->safe_psql($database, $query, extra_params => [ '-U', $user // 'landlord' ]);
}

# Creates a database whose extension belongs to a superuser, and everything else to the database's owner
sub new_database
{
	my ($name) = @_;
	sql("CREATE DATABASE $name OWNER landlord");
	$node->safe_psql($name, 'CREATE EXTENSION ecto_job');
}

# Returns the contents of a database as text that can be compared
sub text_of
{
	my ($database) = @_;
	my $dump = $node->basedir . "/$database.sql";
	run_log([ 'pg_dump', '-U', 'landlord', '-f', $dump, $node->connstr($database) ]);
	return slurp_file($dump) =~ s/^\\(?:un)?restrict .*\n//mgr; # the key differs from dump to dump
}

sql('CREATE ROLE landlord LOGIN CREATEDB; CREATE ROLE producer; CREATE ROLE consumer LOGIN');
new_database('app');
in_database('app', q{
	CREATE SCHEMA shop;
	SELECT ecto_job.create_queue('Jobs "1"', 'shop');
	SELECT ecto_job.create_queue('blobs', params_type => 'binary', timestamps_opts => '{"updated_at": "changed_at", "inserted_at": false}');
	SELECT ecto_job.configure_queue('blobs', retry_timeout => '7 s', max_attempts => 3,
		options => '{"backoff": "exponential", "max_retry_delay": "1 day"}');
	GRANT INSERT (params, schedule), SELECT (id) ON shop."Jobs ""1""" TO producer;
	GRANT SELECT, DELETE, UPDATE ON blobs TO consumer;
	ALTER TABLE blobs ENABLE ROW LEVEL SECURITY;
	CREATE POLICY all_of_them ON blobs TO consumer USING (true);
	SELECT ecto_job.enqueue('shop."Jobs ""1"""', '{"n": 1, "text": "äöü\\n"}', notify => 'n', meta => '{"a": 1}', priority => -3);
	SELECT ecto_job.enqueue('shop."Jobs ""1"""', '{"n": 2}', schedule => '2999-01-01 12:34:56.789012+00');
	SELECT ecto_job.enqueue('blobs', params_binary => '\x0083ff');
	SELECT ecto_job.enqueue('blobs', params_binary => '\x');
	SELECT count(*) FROM ecto_job.start_available_jobs('blobs', 1);
	SELECT ecto_job.pause_queue('shop."Jobs ""1"""')});

my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-U', 'landlord', '-Fc', '-f', $dump, $node->connstr('app') ],
	"the database's owner runs pg_dump without an error");
new_database('restored');
my $listener = $node->background_psql('restored');
$listener->query_safe("LISTEN $_") for '"Jobs ""1"""', 'blobs', 'fence';
# The extension is there already and belongs to the superuser; the owner may restore all but its comment
$node->command_checks_all([ 'pg_restore', '-U', 'landlord', '-d', $node->connstr('restored'), $dump ],
	1, [qr/^$/], [qr/must be owner of extension ecto_job.*errors ignored on restore: 1\n$/s],
	"the database's owner restores all but the comment on the extension");
my $text = text_of('app');
like($text, qr/äöü.*job_changed\('\{.*"retry_timeout": "PT7S"/s, 'the dump has the settings and the jobs');
is(text_of('restored'), $text, 'a dump of the restored database equals the first dump');
my $all_settings = "SELECT * FROM ecto_job.queue_settings ORDER BY queue::text";
is($node->safe_psql('restored', $all_settings), $node->safe_psql('app', $all_settings), 'the settings are restored');
is($node->safe_psql('restored', q{SELECT string_agg(paused::text, ' ' ORDER BY queue::text) FROM ecto_job.queue_settings}), 'false true',
	'a restored queue is paused as the dumped one was');

is($node->safe_psql('restored', q{SELECT string_agg(options::text, ' ' ORDER BY queue::text) FROM ecto_job.queue_settings}),
	'{"backoff": "exponential", "max_retry_delay": "1 day"} {}', 'a restored queue has the options of the dumped one');

# The notification of `fence` arrives after all that were sent before
in_database('restored', 'NOTIFY fence');
my $notified = '';
ok(poll_until(sub { ($notified .= $listener->query('SELECT 1')) =~ /"fence"/ }, 'the fence'),
	'a listener receives what is sent after the restore');
is(join(' ', $notified =~ /notification (".*?") received/g), '"fence"', 'the restore of jobs sends no notification');

# The restored database is not swept
my $offset = -s $node->logfile;
in_database('restored', q{
	INSERT INTO blobs (params, schedule, state) VALUES ('\x01', clock_timestamp(), 'SCHEDULED');
	SELECT ecto_job.configure_queue('blobs', poll_interval => '1 s')});
ok(wait_for_log($node, qr/queues of database "restored" are not swept: it is a copy/, $offset), 'the log says that the restored database is not swept');
is(in_database('restored', "SELECT state FROM blobs WHERE params = '\\x01'"), 'SCHEDULED', 'a scheduled job of the restored database stays SCHEDULED');
is( in_database('restored', 'SELECT DISTINCT status FROM ecto_job.queues'),
	'no scheduler: a copied or restored database; SELECT ecto_job.enable() starts it', 'the view says that the database is restored, and how to start the scheduler');
in_database('restored', 'SELECT ecto_job.enable()');
becomes_in($node, 'restored', "SELECT state FROM blobs WHERE params = '\\x01'", 'AVAILABLE', 'the restored database is swept after enable() by its owner');

# The triggers work in the restored database
in_database('restored', q{INSERT INTO shop."Jobs ""1""" (params) VALUES ('{}')});
ok(poll_until(sub { $listener->query('SELECT 1') =~ /notification "Jobs "1""/ }, 'a notification'),
	'an INSERT into a restored queue notifies');
$listener->quit;
is(in_database('restored', q{SELECT count(*) FROM ecto_job.start_available_jobs('blobs', 10)}, 'consumer'), 2,
	'the rights are restored: a consumer consumes');

# A dropped queue is not dumped, even if the event trigger was disabled when it was dropped
in_database('app', q{SELECT ecto_job.drop_queue('blobs')});
$node->safe_psql('app', q{
	ALTER EVENT TRIGGER ecto_job_forget_dropped_queues DISABLE;
	DROP TABLE shop."Jobs ""1""";
	ALTER EVENT TRIGGER ecto_job_forget_dropped_queues ENABLE ALWAYS});
is($node->safe_psql('app', 'SELECT count(*) FROM ecto_job.queue_settings'), 1, 'a queue dropped without the event trigger stays in the registry');
unlike(text_of('app'), qr/COPY ecto_job/, 'the registry is not dumped, so no other table can get the row');
in_database('app', q{SELECT ecto_job.create_queue('other')});
becomes_in($node, 'app', 'SELECT queue FROM ecto_job.queue_settings', 'other', 'the scheduler removes the row of a dropped queue');

# Every form of a dump
sub restored_from
{
	my ($name, $dump_options, $restores) = @_;
	my $archive = $node->basedir . "/form";
	PostgreSQL::Test::Utils::system_log("rm -rf $archive");
	sql("DROP DATABASE IF EXISTS target; CREATE DATABASE target");
	$node->safe_psql('target', 'CREATE EXTENSION ecto_job');
	my @format = grep({ /^-F/ } @$dump_options) ? () : ('-Fc');
	$node->command_ok([ 'pg_dump', @format, @$dump_options, '-f', $archive, $node->connstr('source') ], "$name: pg_dump ends without an error");
	$node->command_ok([ @$_, '-d', $node->connstr('target'), $archive ], "$name: the dump is restored without an error") for @$restores;
	return;
}

# Returns the settings in the registry, in a form that does not depend on the session
sub settings_in
{
	my ($database, $where) = @_;
	return $node->safe_psql($database, "SELECT * FROM ecto_job.queue_settings WHERE $where ORDER BY queue::text");
}

sql('CREATE DATABASE source');
$node->safe_psql('source', q{
	CREATE EXTENSION ecto_job;
	CREATE SCHEMA shop;
	SELECT ecto_job.create_queue('keep', timestamps_opts => '{"updated_at": "Changed\\\\at"}');
	SELECT ecto_job.create_queue('skip', params_type => 'binary', timestamps_opts => 'false');
	SELECT ecto_job.create_queue('both', 'shop', ectojob => true);
	SET IntervalStyle = sql_standard;
	SELECT count(ecto_job.configure_queue(queue, execution_timeout => '1 day 00:07:00.5', max_attempts => 3))
	FROM ecto_job.queue_settings;
	SELECT ecto_job.configure_queue('keep', poll_interval => '00:00:01.5');
	SELECT ecto_job.enqueue('keep', '{"n": 1}')});
my $restore = [ 'pg_restore', '-e' ];
my @sections = map { [ 'pg_restore', '-e', "--section=$_" ] } 'pre-data', 'data', 'post-data';
for my $form (
	[ 'without one table', ['--exclude-table=skip'], [$restore], "queue <> 'skip'::regclass" ],
	[ 'without a schema', ['--exclude-schema=shop'], [$restore], "queue <> 'shop.both'::regclass" ],
	[ 'one schema', [ '-n', 'shop' ], [$restore], "queue = 'shop.both'::regclass" ],
	[ 'one table', [ '-t', 'keep' ], [$restore], "queue = 'keep'::regclass" ],
	[ 'as INSERTs', [ '--inserts' ], [$restore], 'true' ],
	[ 'without comments', ['--no-comments'], [$restore], 'true' ],
	[ 'in sections', [], \@sections, 'true' ],
	[ 'the definitions', ['-s'], [$restore], 'true' ],
	[ 'in parallel', [ '-Fd', '-j', '2' ], [ [ 'pg_restore', '-e', '-j', '2' ] ], 'true' ])
{
	my ($name, $dump_options, $restores, $where) = @$form;
	restored_from($name, $dump_options, $restores);
	is(settings_in('target', 'true'), settings_in('source', $where), "$name: every queue that is there has its settings");
	is($node->safe_psql('target', 'SELECT count(*) FROM ecto_job.scheduler_state WHERE enabled'), 0, "$name: the restored database is not enabled");
}

# A restore with session_replication_role = replica
{
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	restored_from('as a replica', [], [$restore]);
	is(settings_in('target', 'true'), settings_in('source', 'true'), 'as a replica: every queue has its settings');
	$node->safe_psql('target', 'DROP TABLE keep');
	is(settings_in('target', 'true'), settings_in('source', "queue <> 'keep'::regclass"), 'as a replica: a dropped queue leaves the registry');
}

# A restore of the data into queues that exist
sql('DROP DATABASE target; CREATE DATABASE target');
$node->safe_psql('target', q{
	CREATE EXTENSION ecto_job;
	CREATE SCHEMA shop;
	SELECT ecto_job.create_queue('keep', timestamps_opts => '{"updated_at": "Changed\\\\at"}');
	SELECT ecto_job.create_queue('skip', params_type => 'binary', timestamps_opts => 'false');
	SELECT ecto_job.create_queue('both', 'shop', ectojob => true);
	SELECT ecto_job.configure_queue('keep', execution_timeout => '9 min')});
my $made = settings_in('target', 'true');
$node->command_ok([ 'pg_dump', '-Fc', '--data-only', '-f', $dump, $node->connstr('source') ], 'the data alone: pg_dump ends without an error');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('target'), $dump ], 'the data alone: the dump is restored without an error');
is($node->safe_psql('target', 'SELECT params FROM keep'), '{"n": 1}', 'the data alone: the jobs come into the queues');
is(settings_in('target', 'true'), $made, 'the data alone: the queues keep their settings');

# Roles that own neither the table nor the database create a trigger of ecto_job on the table
$node->safe_psql('target', q{
	CREATE TABLE plain (LIKE keep INCLUDING ALL);
	GRANT ALL ON plain TO consumer;
	CREATE TABLE others (LIKE keep INCLUDING ALL);
	ALTER TABLE others OWNER TO landlord});
my $trigger = q{CREATE TRIGGER ecto_job_changed AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ecto_job.job_changed('{"max_attempts": 4}')};
in_database('target', sprintf($trigger, 'plain'), 'consumer');
in_database('target', sprintf($trigger, 'others'));
is($node->safe_psql('target', "SELECT queue, max_attempts FROM ecto_job.queue_settings WHERE queue::text IN ('plain', 'others')"),
	'others|4', "a trigger makes a queue of one's own table, and not of a table of others");
$node->safe_psql('target', sprintf($trigger =~ s/ecto_job_changed/another/r, 'keep'));
is(settings_in('target', "queue <> 'others'::regclass"), $made, 'a trigger of another name leaves the settings of a queue as they are');
unlike(
	$node->safe_psql('target', "SELECT string_agg(pg_get_triggerdef(oid), '') FROM pg_trigger WHERE tgrelid = 'keep'::regclass AND tgname = 'ecto_job_changed'"),
	qr/"max_attempts": 4/, 'a trigger of another name leaves what the next dump carries as it is');
is($node->psql('target', "CREATE TEMP TABLE x (LIKE keep); " . sprintf($trigger, 'x')), 0, 'a temporary table is left alone');

# A trigger is created in a transaction whose snapshot is older than the queue's settings
my $old = $node->background_psql('target');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM keep');
$node->safe_psql('target', q{SELECT ecto_job.configure_queue('keep', retry_timeout => '11 s')});
$old->query_safe(sprintf($trigger =~ s/CREATE/CREATE OR REPLACE/r, 'keep') . '; COMMIT');
$old->quit;
like($node->safe_psql('target', "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'keep'::regclass AND tgname = 'ecto_job_changed'"),
	qr/"retry_timeout": "PT11S"/, 'a trigger made by an older snapshot carries the settings as they are');

# Tables that cannot be queues, and trigger arguments that are no settings
my @tables = map { "t$_" } 1 .. 7;
$node->safe_psql('target', "CREATE TABLE $_ (LIKE keep INCLUDING ALL)") for @tables;
$node->safe_psql('target', 'ALTER TABLE t1 DROP COLUMN lease; CREATE TABLE child () INHERITS (t2)');
my %settings = (
	t1 => '{}', t2 => '{}', t3 => '[1]', t4 => '{"poll_interval": "1 month"}', t5 => 'not JSON',
	t6 => '{"queue": "keep", "updated_at": "params", "inserted_at": "inserted_at", "max_attempts": 7}',
	t7 => '{"options": {"backoff": "none"}, "max_attempts": 7}');
for my $table (@tables)
{
	my ($status, undef, $said) = $node->psql('target', sprintf($trigger, $table) =~ s/'\{.*\}'/'$settings{$table}'/r);
	is($status, 0, "a trigger with $settings{$table} on $table is made");
	my $reason = $table lt 't3' ? qr/WARNING:  "$table" is not made a queue: / : qr/WARNING:  settings of queue "$table" cannot be restored: /;
	like($said, $table eq 't6' ? qr/^$/ : $reason, $table eq 't6' ? "no warning is given for $table" : "a warning says what is wrong with $table");
}
is($node->safe_psql('target', q{SELECT queue, poll_interval, max_attempts, options, inserted_at, updated_at
		FROM ecto_job.queue_settings WHERE queue::text ~ '^t[0-9]' ORDER BY queue::text}),
	join("\n", (map { "$_|00:01:00|5|{}||" } 't3', 't4', 't5'), 't6|00:01:00|7|{}|inserted_at|', 't7|00:01:00|5|{}||'),
	'settings that cannot be read leave the defaults, and nothing but settings is read');

# A table that a role restores does not make the database count as a restored copy
sql('CREATE DATABASE fresh');
$node->safe_psql('fresh', q{CREATE EXTENSION ecto_job; GRANT CREATE ON SCHEMA public TO PUBLIC});
in_database('fresh', q{
	CREATE TABLE mine (id int8, state text, expires timestamptz, schedule timestamptz, attempt int4, max_attempts int4,
		params jsonb, notify varchar(255), lease int8, key text, error text, meta jsonb)}, 'consumer');
in_database('fresh', sprintf($trigger, 'mine'), 'consumer');
is($node->safe_psql('fresh', 'SELECT queue FROM ecto_job.queue_settings'), 'mine', 'a role that restores a table of its own makes it a queue');
in_database('fresh', q{SELECT ecto_job.create_queue('first')});
becomes_in($node, 'fresh', q{SELECT status FROM ecto_job.queues WHERE queue = 'first'::regclass}, 'ok',
	"a restored table does not keep another role's first queue from running");

# A dump of 0.2.0, which has the registry's rows
sql('CREATE DATABASE old OWNER landlord; DROP DATABASE target; CREATE DATABASE target OWNER landlord');
$node->safe_psql('old', q{CREATE EXTENSION ecto_job VERSION '0.2.0'});
in_database('old', q{
	SELECT ecto_job.create_queue('keep');
	SELECT ecto_job.configure_queue('keep', execution_timeout => '7 min')});
# The state that the library of 0.2.0 left
$node->safe_psql('old', q{
	SET allow_system_table_mods = on;
	UPDATE pg_trigger SET tgnargs = 0, tgargs = '' WHERE tgrelid = 'keep'::regclass});
$node->safe_psql('target', 'CREATE EXTENSION ecto_job');
run_log([ 'pg_dump', '-U', 'landlord', '-Fc', '-f', $dump, $node->connstr('old') ]);
run_log([ 'pg_restore', '-U', 'landlord', '-d', $node->connstr('target'), $dump ]);
my $kept = 'SELECT queue, execution_timeout, kind FROM ecto_job.queue_settings';
is($node->safe_psql('target', $kept), 'keep|00:07:00|native', 'a dump of 0.2.0 is restored, with its settings');
like($node->safe_psql('target', "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'ecto_job_changed'"),
	qr/"execution_timeout": "PT7M"/, 'the next dump carries the settings that came from 0.2.0');
$node->safe_psql('old', 'ALTER EXTENSION ecto_job UPDATE');
like($node->safe_psql('old', "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'ecto_job_changed'"),
	qr/"execution_timeout": "PT7M"/, 'the next dump of an updated database carries its settings');

$node->stop;
done_testing();
