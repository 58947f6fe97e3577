# The scheduler is a superuser and sweeps every owner's tables. Code that an owner has attached to a table runs with the
# owner's rights, and cannot leave anything behind in the scheduler's session.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node(conf => "ecto_job.sweep_timeout = '500 ms'\n");

sub sql { return $node->safe_psql('postgres', shift); }
sub as_mallory { return $node->safe_psql('postgres', shift, extra_params => [ '-U', 'mallory' ]); }

sql(q{CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory;
	CREATE TABLE evidence (what text, who text, path text);
	GRANT INSERT, SELECT ON evidence TO mallory;
	CREATE TABLE secret (word text)});

# attack($what), a function in the database: records the role that it runs as, and then does what each attack tries
as_mallory(q{
	CREATE FUNCTION attack(what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.evidence VALUES (what, current_user, current_setting('search_path'));
		BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'INSERT INTO public.secret VALUES (''seen'')'; EXCEPTION WHEN OTHERS THEN NULL; END;
	END $$;
	CREATE FUNCTION attack_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack(TG_ARGV[0]); RETURN NEW; END $$});

my $number = 0;

sub stop_scheduler
{
	sql('SELECT ecto_job.disable()');
	poll_until(
		sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'") == 0 },
		'the end of the scheduler');
}

# sweep_attacked($name, $attack, %expected): passes when a sweep of mallory's queue, to which the SQL of $attack has
# attached her code, has the expected results. The queue has a due job. No scheduler runs while the SQL is run
sub sweep_attacked
{
	my ($name, $attack, %expected) = @_;
	my $queue = 'q' . ++$number;
	subtest qq{the attack "$name" gains nothing} => sub {
		as_mallory("SELECT ecto_job.create_queue('$queue');
			SELECT ecto_job.configure_queue('$queue', poll_interval => '50 ms')");
		stop_scheduler();
		as_mallory("INSERT INTO $queue (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
		$attack =~ s/\bQUEUE\b/$queue/g;
		as_mallory($attack);
		sql('TRUNCATE evidence');
		my $offset = -s $node->logfile;
		sql('SELECT ecto_job.enable()');
		my $table = $expected{table} // $queue;
		becomes($node, "SELECT state FROM $table", 'AVAILABLE', 'the job was swept') if $expected{swept} // 1;
		becomes($node, "SELECT status ~ '$expected{status}' FROM ecto_job.queues WHERE queue = '$table'::regclass",
			't', 'the sweep was refused')
		  if $expected{status};
		becomes($node, "SELECT DISTINCT who FROM evidence WHERE what = '$name'", 'mallory', 'the attack ran as mallory')
		  if $expected{runs} // 1;
		is(sql("SELECT DISTINCT path FROM evidence WHERE what = '$name'"), 'pg_catalog, pg_temp',
			'the attack ran with a safe search_path')
		  if $expected{runs} // 1;
		is(sql("SELECT count(*) FROM evidence WHERE who NOT IN ('mallory', 'left')"), 0, 'the attack ran as no other role');
		is(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), 'f', 'mallory is no superuser');
		is(sql('SELECT count(*) FROM secret'), 0, "mallory has not written to another role's table");
		is(sql("SELECT string_agg(what, ' ') FROM evidence WHERE who = 'left'"), '', 'the attack left nothing behind')
		  if $expected{left};
		$expected{also}->($queue) if $expected{also};
		stop_scheduler();
		sql("DROP TABLE $table CASCADE");
	};
}

sweep_attacked('before trigger', q{
	CREATE TRIGGER a BEFORE UPDATE ON QUEUE FOR EACH ROW EXECUTE FUNCTION attack_trigger('before trigger')});

sweep_attacked('after trigger', q{
	CREATE TRIGGER a AFTER UPDATE ON QUEUE FOR EACH ROW EXECUTE FUNCTION attack_trigger('after trigger')});

sweep_attacked('deferred trigger', q{
	CREATE CONSTRAINT TRIGGER a AFTER UPDATE ON QUEUE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION attack_trigger('deferred trigger')});

sweep_attacked('trigger that defers', q{
	CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NEW; END $$;
	CREATE CONSTRAINT TRIGGER a AFTER UPDATE ON QUEUE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION attack_trigger('trigger that defers');
	CREATE TRIGGER b BEFORE UPDATE ON QUEUE FOR EACH ROW EXECUTE FUNCTION defer()},
	swept => 0, runs => 0,
	status => 'cannot fire deferred trigger within security-restricted operation');

sweep_attacked('expression index', q{
	CREATE FUNCTION innocent(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE INDEX ON QUEUE (innocent(state));
	CREATE OR REPLACE FUNCTION innocent(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack('expression index'); RETURN $1; END $$});

sweep_attacked('domain check', q{
	CREATE FUNCTION valid(text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack('domain check'); RETURN true; END $$;
	CREATE DOMAIN word AS text CHECK (valid(VALUE));
	ALTER TABLE QUEUE ADD COLUMN other word GENERATED ALWAYS AS (state) STORED});

sweep_attacked('rule', q{
	CREATE RULE a AS ON UPDATE TO QUEUE DO ALSO SELECT public.attack('rule')});

sweep_attacked('policy', q{
	CREATE FUNCTION visible() RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack('policy'); RETURN true; END $$;
	ALTER TABLE QUEUE ENABLE ROW LEVEL SECURITY;
	ALTER TABLE QUEUE FORCE ROW LEVEL SECURITY;
	CREATE POLICY p ON QUEUE USING (visible())},
	runs => 0);

sweep_attacked('forced row security hides all', q{
	ALTER TABLE QUEUE ENABLE ROW LEVEL SECURITY;
	ALTER TABLE QUEUE FORCE ROW LEVEL SECURITY},
	runs => 0);

# A function of another owner shows mallory only the rows of his table that forced policies let her see
sql(q{
	CREATE ROLE keeper; CREATE SCHEMA kept AUTHORIZATION keeper; GRANT USAGE ON SCHEMA kept TO mallory;
	SET ROLE keeper;
	CREATE TABLE kept.words (tenant name, word text);
	INSERT INTO kept.words VALUES ('mallory', 'hers'), ('keeper', 'kept');
	ALTER TABLE kept.words ENABLE ROW LEVEL SECURITY;
	ALTER TABLE kept.words FORCE ROW LEVEL SECURITY;
	CREATE POLICY p ON kept.words USING (tenant = pg_catalog.current_setting('app.tenant', true));
	CREATE FUNCTION kept.words_of_mallory() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
	$$ SELECT pg_catalog.set_config('app.tenant', 'mallory', true) LIMIT 0; SELECT word FROM kept.words $$});
is(as_mallory("SET app.tenant = 'mallory'; SELECT string_agg(word, ' ') FROM kept.words_of_mallory() AS word"), 'hers',
	'the function shows mallory her own rows in her own session');
sweep_attacked('rows that policies keep', q{
	CREATE FUNCTION read_words() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.attack('rows that policies keep');
		PERFORM pg_catalog.set_config('app.tenant', 'mallory', true);
		INSERT INTO public.evidence SELECT 'word ' || word, current_user FROM kept.words_of_mallory() AS word;
		RETURN NEW;
	END $$;
	ALTER TABLE QUEUE ENABLE ROW LEVEL SECURITY;
	ALTER TABLE QUEUE FORCE ROW LEVEL SECURITY;
	CREATE TRIGGER a BEFORE UPDATE ON QUEUE FOR EACH ROW EXECUTE FUNCTION read_words()},
	also => sub {
		is(sql("SELECT string_agg(DISTINCT what, ' ') FROM evidence WHERE what LIKE 'word %'"), 'word hers',
			'forced policies of other tables hold in the sweep');
	});

sweep_attacked('inheritance child', q{
	CREATE TABLE child () INHERITS (QUEUE);
	CREATE TRIGGER a BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION attack_trigger('inheritance child')},
	swept => 0, runs => 0, status => 'takes part in inheritance');

# The column state of EctoJob's tables is varchar(255), for which pg_catalog has no operators of its own
(my $ectojob = slurp_source('test/regress/ectojob.sql')) =~ s/^--.*\n//mg;
sweep_attacked('operators in public', $ectojob . q{
	SELECT pg_temp.ectojob_table('adopted', 3);
	SELECT ecto_job.adopt_queue('adopted');
	INSERT INTO adopted (params, schedule, state, inserted_at, updated_at) VALUES ('{}', '2001-01-01', 'SCHEDULED', now(), now());
	CREATE FUNCTION equal(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack('operators in public'); RETURN true; END $$;
	CREATE OPERATOR public.= (leftarg = varchar, rightarg = varchar, function = equal)},
	table => 'adopted', runs => 0,
	also => sub {
		is(sql('SELECT count(*) FROM evidence'), 0, "mallory's operator was not called in the sweep");
		as_mallory("SELECT 'a'::varchar = 'b'::varchar");
		is(sql('SELECT who FROM evidence'), 'mallory', "mallory's operator is called by a statement of hers");
		as_mallory("DROP OPERATOR public.= (varchar, varchar); DROP TABLE $_[0]");
	});

sweep_attacked('view in place of the table', q{
	ALTER TABLE QUEUE RENAME TO hidden;
	CREATE VIEW QUEUE AS SELECT * FROM hidden WHERE public.attack('view') IS NOT NULL;
	CREATE RULE a AS ON UPDATE TO QUEUE DO INSTEAD SELECT public.attack('view')},
	table => 'hidden', runs => 0,
	also => sub { is(sql('SELECT count(*) FROM evidence'), 0, 'the view in place of the table was not read') });

sweep_attacked('unlogged table', q{ALTER TABLE QUEUE SET UNLOGGED},
	swept => 0, runs => 0, status => 'not a permanent table');

# A partition has no identity column of its own since PostgreSQL 17
sweep_attacked('partition', q{
	ALTER TABLE QUEUE ALTER id DROP IDENTITY;
	CREATE TABLE parent (LIKE QUEUE INCLUDING GENERATED) PARTITION BY LIST (state);
	ALTER TABLE parent ATTACH PARTITION QUEUE DEFAULT},
	swept => 0, runs => 0, status => 'not an ordinary table',
	also => sub { as_mallory("ALTER TABLE parent DETACH PARTITION $_[0]; DROP TABLE parent") });

# An attack tries to leave settings and objects in the scheduler's session
sweep_attacked('leftovers', q{
	CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.attack('leftovers');
		IF pg_catalog.current_setting('work_mem') = '64kB' THEN
			INSERT INTO public.evidence VALUES ('setting', 'left');
		END IF;
		BEGIN EXECUTE 'CREATE TEMP TABLE left_behind ()';
			INSERT INTO public.evidence VALUES ('temp', 'left'); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'PREPARE left_behind AS SELECT 1';
			INSERT INTO public.evidence VALUES ('prepare', 'left'); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'LISTEN left_behind';
			INSERT INTO public.evidence VALUES ('listen', 'left'); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'SET ROLE postgres';
			INSERT INTO public.evidence VALUES ('role', 'left'); EXCEPTION WHEN OTHERS THEN NULL; END;
		PERFORM pg_catalog.set_config('search_path', 'public', false);
		PERFORM pg_catalog.set_config('work_mem', '64kB', false);
		PERFORM pg_catalog.pg_advisory_lock(4242);
		RETURN NEW;
	END $$;
	CREATE TRIGGER a BEFORE UPDATE ON QUEUE FOR EACH ROW EXECUTE FUNCTION leave()},
	left => 1,
	also => sub {
		becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242",
			0, 'no advisory lock is left');
		is(sql('SELECT pg_try_advisory_lock(4242)'), 't', 'another session can take the advisory lock');
		my $scheduler = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'";
		becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 3 AND pid = ($scheduler)",
			1, 'the scheduler still holds the lock of the only one of its database');
		sql("INSERT INTO $_[0] (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
		becomes($node, "SELECT count(*) FROM $_[0] WHERE state = 'AVAILABLE'", 2, 'the queue is swept again');
		is(sql("SELECT string_agg(what, ' ') FROM evidence WHERE who = 'left'"), '',
			'the next sweep finds no setting left behind');
		is(sql('SELECT DISTINCT path FROM evidence'), 'pg_catalog, pg_temp',
			'the next sweep finds no search_path left behind');
	});

# Reading the view runs no code of a table's owner, although the planner evaluates immutable functions
subtest "reading the view runs no code of a table's owner" => sub {
	as_mallory(q{
		SELECT ecto_job.create_queue('looked_at');
		INSERT INTO looked_at (params, schedule) VALUES ('{}', '2999-01-01');
		CREATE FUNCTION usurp() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.evidence VALUES ('view', current_user);
			IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
				EXECUTE 'ALTER ROLE mallory SUPERUSER';
			END IF;
		END $$;
		CREATE FUNCTION constant(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
		CREATE INDEX ON looked_at (schedule) WHERE constant(1) = 2;
		CREATE OR REPLACE FUNCTION constant(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
		BEGIN PERFORM public.usurp(); RETURN 1; END $$});
	sql('TRUNCATE evidence; SELECT ecto_job.enable()');
	becomes($node, "SELECT next_due FROM ecto_job.queues WHERE queue = 'looked_at'::regclass",
		'2999-01-01 00:00:00+00', 'a superuser sees when a job is due');
	is(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"), 'f', 'mallory is no superuser');
	is(sql('SELECT DISTINCT who FROM evidence'), 'mallory', "mallory's function ran in the sweep only, as mallory");
	stop_scheduler();
	sql('DROP TABLE looked_at; ALTER ROLE mallory NOSUPERUSER');
};

# Mallory tries to register tables that are not hers
sql(q{SELECT ecto_job.create_queue('victim');
	SELECT ecto_job.drop_queue('victim'); CREATE TABLE victim (id bigint, state text)});
my (undef, undef, $error) = $node->psql('postgres',
	"INSERT INTO ecto_job.queue_settings (queue) VALUES ('victim')", extra_params => [ '-U', 'mallory' ]);
like($error, qr/permission denied/, 'mallory may not write to the registry');
(undef, undef, $error) = $node->psql('postgres', "SELECT ecto_job.create_queue('victim')",
	extra_params => [ '-U', 'mallory' ]);
like($error, qr/ERROR:  relation "victim" already exists and is not a queue/,
	"create_queue() does not take another role's table");
for my $call (qw(enable disable))
{
	(undef, undef, $error) =
	  $node->psql('postgres', "SELECT ecto_job.$call()", extra_params => [ '-U', 'mallory' ]);
	like($error, qr/ERROR:  .*(owner|permission)/, "$call() is refused to a role that does not own the database");
}
sql(q{CREATE DATABASE hers OWNER mallory});
$node->safe_psql('hers', 'CREATE EXTENSION ecto_job; CREATE TABLE victim (id bigint)');
(undef, undef, $error) = $node->psql('hers',
	"INSERT INTO ecto_job.queue_settings (queue) VALUES ('victim')", extra_params => [ '-U', 'mallory' ]);
like($error, qr/ERROR:  .*must be owner/, "a database's owner may not register another role's table");

# release_queue() creates a trigger on EctoJob's function. A function of mallory's under that name would run with the
# rights of every role that enqueues
sql(q{CREATE SCHEMA shared; GRANT CREATE, USAGE ON SCHEMA shared TO mallory; CREATE ROLE owner LOGIN;
	GRANT CREATE, USAGE ON SCHEMA shared TO owner; SET ROLE owner; SELECT ecto_job.create_queue('released', 'shared')});
as_mallory(q{CREATE FUNCTION shared.fn_notify_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM public.attack('released'); RETURN NEW; END $$});
for my $role (qw(owner postgres))
{
	my $user = $role eq 'postgres' ? [] : [ '-U', $role ];
	(undef, undef, $error) = $node->psql('postgres', q{SELECT ecto_job.release_queue('shared.released')}, extra_params => $user);
	like($error, qr/ERROR:  function shared\.fn_notify_inserted\(\) belongs to neither the owner of "released" nor a superuser.*HINT/s,
		"release_queue() by $role refuses mallory's function");
}
as_mallory('DROP FUNCTION shared.fn_notify_inserted()');
is($node->safe_psql('postgres', q{SELECT ecto_job.release_queue('shared.released')}, extra_params => [ '-U', 'owner' ]),
	'shared.released', "release_queue() makes its own function when there is none of mallory's");

# A trigger that catches the cancellation at the time limit is tested in 021_scheduler_errors.pl

$node->stop;
done_testing();
