# The library is in every session of a server that preloads it, and sees each plan on any table. Where no queue
# is, it looks up nothing in the catalog; and where it looks, it holds nothing of the relation cache meanwhile,
# which another session's command may free. With many triggers there was much to look up and much to free: any
# role that may create a table could end the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(extension => 0);

# 1,700 triggers: an array that is given back to the system when it is freed
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
	# In one transaction: the cache of the table is made anew when another command follows
	$node->safe_psql($database, "BEGIN; $make_triggers; COMMIT", extra_params => [ '-U', 'mallory' ]);
}

sub in_database
{
	my ($database, $text) = @_;
	return $node->psql($database, $text, extra_params => [ '-U', 'mallory' ]);
}

# What a plan costs
my $looks = q{
	SELECT 1 FROM pg_proc LIMIT 1;
	BEGIN;
	SELECT seq_scan + idx_scan AS before FROM pg_stat_xact_sys_tables WHERE relid = 'CATALOG'::regclass \gset
	EXPLAIN (COSTS OFF) SELECT * FROM t \g /dev/null
	SELECT seq_scan + idx_scan - :before FROM pg_stat_xact_sys_tables WHERE relid = 'CATALOG'::regclass};
for my $catalog (qw(pg_proc pg_namespace))
{
	my $text = $looks =~ s/CATALOG/$catalog/gr;
	my (undef, $output) = in_database('plain', "\\pset tuples_only\nSELECT 1 FROM pg_class LIMIT 1;\n$text");
	cmp_ok((split /\n/, $output)[-1], '<=', 1, "without the extension a plan looks into $catalog once at most");
	(undef, $output) = in_database('plain', "EXPLAIN (COSTS OFF) SELECT 1 FROM pg_class;\nEXPLAIN (COSTS OFF) SELECT 1 FROM t;\n$text");
	is((split /\n/, $output)[-1], 0, "and no more when it has looked once ($catalog)");
	(undef, $output) = in_database('queues', $text);
	cmp_ok((split /\n/, $output)[-1], '<=', 2, "with it a plan looks into $catalog for one function, whatever triggers there are");
}

# The cache of the table is made anew, again and again, while others plan
sub while_it_changes
{
	my ($database, $body) = @_;
	my $out = '';
	my $changes = IPC::Run::start(
		[ 'psql', '-X', '-q', '-U', 'mallory', '-d', $node->connstr($database), '-c', q{DO $$ BEGIN
			LOOP GRANT SELECT ON t TO PUBLIC; COMMIT; REVOKE SELECT ON t FROM PUBLIC; COMMIT; END LOOP; END $$} ],
		'>', \$out, '2>', \$out);
	poll_until(sub { $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE datname = '$database' AND query LIKE '%REVOKE%' AND pid <> pg_backend_pid()") > 0 },
		'the changes');
	$body->();
	$node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$database'");
	IPC::Run::finish($changes);
}

my $since = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
for my $database (qw(plain queues))
{
	while_it_changes($database, sub {
		my $planned = grep { (in_database($database, 'SELECT 1 FROM t'))[0] == 0 } 1 .. 20;
		is($planned, 20, "plans in database $database, while the table's cache is made anew");
	});
}
while_it_changes('queues', sub {
	my $told = grep { (in_database('queues', q{SELECT ecto_job.adopt_queue('t')}))[2] =~ /ERROR:  table "t" cannot be a queue/ } 1 .. 20;
	is($told, 20, 'adopt_queue() looks at the triggers of such a table');
});
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and the server is well');

# What the hook is for: it knows of the function when it comes, and when it goes
$node->safe_psql('queues', q{DROP EXTENSION ecto_job});
my $session = $node->background_psql('queues');
my $pages = q{SELECT substring(line FROM 'rows=(\d+)') FROM pages('SELECT * FROM jobs') AS line};
$session->query_safe(q{CREATE FUNCTION pages(text) RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || $1; END $$; CREATE TABLE jobs (id int)});
cmp_ok($session->query_safe($pages), '<', 20_000, 'a plan before the extension is there');
$node->safe_psql('queues', q{DROP TABLE jobs; CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs', ectojob => true)});
cmp_ok($session->query_safe($pages), '>=', 20_000, 'and when it has come: a queue of EctoJob is large, whatever its size');
$node->safe_psql('queues', q{DROP EXTENSION ecto_job CASCADE});
cmp_ok($session->query_safe($pages), '<', 20_000, 'and when it has gone');
$node->safe_psql('queues', q{CREATE EXTENSION ecto_job; DROP TABLE jobs; SELECT ecto_job.create_queue('jobs', ectojob => true)});
cmp_ok($session->query_safe($pages), '>=', 20_000, 'and come again');
$session->quit;

$node->stop;
done_testing();
