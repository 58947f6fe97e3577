# A function returns values of the type that it declares. A row has its type in its header. If that were RECORD with a
# number, another session would read the stored row as the row type that has this number in that session: the bytes of
# an interval as a pointer into the server's memory.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(conf => "ecto_job.enabled = off\n");

sub sql { return $node->safe_psql('postgres', shift); }

# A call of each function that returns rows of a named type, which a table can store; each call returns at least one row
my %stored = (
	configure_queue => q{SELECT ecto_job.configure_queue('jobs') AS kept},
	available_jobs => q{SELECT ecto_job.available_jobs('jobs', 1) AS kept},
	reserve_available_jobs => q{SELECT ecto_job.reserve_available_jobs('jobs', 1) AS kept},
	start_available_jobs => q{SELECT ecto_job.start_available_jobs('jobs', 1) AS kept},
	update_job_in_progress => q{SELECT ecto_job.update_job_in_progress('jobs', id, attempt) AS kept
		FROM ecto_job.reserve_available_jobs('jobs', 1)},
	fail_job => q{SELECT ecto_job.fail_job('jobs', id, lease) AS kept FROM ecto_job.start_available_jobs('jobs', 1)},
	snooze_job => q{SELECT ecto_job.snooze_job('jobs', id, lease) AS kept FROM ecto_job.start_available_jobs('jobs', 1)},
	cancel_job => q{SELECT ecto_job.cancel_job('jobs', (SELECT max(id) FROM jobs)) AS kept},
	job_failed => q{SELECT ecto_job.job_failed('jobs', id, attempt) AS kept FROM ecto_job.start_available_jobs('jobs', 1)},
	requeue => q{SELECT ecto_job.requeue('jobs', 1) AS kept},);
# A call of each function that declares OUT parameters; no table can have a column of such a row
my %unnamed = (
	sweep => q{ecto_job.sweep('jobs')},
	queue_status => q{ecto_job.queue_status('jobs', true)},
	queue_depth => q{ecto_job.queue_depth('jobs')},
	held_jobs => q{ecto_job.held_jobs('jobs', 9)},
	running_jobs => q{ecto_job.running_jobs('jobs')},);

my $returns_rows = q{SELECT p.proname FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
	WHERE p.pronamespace = 'ecto_job'::regnamespace AND p.prokind = 'f'};
is(sql("$returns_rows AND (t.typtype = 'c' OR t.typelem IN (SELECT oid FROM pg_type WHERE typtype = 'c')) ORDER BY 1"),
	join("\n", sort keys %stored), 'each function that returns a row of a named type has its call here');
is(sql("$returns_rows AND t.oid IN ('record'::regtype, 'record[]'::regtype) ORDER BY 1"),
	join("\n", sort keys %unnamed), 'each function that returns a row of no named type has its call here');
is(sql("$returns_rows AND t.typtype NOT IN ('b', 'c') AND t.typname NOT IN ('record', 'void', 'trigger', 'event_trigger') ORDER BY 1"),
	'', 'every other function returns a scalar or nothing');

sql(q{CREATE EXTENSION pageinspect;
	SELECT ecto_job.create_queue('jobs');
	INSERT INTO jobs (params, state) VALUES ('{"n": 0}', 'FAILED');
	SELECT ecto_job.enqueue('jobs', '{"n": 1}', notify => 'a notice', meta => '{"of": "it"}') FROM generate_series(1, 20)});
sql("CREATE TABLE kept_$_ AS $stored{$_}") for sort keys %stored;

# $header reads type and typmod from the header of the first row's only column, behind the length of one or four bytes.
# PostgreSQL's minor releases store different typmods for a named type, so the typmod must equal that of a row which
# PostgreSQL has made.
my $header = q{
	WITH kept AS (SELECT t_data AS bytes, CASE WHEN get_byte(t_data, 0) & 1 = 1 THEN 1 ELSE 4 END AS at
		FROM heap_page_items(get_raw_page('TABLE', 0)) WHERE lp = 1)
	SELECT
		(get_byte(bytes, at + 4) + (get_byte(bytes, at + 5) << 8) + (get_byte(bytes, at + 6) << 16)
			+ (get_byte(bytes, at + 7)::bigint << 24))::oid::regtype,
		encode(substr(bytes, at + 1, 4), 'hex')
	FROM kept};
for my $function (sort keys %stored)
{
	my $declared = sql("SELECT prorettype::regtype FROM pg_proc
		WHERE proname = '$function' AND pronamespace = 'ecto_job'::regnamespace");
	sql("CREATE TABLE plain_$function AS SELECT jsonb_populate_record(NULL::$declared, '{}') AS kept");
	my $plain = sql($header =~ s/TABLE/plain_$function/r);
	like($plain, qr/^\Q$declared\E\|/, "$function: a row that PostgreSQL makes is a $declared by its header");
	is(sql($header =~ s/TABLE/kept_$function/r), $plain, "$function: a row that it returns is a $declared by its header");
}

# Another session, in which the first row type without a name has other columns, reads the stored rows
for my $function (sort keys %stored)
{
	my $columns = sql("SELECT count(*) FROM pg_attribute a JOIN pg_proc p ON p.prorettype = (SELECT reltype FROM pg_class WHERE oid = attrelid)
		WHERE proname = '$function' AND pronamespace = 'ecto_job'::regnamespace AND attnum > 0");
	my ($status, $output, $error) = $node->psql('postgres', qq{
		SELECT ROW(1::int4, 'a'::text) \\g /dev/null
		SELECT count(v) FROM kept_$function k, jsonb_each((to_jsonb(k)->'kept')) AS e (n, v)});
	is("$status $output $error", "0 $columns ", "$function: another session reads what was stored");
}

my ($status, undef, $error);
for my $function (sort keys %unnamed)
{
	(undef, undef, $error) = $node->psql('postgres', "CREATE TABLE kept_$function AS SELECT $unnamed{$function} AS kept");
	like($error, qr/ERROR:  column "kept" has pseudo-type record/, "$function: no table stores a row of it");
	is(sql("SELECT string_agg(pg_typeof(v)::text, ' ') FROM (SELECT * FROM $unnamed{$function}) AS r, jsonb_each(to_jsonb(r)) AS e (n, v)") ne '', 1,
		"$function: a row of it is read");
	is(sql("SELECT (SELECT array_agg(format_type(t, NULL) ORDER BY o) FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY AS a (t, m, o) WHERE m = 'o')
			= (SELECT array_agg(format_type(atttypid, NULL) ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'of_$function'::regclass AND attnum > 0)
		FROM pg_proc p WHERE proname = '$function' AND pronamespace = 'ecto_job'::regnamespace"), 't', "$function: its columns are those that it declares")
	  if sql("CREATE TABLE of_$function AS SELECT * FROM $unnamed{$function}") eq '';
}

# Functions that return scalars
is(sql(q{SELECT ecto_job.create_queue('more')::oid AS made \gset
	SELECT :made = 'more'::regclass::oid}), 't', 'create_queue returns the table');
is(sql(q{SELECT ecto_job.release_queue('more')::oid = 'more'::regclass::oid}), 't', 'release_queue returns the table');
is(sql(q{SELECT ecto_job.enqueue('jobs', '{}') AS made \gset
	SELECT :made = max(id) FROM jobs}), 't', 'enqueue returns the id');

$node->stop;
done_testing();
