# The error of a sweep or of a job is readable in all encodings of database and client, and says what to do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes_in);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node();

# A database in SQL_ASCII, an encoding without characters: errors with bytes that are not UTF-8, and errors so long that
# a cut by bytes would fall within a character of UTF-8
$node->safe_psql('postgres', q{CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'});
$ENV{PGCLIENTENCODING} = 'UTF8';
my $long = '€' x 400;
my %message = (
	cut => "'x$long'",
	between => "'$long'",
	strange => q{'caf' || chr(233) || ' and ' || chr(226) || chr(130)});
$node->safe_psql('bytes', 'CREATE EXTENSION ecto_job');
for my $queue (sort keys %message)
{
	$node->safe_psql('bytes', qq{
		SELECT ecto_job.create_queue('$queue');
		CREATE FUNCTION raise_$queue() RETURNS trigger LANGUAGE plpgsql AS \$\$
			BEGIN RAISE EXCEPTION '%', $message{$queue}; END \$\$;
		CREATE TRIGGER a BEFORE UPDATE ON $queue FOR EACH ROW EXECUTE FUNCTION raise_$queue();
		INSERT INTO $queue (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
}
becomes_in($node, 'bytes', q{SELECT count(*) FROM ecto_job.queues WHERE status ~ '^failing: '}, 3, 'each of the sweeps fails');
for my $queue (sort keys %message)
{
	my ($status, $output, $error) = $node->psql('bytes', "SELECT status FROM ecto_job.queues WHERE queue = '$queue'::regclass");
	is("$status $error", '0 ', "a client of UTF-8 reads the status of queue $queue");
	like($output, $queue eq 'strange' ? qr/^failing: caf\? and \?\?$/ : qr/^failing: x?(?:€)+$/,
		"the status of queue $queue holds whole characters of the error");
}

# A job's error, which is cut at 8 kB
for my $text ('x' . '€' x 4000, 'xx' . '€' x 4000)
{
	my ($status, $output, $error) = $node->psql('bytes', qq{
		SELECT ecto_job.create_queue('jobs') \\g /dev/null
		SELECT ecto_job.enqueue('jobs', '{}') \\g /dev/null
		SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \\gset
		SELECT ecto_job.fail_job('jobs', :id, :lease, '$text') \\g /dev/null
		SELECT error FROM jobs;
		SELECT ecto_job.drop_queue('jobs') \\g /dev/null});
	like($output, qr/^x+(?:€)+$/, "an error of " . length($text) . " bytes is cut behind a character");
	is("$status $error", '0 ', 'a client of UTF-8 reads a cut error');
	cmp_ok(length($output), '>', 8188, 'a cut error fills nearly all of its 8,192 bytes');
	cmp_ok(length($output), '<=', 8192, 'a cut error is at most 8,192 bytes long');
}

# A trigger that names its table without a schema
$node->safe_psql('postgres', q{
	CREATE EXTENSION IF NOT EXISTS ecto_job; SELECT ecto_job.create_queue('jobs'); CREATE TABLE log (id bigint);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END $$;
	CREATE TRIGGER a BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
ok(wait_for_log($node, qr/WARNING:  sweep of queue "public.jobs" failed: relation "log" does not exist.*\n.*HINT:  A sweep runs with search_path = pg_catalog, pg_temp\./),
	'the hint for a sweep that misses a table names the search_path');
$node->safe_psql('postgres', q{ALTER FUNCTION note() SET search_path = public});
becomes_in($node, 'postgres', 'SELECT count(*) FROM log', 1, 'the trigger works when its function sets a search_path');

$node->stop;
done_testing();
