# The planner hook runs in every session of a server that preloads the library, for each plan on any table. On a table
# that is no queue the hook reads no catalog. While the hook reads a catalog, it holds no pointer into the relation
# cache, since another session's command may free what the pointer points to. Such a pointer once let any role that may
# create a table crash the server: with many triggers, the hook's reading took long enough.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(extension => 0);

# 1,700 triggers: their array is so large that its memory goes back to the system when it is freed
$node->safe_psql('postgres', q{
	CREATE ROLE mallory LOGIN; CREATE DATABASE plain; CREATE DATABASE queues});
$node->safe_psql($_, q{GRANT CREATE ON SCHEMA public TO mallory}) for qw(plain queues);
$node->safe_psql('queues', q{CREATE EXTENSION ecto_job});
my $make_triggers = q{
	CREATE TABLE t (a int);
	DO $$ BEGIN
		FOR i IN 1 .. 1700 LOOP
			EXECUTE format('CREATE FUNCTION f%s() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NEW; END''', i);
		END LOOP;
	END $$;
	SELECT format('CREATE TRIGGER t%s BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f%s()', i, i)
	FROM generate_series(1, 1700) AS i \gexec
};
for my $database (qw(plain queues))
{
	# In one transaction, since each command that follows has to rebuild the table's relcache entry
	$node->safe_psql($database, "BEGIN; $make_triggers; COMMIT", extra_params => [ '-U', 'mallory' ]);
}

sub in_database
{
	my ($database, $text) = @_;
	return $node->psql($database, $text, extra_params => [ '-U', 'mallory' ]);
}

# A plan in a session that has just begun reads no more of the catalogs than the statement itself needs
my $plan = q{
	BEGIN;
	SELECT scans() \g /dev/null
	SELECT scans() AS before \gset
	EXPLAIN (COSTS OFF) SELECT a FROM t \g /dev/null
	SELECT scans() - :before;
	ROLLBACK};
for my $database (qw(plain queues))
{
	my (undef, $scans) = in_database($database, q{CREATE FUNCTION scans() RETURNS bigint LANGUAGE sql AS $$
		SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index WHERE indrelid IN ('pg_proc'::regclass, 'pg_namespace'::regclass) $$});
	(undef, $scans) = in_database($database, $plan);
	cmp_ok($scans, '<', 20, "database $database: a plan looks up no function of the table's triggers");
}

# while_it_changes(): rebuilds the table's relcache entry again and again, while other sessions plan
sub while_it_changes
{
	my ($database, $body) = @_;
	my $out = '';
	my $changes = IPC::Run::start(
		[ 'psql', '-X', '-q', '-U', 'mallory', '-d', $node->connstr($database), '-c', q{DO $$ BEGIN
			LOOP GRANT SELECT ON t TO PUBLIC; COMMIT; REVOKE SELECT ON t FROM PUBLIC; COMMIT;
			PERFORM pg_sleep(0.01); -- others have to plan, too
			END LOOP; END $$} ],
		'>', \$out, '2>', \$out);
	poll_until(sub { $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE datname = '$database' AND query LIKE '%REVOKE%' AND pid <> pg_backend_pid()") > 0 },
		'the changes');
	$body->();
	$node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$database'");
	IPC::Run::finish($changes);
}

for my $database (qw(plain queues))
{
	while_it_changes($database, sub {
		my $planned = grep { (in_database($database, 'SELECT 1 FROM t'))[0] == 0 } 1 .. 5;
		is($planned, 5, "database $database: queries are planned while the table's relcache entry is rebuilt");
	});
}
while_it_changes('queues', sub {
	my $refused = grep { (in_database('queues', q{SELECT ecto_job.adopt_queue('t')}))[2] =~ /ERROR:  table "t" cannot be a queue/ } 1 .. 2;
	is($refused, 2, "adopt_queue() refuses a table whose relcache entry is rebuilt meanwhile");
});
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no server process has crashed');

# The hook's purpose: a plan takes a queue of EctoJob for large. The hook follows CREATE and DROP EXTENSION
$node->safe_psql('queues', q{DROP EXTENSION ecto_job});
my $session = $node->background_psql('queues');
my $pages = q{SELECT substring(line FROM 'rows=(\d+)') FROM pages('SELECT * FROM jobs') AS line};
$session->query_safe(q{CREATE FUNCTION pages(text) RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || $1; END $$; CREATE TABLE jobs (id int)});
cmp_ok($session->query_safe($pages), '<', 20_000, 'a plan without the extension estimates fewer than 20,000 rows');
$node->safe_psql('queues', q{DROP TABLE jobs; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs', ectojob => true)});
cmp_ok($session->query_safe($pages), '>=', 20_000, 'a plan after CREATE EXTENSION takes a queue of EctoJob for large, whatever its size');
$node->safe_psql('queues', q{DROP EXTENSION ecto_job CASCADE});
cmp_ok($session->query_safe($pages), '<', 20_000, 'a plan after DROP EXTENSION estimates fewer than 20,000 rows');
$node->safe_psql('queues', q{CREATE EXTENSION ecto_job; DROP TABLE jobs; SELECT ecto_job.create_queue('jobs', ectojob => true)});
cmp_ok($session->query_safe($pages), '>=', 20_000, 'a plan after another CREATE EXTENSION takes the queue for large again');
$session->quit;

$node->stop;
done_testing();
