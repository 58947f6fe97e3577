# Versions of the extension and of the library: an updated installation equals a fresh one, after each step; an extension
# that was not updated works in full with the newer library, its scheduler included, and the statistics of functions show
# that none was left uncalled; jobs and settings outlive the update; an extension that is newer than the library that the
# server has loaded is refused.
#
# Seen to fail with test/mutants/upgrade_forgets_function.patch, and with the registry's columns named in select_settings().
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use ConsumerTest;
use EctoJobTest qw(:DEFAULT becomes_in);
use PostgreSQL::Test::Utils;
use Test::More;

my ($version) = slurp_source('ecto_job.control') =~ /^default_version = '(.*)'$/m;
my @older = sort map { /ecto_job--([^-]+)\.sql$/ } glob(source_dir() . '/src/sql/released/*.sql');
ok(scalar(@older), "there are install scripts of older versions: @older");

my $node = new_node(extension => 0, conf => "max_worker_processes = 32\n"); # a scheduler in each database
$node->append_conf('postgresql.conf', 'track_functions = all');
$node->reload;

sub in_database { my ($database, $query) = @_; return $node->safe_psql($database, $query); }

# $catalog lists the definitions, owners, rights and comments of all objects of the extension, without oids
my $catalog = q{
	WITH member AS (
		SELECT d.classid, d.objid, d.objsubid, pg_describe_object(d.classid, d.objid, d.objsubid) AS name
		FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
		WHERE e.extname = 'ecto_job' AND d.deptype = 'e')
	SELECT name, 'comment', obj_description(objid, classid::regclass::name) FROM member
	UNION ALL SELECT name, 'first rights', i.initprivs::text || i.privtype::text
		FROM member JOIN pg_init_privs i ON i.objoid = objid AND i.classoid = classid
	UNION ALL SELECT name, 'owner', pg_get_userbyid(coalesce(
			(SELECT proowner FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
			(SELECT relowner FROM pg_class WHERE oid = objid AND classid = 'pg_class'::regclass),
			(SELECT nspowner FROM pg_namespace WHERE oid = objid AND classid = 'pg_namespace'::regclass),
			(SELECT typowner FROM pg_type WHERE oid = objid AND classid = 'pg_type'::regclass),
			(SELECT evtowner FROM pg_event_trigger WHERE oid = objid AND classid = 'pg_event_trigger'::regclass))) FROM member
	UNION ALL SELECT name, 'schema', nspacl::text FROM member JOIN pg_namespace n ON n.oid = objid WHERE classid = 'pg_namespace'::regclass
	UNION ALL SELECT name, 'type', typacl::text FROM member JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass
	UNION ALL SELECT name, 'index', pg_get_indexdef(indexrelid) || coalesce(obj_description(indexrelid, 'pg_class'), '')
		FROM member JOIN pg_index i ON indrelid = objid WHERE classid = 'pg_class'::regclass
	UNION ALL SELECT name, 'function', pg_get_functiondef(objid) || ' ' || coalesce(proacl::text, '')
		FROM member JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
	UNION ALL SELECT name, 'column ' || row_number() OVER (PARTITION BY attrelid ORDER BY attnum), format('%s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull,
			pg_get_expr(adbin, adrelid), col_description(attrelid, attnum), attacl)
		FROM member JOIN pg_attribute a ON attrelid = objid AND attnum > 0 AND NOT attisdropped
		LEFT JOIN pg_attrdef f ON adrelid = objid AND adnum = attnum
		WHERE classid = 'pg_class'::regclass
	UNION ALL SELECT name, 'relation', format('%s %s %s %s %s %s', relkind, relacl, reloptions, relrowsecurity, relpersistence,
			CASE relkind WHEN 'v' THEN pg_get_viewdef(objid) END)
		FROM member JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass
	UNION ALL SELECT name, 'constraint', conname || ' ' || pg_get_constraintdef(c.oid) || coalesce(obj_description(c.oid, 'pg_constraint'), '')
		FROM member JOIN pg_constraint c ON conrelid = objid WHERE classid = 'pg_class'::regclass
	UNION ALL SELECT name, 'trigger', pg_get_triggerdef(t.oid) || tgenabled::text || coalesce(obj_description(t.oid, 'pg_trigger'), '')
		FROM member JOIN pg_trigger t ON tgrelid = objid WHERE classid = 'pg_class'::regclass
	UNION ALL SELECT name, 'attribute ' || row_number() OVER (PARTITION BY attrelid ORDER BY attnum), attname || ' ' || format_type(atttypid, atttypmod)
		FROM member JOIN pg_type t ON t.oid = objid JOIN pg_attribute a ON attrelid = typrelid AND attnum > 0 AND NOT attisdropped
		WHERE classid = 'pg_type'::regclass
	UNION ALL SELECT name, 'event trigger', format('%s %s %s %s', evtevent, evtenabled, evttags, evtfoid::regproc)
		FROM member JOIN pg_event_trigger v ON v.oid = objid WHERE classid = 'pg_event_trigger'::regclass
	UNION ALL SELECT 'extension', 'dumped', extconfig::regclass[]::text || extcondition::text FROM pg_extension WHERE extname = 'ecto_job'
	ORDER BY 1, 2, 3};

in_database('postgres', 'CREATE EXTENSION ecto_job');
my $fresh = in_database('postgres', $catalog);
like($fresh, qr/function ecto_job\.enqueue/, 'the catalog of a fresh installation has enqueue()');
my ($status, undef, $error);

# An update of one version to the next one equals the next one, too
for my $step (1 .. $#older)
{
	my ($from, $to) = @older[ $step - 1, $step ];
	in_database('postgres', "CREATE DATABASE step_$_") for "${step}_fresh", "${step}_updated";
	in_database("step_${step}_fresh", "CREATE EXTENSION ecto_job VERSION '$to'");
	in_database("step_${step}_updated", "CREATE EXTENSION ecto_job VERSION '$from'; ALTER EXTENSION ecto_job UPDATE TO '$to'");
	is(in_database("step_${step}_updated", $catalog), in_database("step_${step}_fresh", $catalog), "$from updated to $to equals a fresh $to");
	in_database('postgres', "DROP DATABASE step_$_") for "${step}_fresh", "${step}_updated";
}

for my $old (@older)
{
	my $database = 'from_' . $old =~ tr/./_/r;
	in_database('postgres', "CREATE DATABASE $database");
	in_database($database, "CREATE EXTENSION ecto_job VERSION '$old'");

	# Each function of the old version is called once, with times at which the scheduler does not touch the jobs
	is(in_database($database, q{
		SET TimeZone = 'UTC';
		SELECT ecto_job.create_queue('jobs');
		SELECT ecto_job.create_queue('blobs', params_type => 'binary', timestamps_opts => 'false');
		SELECT retry_timeout, max_attempts FROM ecto_job.configure_queue('jobs', retry_timeout => '1 day', max_attempts => 2);
		SELECT ecto_job.enqueue('jobs', '{"n": 1}'), ecto_job.enqueue('jobs', '{"n": 2}'), ecto_job.enqueue('jobs', '{"n": 3}'),
			ecto_job.enqueue('jobs', '{"n": 4}'), ecto_job.enqueue('blobs', params_binary => '\x01');
		SELECT id, state, attempt FROM ecto_job.available_jobs('jobs', 1);
		SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
		SELECT ecto_job.complete_job('jobs', :id, :lease);
		SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
		SELECT id, state, error FROM ecto_job.fail_job('jobs', :id, :lease, 'why');
		SELECT id, lease FROM ecto_job.reserve_available_jobs('jobs', 1) \gset
		SELECT id, state, attempt FROM ecto_job.update_job_in_progress('jobs', :id, 0, lease => :lease);
		SELECT id, state FROM ecto_job.job_failed('jobs', :id, 1);
		SELECT ecto_job.complete_jobs('jobs', array_agg(id), array_agg(lease)) FROM ecto_job.start_available_jobs('jobs', 5);
		SELECT ecto_job.activate_scheduled_jobs('jobs', '2999-01-01');
		SELECT id, lease FROM ecto_job.start_available_jobs('jobs') \gset
		SELECT id, state FROM ecto_job.fail_job('jobs', :id, :lease);
		SELECT id, state, attempt FROM ecto_job.requeue('jobs', :id);
		SELECT * FROM ecto_job.sweep('jobs', '2999-01-01');
		SELECT ecto_job.activate_expired_jobs('jobs'), ecto_job.fail_expired_jobs_at_max_attempts('jobs');
		SELECT count(*) FROM ecto_job.reserve_available_jobs('jobs', 2);
		SELECT ecto_job.delete_job_changeset('jobs', 2, 0), ecto_job.initial_multi('jobs', 3, 1);
		SELECT params_binary FROM ecto_job.start_available_jobs('blobs');
		SELECT ecto_job.increase_time('2001-01-01', 2, 1000), ecto_job.reservation_expiry('2001-01-01', 1);
		SELECT ecto_job.create_queue('brief'); SELECT ecto_job.drop_queue('brief');
		SELECT count(*) FROM jobs}) =~ s/\n/ /gr,
		'jobs blobs 1 day|2 1|2|3|4|1 1|AVAILABLE|0  2|RETRY|why 3|IN_PROGRESS|1 3|RETRY 1 2 2|FAILED 2|SCHEDULED|0 1|0|0 0|0 2 '
		  . '| \x01 2001-01-01 00:00:02+00|2001-01-01 00:00:00.001+00 brief t 0',
		"$old: every function works with the newer library");

	becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok', "$old: the scheduler works with the newer library");
	in_database($database, q{INSERT INTO jobs (params, schedule, state) VALUES ('{"due": true}', clock_timestamp(), 'SCHEDULED')});
	becomes_in($node, $database, q{SELECT state FROM jobs WHERE params ? 'due'}, 'AVAILABLE', "$old: the scheduler sweeps");
	is(in_database($database, q{INSERT INTO jobs (params, schedule) VALUES ('{"later": true}', '2999-01-01') RETURNING state}), 'SCHEDULED',
		"$old: a job for the future is SCHEDULED");
	my $listener = $node->background_psql($database);
	$listener->query_safe('LISTEN jobs');
	in_database($database, q{SELECT ecto_job.enqueue('jobs', '{}')});
	ok(poll_until(sub { $listener->query('SELECT 1') =~ /notification "jobs"/ }, 'a notification'), "$old: an enqueue notifies");
	$listener->quit;
	in_database($database, 'SELECT ecto_job.disable()');
	becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'disabled', "$old: disable() works");
	in_database($database, 'SELECT ecto_job.enable()');
	command_ok([ 'ecto_job_consumer', '-d', $node->connstr($database), '--queue', 'jobs', '--exec', 'true', '--drain' ],
		"$old: the consumer drains a queue");
	(undef, undef, $error) = $node->psql($database, q{SELECT ecto_job.configure_queue('jobs', options => '{"backoff": "constant"}')});
	like($error, qr/ERROR:  extension ecto_job is older than its library.*\nHINT:  Run ALTER EXTENSION ecto_job UPDATE/,
		"$old: an option says that the extension must be updated");
	in_database($database, q{UPDATE ecto_job.queue_settings SET options = '{"backoff": "constant"}' WHERE queue = 'jobs'::regclass});
	is(in_database($database, q{BEGIN; INSERT INTO jobs (params, state, attempt, lease) VALUES ('{}', 'IN_PROGRESS', 1, 44) RETURNING id \gset
		SELECT state, schedule - '2031-01-01' FROM ecto_job.fail_job('jobs', :id, 44, now => '2031-01-01'); ROLLBACK}),
		'RETRY|2 days', "$old: the reserved column means nothing");
	# 0.1.0 has no queues of EctoJob's library
	if ($old eq '0.1.0')
	{
		(undef, undef, $error) = $node->psql($database, "SELECT ecto_job.create_queue('mixed', ectojob => true)");
		like($error, qr/ERROR:  extension ecto_job is older than its library.*\nHINT:  Run ALTER EXTENSION ecto_job UPDATE/,
			"$old: a newer feature says that the extension must be updated");
	}

	else
	{
		in_database($database, q{
			CREATE TABLE library_jobs (
				id bigserial PRIMARY KEY, state varchar(255) DEFAULT 'AVAILABLE' NOT NULL, expires timestamp,
				schedule timestamp DEFAULT timezone('UTC', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
				max_attempts integer DEFAULT 5 NOT NULL, params jsonb NOT NULL, notify varchar(255),
				priority integer DEFAULT 0 NOT NULL, inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL);
			CREATE INDEX ON library_jobs (priority, schedule, id)});
		is(in_database($database, q{SELECT ecto_job.adopt_queue('library_jobs')}), 'library_jobs', "$old: a table can be adopted");
		is( in_database($database, q{
			SELECT ecto_job.enqueue('library_jobs', '{}') > 0;
			SELECT id FROM ecto_job.reserve_available_jobs('library_jobs', 1) \gset
			UPDATE library_jobs SET state = 'AVAILABLE', expires = NULL WHERE id = :id RETURNING lease IS NULL}) =~ s/\n/ /gr,
			't t', "$old: the trigger of an adopted table ends a lease");
		in_database($database, q{SELECT ecto_job.release_queue('library_jobs')});
		is(in_database($database, q{SELECT count(*) FROM ecto_job.queues WHERE queue = 'library_jobs'::regclass}), '0', "$old: a queue can be released");
		in_database($database, 'SELECT ecto_job.stop_scheduler()');
		becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'disabled', "$old: stop_scheduler() works");
		in_database($database, 'SELECT ecto_job.start_scheduler()');
		in_database($database, 'SELECT ecto_job.enable()');
		becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok', "$old: start_scheduler() works");
		in_database($database, q{SELECT ecto_job.carry_settings('jobs')}) if in_database($database, q{SELECT to_regproc('ecto_job.carry_settings')});
	}
	becomes_in($node, $database, q{
		SELECT coalesce(string_agg(p.proname, ' '), '') FROM pg_proc p LEFT JOIN pg_stat_user_functions s ON s.funcid = p.oid
		WHERE p.pronamespace = 'ecto_job'::regnamespace AND coalesce(s.calls, 0) = 0}, '',
		"$old: this test has called every function of the extension");

	# The update
	in_database($database, q{SELECT ecto_job.enqueue('jobs', '{"n": 5}')});
	# A job in each state, at whose time nothing happens
	in_database($database, q{
		SELECT ecto_job.create_queue('kept');
		INSERT INTO kept (params, state, schedule, expires, attempt, lease, error, notify, priority)
		SELECT jsonb_build_object('state', s), s, '2999-01-01', CASE WHEN s IN ('RESERVED', 'IN_PROGRESS') THEN timestamptz '2999-01-01' END,
			1, CASE WHEN s IN ('RESERVED', 'IN_PROGRESS') THEN 1 END, 'why', 'done', 7
		FROM unnest('{SCHEDULED,RETRY,RESERVED,IN_PROGRESS,FAILED}'::text[]) AS s;
		SELECT ecto_job.configure_queue('kept', poll_interval => '7 s', reservation_timeout => '8 s', execution_timeout => '9 s',
			retry_timeout => '10 s', max_attempts => 11)});
	in_database($database, 'CREATE TABLE before AS SELECT queue, to_jsonb(q) AS settings FROM ecto_job.queue_settings AS q');
	my $kept = in_database($database, 'SELECT to_jsonb(k), k.ctid, k.xmin FROM kept AS k ORDER BY id');
	in_database($database, q{
		CREATE VIEW runs AS SELECT enabled FROM ecto_job.scheduler_state WHERE database IS NOT NULL;
		GRANT UPDATE ON ecto_job.scheduler_state TO pg_monitor});
	in_database($database, 'ALTER EXTENSION ecto_job UPDATE');
	is( in_database($database, q{
		SELECT enabled, has_table_privilege('pg_monitor', 'ecto_job.scheduler_state', 'UPDATE') FROM runs;
		REVOKE UPDATE ON ecto_job.scheduler_state FROM pg_monitor}),
		't|t', "$old: views and grants on the extension's tables outlive the update");
	is(in_database($database, "SELECT extversion FROM pg_extension WHERE extname = 'ecto_job'"), $version, "$old: ALTER EXTENSION UPDATE leads to the present version");
	is(in_database($database, $catalog), $fresh, "$old: the result equals a fresh installation");
	is( in_database($database, q{
		SELECT count(*), bool_and(to_jsonb(q) @> (b.settings - 'options')) FROM before AS b LEFT JOIN ecto_job.queue_settings AS q USING (queue)}),
		'3|t', "$old: every setting of every queue is kept");
	is(in_database($database, 'SELECT to_jsonb(k), k.ctid, k.xmin FROM kept AS k ORDER BY id'), $kept, "$old: the rows of jobs are unchanged");
	becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok', "$old: the scheduler works after the update");
	is(in_database($database, q{SELECT params FROM ecto_job.start_available_jobs('jobs')}), '{"n": 5}', "$old: the jobs are kept");
	is(in_database($database, "SELECT ecto_job.create_queue('mixed', ectojob => true)"), 'mixed', "$old: a newer feature works after the update");
	is(in_database($database, q{SELECT ecto_job.pause_queue('blobs'); SELECT ecto_job.enqueue('blobs', params_binary => '') > 0, paused
		FROM ecto_job.queues WHERE queue = 'blobs'::regclass; SELECT count(*) FROM ecto_job.start_available_jobs('blobs')}) =~ s/\n/ /gr,
		' t|t 0', "$old: a queue from before the update can be paused");
	is(in_database($database, q{SELECT options FROM ecto_job.queues WHERE queue = 'jobs'::regclass;
		SELECT options FROM ecto_job.configure_queue('jobs', options => '{"backoff": "constant"}')}),
		qq({}\n{"backoff": "constant"}), "$old: the reserved column is emptied, and options can be set after the update");
}

# The SQL is newer than the library that the server has loaded, as after the installation of a later release
my ($sharedir) = map { chomp; $_ } `pg_config --sharedir`;
SKIP:
{
	skip("the installation's directory $sharedir/extension cannot be written", 4) unless -w "$sharedir/extension";
	my $script = slurp_file("$sharedir/extension/ecto_job--$version.sql");
	my @files = map { "$sharedir/extension/ecto_job--$_.sql" } '99.0.0', '98.0.0', "$version--99.0.0";
	append_to_file($files[0], $script =~ s/require_library\('\Q$version\E'\)/require_library('99.0.0')/r);
	append_to_file($files[1], $script =~ s/'ecto_job_require_library'/'ecto_job_of_the_future'/r);
	append_to_file($files[2], "SELECT ecto_job.require_library('99.0.0');\n");
	in_database('postgres', 'CREATE DATABASE future');
	for my $newer ('99.0.0', '98.0.0')
	{
		($status, undef, $error) = $node->psql('future', "\\set VERBOSITY verbose\nCREATE EXTENSION ecto_job VERSION '$newer'");
		like($error, qr/ERROR:  55000: the loaded library of ecto_job is older than the extension's SQL.*\nHINT:  Restart the server/s,
			$newer eq '99.0.0' ? 'a newer extension is refused' : 'a newer extension is refused that needs a function which the library lacks');
	}
	($status, undef, $error) = $node->psql('postgres', "ALTER EXTENSION ecto_job UPDATE TO '99.0.0'");
	like($error, qr/is older than the extension's SQL.*\nHINT:  Restart the server/s, 'an update to a newer extension is refused');
	is(in_database('postgres', $catalog), $fresh, 'a refused update changes nothing');
	unlink @files;
}

# A later version gives queues a column: an attribute of ecto_job.job more, in its install script and in its update
# script (docs/design.md, "Adding a column"). The library is the present one, which knows nothing of the column, as any
# library meets queues that have a column and queues that have not.
SKIP:
{
	skip("the installation's directory $sharedir/extension cannot be written", 1) unless -w "$sharedir/extension";
	my $later = "$version.0"; # another version, and no newer one than the library, whose scheduler would not run
	my @files = map { "$sharedir/extension/ecto_job--$_.sql" } $later, "$version--$later";
	my $comment = "COMMENT ON COLUMN ecto_job.job.lock_key IS 'at most one job of a lock_key runs';\n";
	my $script = slurp_file("$sharedir/extension/ecto_job--$version.sql");
	$script =~ s/(    params_binary pg_catalog\.bytea)\n\);\n/$1,\n    lock_key pg_catalog.text\n);\n$comment/ or die 'ecto_job.job has another end';
	unlink @files; # of the first run, when the test is run again
	append_to_file($files[0], $script);
	append_to_file($files[1], "ALTER TYPE ecto_job.job ADD ATTRIBUTE lock_key pg_catalog.text;\n$comment"
		. "CREATE SCHEMA ecto_job_plans; DROP SCHEMA ecto_job_plans;\n"); # every session plans its statements anew

	# Creates one queue of each shape, as the application `tenant`, which is no superuser
	my $tenant = 'SET client_min_messages = warning; SET ROLE tenant;';
	my $create = q{
		SELECT ecto_job.create_queue('jobs');
		SELECT ecto_job.create_queue('blobs', params_type => 'binary', timestamps_opts => 'false');};
	my $create_mixed = q{SELECT ecto_job.create_queue('mixed', ectojob => true);};
	my $create_adopted = q{
		CREATE TABLE library_jobs (
			id bigserial PRIMARY KEY, state varchar(255) DEFAULT 'AVAILABLE' NOT NULL, expires timestamp,
			schedule timestamp DEFAULT timezone('UTC', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
			max_attempts integer DEFAULT 5 NOT NULL, params jsonb NOT NULL, notify varchar(255),
			priority integer DEFAULT 0 NOT NULL, inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL);
		CREATE INDEX ON library_jobs (priority, schedule, id);
		SELECT ecto_job.adopt_queue('library_jobs');};

	# Returns what a job of the queue lives through, in a version of the extension's own words
	my $lives = sub
	{
		my ($database, $queue) = @_;
		my $params = $queue eq 'blobs' ? q{params_binary => '\x01'} : q{params => '{}'};
		return in_database($database, qq{$tenant
			SELECT ecto_job.enqueue('$queue', $params, priority => -1) AS job \\gset
			SELECT id, lease FROM ecto_job.start_available_jobs('$queue') \\gset
			SELECT state, error FROM ecto_job.fail_job('$queue', :id, :lease, 'why');
			SELECT ecto_job.activate_scheduled_jobs('$queue', '2999-01-01');
			SELECT id, lease FROM ecto_job.reserve_available_jobs('$queue', 1) \\gset
			SELECT state FROM ecto_job.update_job_in_progress('$queue', :id, 1, lease => :lease);
			SELECT ecto_job.activate_expired_jobs('$queue', '2999-01-01') > 0;
			SELECT id, lease, attempt FROM ecto_job.start_available_jobs('$queue') \\gset
			SELECT ecto_job.complete_job('$queue', :id, :lease);
			SELECT :id = :job, :attempt, count(*) FROM $queue WHERE id = :job}) =~ s/\n/ /gr;
	};
	my $life = 'RETRY|why 1 IN_PROGRESS t  t|3|0';

	# The columns of the queues, in their order, with everything that PostgreSQL knows about them
	my $columns = q{
		SELECT s.queue, format('%s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attgenerated,
			regexp_replace(pg_get_expr(adbin, adrelid), '\s+', ' ', 'g'), col_description(attrelid, attnum))
		FROM ecto_job.queue_settings s JOIN pg_attribute a ON attrelid = queue AND attnum > 0
		LEFT JOIN pg_attrdef f ON adrelid = queue AND adnum = attnum ORDER BY s.queue::text, attnum};
	# The files of the tables and their indexes, and the versions of their rows: the same after a change of catalogs only
	my $storage = sub
	{
		my ($database) = @_;
		return join "\n", map {
			in_database($database, "SELECT pg_relation_filenode(oid), relname FROM pg_class
				WHERE oid = '$_'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '$_'::regclass) ORDER BY oid;
				SELECT ctid, xmin, xmax, id FROM $_ ORDER BY id")
		} split(/\n/, in_database($database, 'SELECT queue FROM ecto_job.queue_settings ORDER BY queue::text'));
	};
	my $upgrade = q{SELECT format('SELECT ecto_job.upgrade_queue(%L)', queue) FROM ecto_job.queues WHERE owner = 'tenant' \gexec};

	in_database('postgres', 'CREATE ROLE tenant; CREATE ROLE stranger; CREATE DATABASE later_fresh');
	in_database('later_fresh', "CREATE EXTENSION ecto_job VERSION '$later'; GRANT CREATE ON SCHEMA public TO tenant; $tenant $create $create_mixed $create_adopted");
	my $later_catalog = in_database('later_fresh', $catalog);
	my $later_columns = in_database('later_fresh', $columns);
	is(() = $later_columns =~ /\|lock_key text f   at most one job of a lock_key runs$/mg, 4,
		'a column of a later version: each new queue has it, as nullable, without a default, with its comment');
	is($lives->('later_fresh', $_), $life, "a column of a later version: a new queue works: $_") for qw(jobs blobs mixed library_jobs);

	for my $old (@older, $version)
	{
		my $database = 'later_' . $old =~ tr/./_/r;
		my $name = "$old to a version with a column more";
		my @queues = ('jobs', 'blobs', $old eq '0.1.0' ? () : ('mixed', 'library_jobs'));
		in_database('postgres', "CREATE DATABASE $database");
		in_database($database, "CREATE EXTENSION ecto_job VERSION '$old'; GRANT CREATE ON SCHEMA public TO tenant");
		in_database($database, "$tenant $create " . ($old eq '0.1.0' ? '' : $create_mixed . $create_adopted));
		in_database($database, "$tenant SELECT ecto_job.enqueue('$_', " . ($_ eq 'blobs' ? q{params_binary => ''} : q{params => '{}'})
			. ') FROM generate_series(1, 200)') for @queues;
		# Objects of the application that depend on ecto_job.job, and a session that has used them
		in_database($database, q{
			SET ROLE tenant;
			CREATE TABLE archive (job ecto_job.job);
			INSERT INTO archive SELECT j FROM ecto_job.available_jobs('jobs', 1) AS j;
			CREATE VIEW next_job AS SELECT * FROM ecto_job.available_jobs('jobs', 1);
			CREATE FUNCTION take() RETURNS SETOF ecto_job.job LANGUAGE plpgsql AS
				$$ BEGIN RETURN QUERY SELECT * FROM ecto_job.start_available_jobs('jobs'); END $$;
			CREATE FUNCTION take_in_sql() RETURNS SETOF ecto_job.job LANGUAGE sql AS
				$$ SELECT * FROM ecto_job.start_available_jobs('jobs') $$;
			CREATE FUNCTION take_listed() RETURNS SETOF ecto_job.job LANGUAGE sql AS
				$$ SELECT id, state, expires, schedule, attempt, max_attempts, params, notify, priority, inserted_at, updated_at, lease,
					key, error, meta, params_binary FROM ecto_job.start_available_jobs('jobs') $$;
			CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS
				$$ BEGIN EXECUTE statement; RETURN 'ok'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$});
		my $session = $node->background_psql($database);
		$session->set_query_timer_restart();
		$session->query_safe('SET ROLE tenant');
		$session->query_safe(q{PREPARE named AS SELECT id, state FROM ecto_job.start_available_jobs('jobs')});
		$session->query_safe(q{PREPARE whole AS SELECT * FROM ecto_job.start_available_jobs('jobs')});
		$session->query_safe($_) for 'EXECUTE named', 'EXECUTE whole', 'SELECT count(*) FROM take()', 'SELECT count(*) FROM take_in_sql()', 'SELECT count(*) FROM take_listed()';
		my $consumer = ConsumerTest->start($node, '-d', $node->connstr($database), '--queue', 'blobs', '--exec', 'true', '--batch', '1');
		becomes_in($node, $database, 'SELECT count(*) FROM blobs', 0, "$name: a consumer works before the update");

		my $before = $storage->($database);
		(undef, undef, $error) = $node->psql($database, "SET ROLE tenant; ALTER EXTENSION ecto_job UPDATE TO '$later'");
		like($error, qr/must be owner of extension ecto_job/, "$name: a tenant cannot update the extension");
		in_database($database, "ALTER EXTENSION ecto_job UPDATE TO '$later'");
		is(in_database($database, $catalog), $later_catalog, "$name: the result equals a fresh installation");
		is($storage->($database), $before, "$name: the update changes no queue");
		unlike(in_database($database, $columns), qr/lock_key/, "$name: a queue has the column when its owner has upgraded it");
		is($lives->($database, $_), $life, "$name: a queue without the column works: $_") for grep { $_ ne 'blobs' } @queues;

		like($session->query_safe('EXECUTE named'), qr/^\d+\|IN_PROGRESS$/m, "$name: a prepared statement that names its columns works");
		like($session->query_safe("SELECT outcome('EXECUTE whole')"), qr/^0A000$/m, "$name: a prepared statement with * must be prepared again");
		like($session->query_safe("SELECT outcome('SELECT take_listed()')"), qr/^42P13$/m,
			"$name: a function in SQL that lists the attributes of a job must list one more");
		like($session->query_safe('SELECT state, lock_key IS NULL FROM take()'), qr/^IN_PROGRESS\|t$/m, "$name: a function in PL/pgSQL that returns a job works");
		like($session->query_safe('SELECT state, lock_key IS NULL FROM take_in_sql()'), qr/^IN_PROGRESS\|t$/m, "$name: a function in SQL that returns a job works");
		like($session->query_safe('SELECT state FROM next_job'), qr/^AVAILABLE$/m, "$name: a view of jobs works");
		like($session->query_safe('SELECT (job).state, (job).lock_key IS NULL FROM archive'), qr/^AVAILABLE\|t$/m, "$name: a stored job works");

		in_database($database, "$tenant SELECT ecto_job.enqueue('blobs', params_binary => '') FROM generate_series(1, 20)");
		becomes_in($node, $database, 'SELECT count(*) FROM blobs', 0, "$name: a consumer works after the update");

		# A dump of the queues as they are now is restored into a fresh installation
		my $dump = $node->basedir . "/$database.sql";
		command_ok([ 'pg_dump', '-n', 'public', '-f', $dump, $node->connstr($database) ], "$name: a queue without the column is dumped");
		in_database('postgres', 'CREATE DATABASE later_restored');
		in_database('later_restored', "CREATE EXTENSION ecto_job VERSION '$later'; DROP SCHEMA public");
		command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('later_restored') ],
			"$name: the dump is restored into an installation with the column");
		in_database('later_restored', 'GRANT USAGE ON SCHEMA public TO tenant');
		is(in_database('later_restored', $columns), in_database($database, $columns), "$name: the restored queues are as they were");
		is($lives->('later_restored', $_), $life, "$name: a restored queue works: $_") for @queues;
		in_database('later_restored', $tenant . $upgrade);

		# The owner upgrades the queue; a column of the application's own is in the way
		in_database($database, 'ALTER TABLE jobs ADD COLUMN lock_key integer');
		(undef, undef, $error) = $node->psql($database, "\\set VERBOSITY verbose\nSELECT ecto_job.upgrade_queue('jobs')");
		like($error, qr/ERROR:  42P16: .*DETAIL:  Column "lock_key" is integer, not .*text\.\nHINT:  Rename/s,
			"$name: a column of the application's own stays as it is");
		in_database($database, 'ALTER TABLE jobs RENAME COLUMN lock_key TO own; ALTER TABLE jobs DROP COLUMN own');
		(undef, undef, $error) = $node->psql($database, "SET ROLE stranger; SELECT ecto_job.upgrade_queue('jobs')");
		like($error, qr/must be owner of table jobs/, "$name: a stranger cannot upgrade the queue");
		$session->query_safe($_) for 'BEGIN', 'SELECT 1 FROM jobs LIMIT 1';
		(undef, undef, $error) = $node->psql($database, "SET lock_timeout = '1ms'; SELECT ecto_job.upgrade_queue('jobs')");
		like($error, qr/lock timeout.*HINT:  A transaction uses the queue's table/s, "$name: a transaction that uses the table does not make others wait");
		$session->query_safe('COMMIT');

		$before = $storage->($database);
		in_database($database, $tenant . $upgrade);
		is($storage->($database), $before, "$name: no table is rewritten and no row is changed");
		my $upgraded = in_database($database, $columns);
		my $ours = join '|', @queues;
		is($upgraded =~ s/^.*\|\.{8}pg\.dropped\..*\n//mr, join("\n", grep { /^(?:$ours)\|/ } split /\n/, $later_columns),
			"$name: the columns of an upgraded queue, and their order, equal those of a new one");
		is(in_database('later_restored', $columns), $upgraded =~ s/^.*\|\.{8}pg\.dropped\..*\n//mr, "$name: a restored queue can be upgraded");
		in_database($database, $tenant . $upgrade);
		is(in_database($database, $columns), $upgraded, "$name: a second upgrade changes nothing");
		is($lives->($database, $_), $life, "$name: an upgraded queue works: $_") for grep { $_ ne 'blobs' } @queues;
		is(in_database($database, q{UPDATE jobs SET lock_key = 'mine'; SELECT DISTINCT lock_key FROM jobs}), 'mine', "$name: the column can be written");
		like($session->query_safe('EXECUTE named'), qr/^\d+\|IN_PROGRESS$/m, "$name: a session from before the update works with an upgraded queue");
		in_database($database, "$tenant SELECT ecto_job.enqueue('blobs', params_binary => '') FROM generate_series(1, 20)");
		becomes_in($node, $database, 'SELECT count(*) FROM blobs', 0, "$name: a consumer works after the upgrade");
		becomes_in($node, $database, 'SELECT DISTINCT status FROM ecto_job.queues', 'ok', "$name: the scheduler works after the upgrade");
		$consumer->signal('TERM');
		is($consumer->end, 0, "$name: the consumer is the process from before the update");
		unlike($consumer->log, qr/error|failed/i, "$name: the consumer has seen no error");
		$session->quit;
		in_database('postgres', 'DROP DATABASE later_restored WITH (FORCE)');
	}
	unlink @files;
}

$node->stop;
done_testing();
