# The scheduler leaves a database for commands that need the database without sessions, and is started again after
# them. A copy of a database is not swept until its owner calls enable().
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes_in);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node(conf => "log_min_messages = debug1\n");

sub sql { return $node->safe_psql('postgres', shift); }

sub in_database
{
	my ($database, $query, $user) = @_;
	return $node->safe_psql($database, $query, extra_params => [ '-U', $user // 'landlord' ]);
}

my $schedulers =
  "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'";

sub pid_in
{
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = '$_[0]'");
}

sub with_queue
{
	my ($database) = @_;
	$node->safe_psql($database, 'CREATE EXTENSION ecto_job; GRANT CREATE ON SCHEMA public TO landlord');
	in_database($database, "SELECT ecto_job.create_queue('jobs');
		SELECT ecto_job.configure_queue('jobs', poll_interval => '50 ms')");
	becomes_in($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'
		AND datname = '$database'", 1, "a scheduler runs in $database");
}

# Passes when a sweep of this database activates a job that is due at once
sub sweeps
{
	my ($database, $name) = @_;
	my $id = in_database($database, "INSERT INTO jobs (params, schedule, state)
		VALUES ('{}', clock_timestamp(), 'SCHEDULED') RETURNING id");
	$id =~ s/\D.*//s;
	becomes_in($node, $database, "SELECT state FROM jobs WHERE id = $id", 'AVAILABLE', $name);
}

# Returns the oids of the databases in which the launcher has started a scheduler since the offset
sub started
{
	my ($offset) = @_;
	return slurp_file($node->logfile, $offset) =~ /starting background worker process "ecto_job scheduler for database (\d+)"/g;
}

sub oid_of { return sql("SELECT oid FROM pg_database WHERE datname = '$_[0]'"); }

# Waits as long as the launcher's first two pauses, 1 s and 2 s, after which it would start a scheduler that must not
# start. No condition shows that the pauses are over
sub two_pauses
{
	my $end = time + 3.5;
	return poll_until(sub { time > $end }, "two pauses of the launcher");
}

sub fails
{
	my ($query, $user, $pattern, $name) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $query, extra_params => [ '-U', $user ]);
	like($error, $pattern, $name);
}

sql('CREATE ROLE landlord LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB;');
sql('CREATE DATABASE app OWNER landlord');
with_queue('app');
sweeps('app', 'the scheduler of app sweeps');

# Closes a database to connections, and ends its scheduler. In database quiet nothing is written after it is opened
# again: the end of this file checks that the launcher finds it
sub close_database
{
	my ($database) = @_;
	sql("ALTER DATABASE $database ALLOW_CONNECTIONS false");
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$database'
		AND backend_type = 'ecto_job scheduler'");
	# Once the scheduler is gone, the launcher has two pauses in which to find the database closed
	becomes_in($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'
		AND backend_type = 'ecto_job scheduler'", 0, "closed database $database has no scheduler");
	return two_pauses();
}
for my $database ('quiet', 'busy')
{
	sql("CREATE DATABASE $database OWNER landlord");
	with_queue($database);
}
my $old_session = $node->background_psql('busy');
$old_session->query_safe('SELECT 1');
close_database($_) for 'quiet', 'busy';
is( $old_session->query_safe('SELECT status FROM ecto_job.queues'),
	'no scheduler: the database is closed to connections', 'the view says that the database is closed, to a session from before');
$old_session->quit;
sql("ALTER DATABASE $_ ALLOW_CONNECTIONS true") for 'quiet', 'busy';
my $opened = time;
is( in_database('busy', 'SELECT status FROM ecto_job.queues'),
	"no scheduler: it starts within a minute, or ended with an error that the server's log shows", 'the view says when the scheduler of an opened database starts');
in_database('busy', "INSERT INTO jobs (params) VALUES ('{}')");
becomes_in($node, 'busy', 'SELECT status FROM ecto_job.queues', 'ok', 'the first write in an opened database brings its scheduler back', 30);
ok(time < $opened + 40, 'the scheduler is back within 40 s after the database was opened');

# Commands of a role that does not own the database
my $pid = pid_in('app');
fails('DROP DATABASE app', 'stranger', qr/must be owner of database app/, "a stranger's DROP DATABASE fails");
fails('ALTER DATABASE app RENAME TO mine', 'stranger', qr/must be owner/, "a stranger's RENAME fails");
fails('CREATE DATABASE mine TEMPLATE app', 'stranger', qr/permission denied to copy/, "a stranger's copy fails");
fails('ALTER DATABASE app SET TABLESPACE pg_default', 'stranger', qr/must be owner/, "a stranger's move fails");
is(pid_in('app'), $pid, "a stranger's commands leave the scheduler running");

# CREATE DATABASE: a command that fails starts no scheduler, and one that succeeds starts one in the new database alone
sql('CREATE ROLE nobody LOGIN');
sql("CREATE DATABASE bystander");
my $bystander = oid_of('bystander');
my $offset = -s $node->logfile;
fails('CREATE DATABASE mine;' x 20, 'nobody', qr/permission denied to create database/, 'CREATE DATABASE is denied without CREATEDB');
in_database('postgres', 'CREATE DATABASE fresh');
my $fresh = oid_of('fresh');
ok(poll_until(sub { grep { $_ == $fresh } started($offset) }, 'a scheduler in the new database'), 'the launcher starts a scheduler in a new database, to look for queues');
is_deeply([ grep { $_ != $fresh } started($offset) ], [], 'denied CREATE DATABASEs start a scheduler in no other database');
in_database('postgres', 'DROP DATABASE fresh');

# A disabled database: its changed settings do not start a scheduler each time
sql('CREATE DATABASE off OWNER landlord');
with_queue('off');
in_database('off', 'SELECT ecto_job.disable()');
becomes_in($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'
	AND datname = 'off'", 0, 'a disabled database has no scheduler');
$offset = -s $node->logfile;
my $began = time;
in_database('off', "SELECT ecto_job.configure_queue('jobs', retry_timeout => '$_ s');\nSELECT pg_sleep(0.1)") for 1 .. 30;
my $off = oid_of('off');
my $starts = grep { $_ == $off } started($offset);
cmp_ok($starts, '<=', 4 + (time - $began) / 2, 'a disabled database is tried at most four times, then once in two seconds');
in_database('postgres', 'DROP DATABASE off');

# Commands of the owner, without FORCE
in_database('postgres', 'ALTER DATABASE app RENAME TO app2');
sweeps('app2', 'the scheduler is back after ALTER DATABASE RENAME');
isnt(pid_in('app2'), $pid, 'the scheduler of a renamed database is another process');
$offset = -s $node->logfile;
in_database('postgres', 'CREATE DATABASE copy TEMPLATE app2');
sweeps('app2', "the template's scheduler is back after CREATE DATABASE TEMPLATE");
in_database('app2', 'CREATE DATABASE twin TEMPLATE app2');
sweeps('app2', 'the scheduler is back after a session in the template itself has copied it');
in_database('postgres', 'DROP DATABASE twin');
in_database('postgres', 'BEGIN; ALTER DATABASE app2 RENAME TO app3; ROLLBACK');
sweeps('app2', 'the scheduler is back after RENAME in a transaction block and ROLLBACK');

# Many RENAMEs in one open transaction do not block a DROP DATABASE of another session
sql('CREATE DATABASE other OWNER landlord');
with_queue('other');
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $renamer = $node->background_psql('postgres', extra_params => [ '-U', 'landlord' ]);
$renamer->query_until(qr/begun/, q{\echo begun
	DO $$ BEGIN
		FOR i IN 1 .. 20 LOOP
			ALTER DATABASE app2 RENAME TO app3;
			ALTER DATABASE app3 RENAME TO app2;
		END LOOP;
		PERFORM pg_advisory_lock_shared(1);
	END $$;
});
becomes_in($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'", 1, 'forty RENAMEs work in one transaction');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler' AND datname = 'app2'"), 0,
	'no scheduler connects to a database that an open transaction has renamed');
in_database('postgres', 'DROP DATABASE other');
is(sql("SELECT count(*) FROM pg_database WHERE datname = 'other'"), 0, 'another database can be dropped while forty RENAMEs are not committed');
$gate->quit;
$renamer->quit;
sweeps('app2', 'the scheduler is back when the transaction of forty RENAMEs has ended');

my $place = $node->basedir . '/place';
mkdir $place;
sql("CREATE TABLESPACE place LOCATION '$place'; GRANT CREATE ON TABLESPACE place TO landlord");
in_database('postgres', 'ALTER DATABASE app2 SET TABLESPACE place');
sweeps('app2', 'the scheduler is back after ALTER DATABASE SET TABLESPACE');

# The copy that CREATE DATABASE TEMPLATE has made
ok(wait_for_log($node, qr/queues of database "copy" are not swept: it is a copy/, $offset), 'the log says that the queues of the copy are not swept');
is(sql($schedulers) =~ s/ quiet//r, 'app2 busy', 'the copy has no scheduler');
is( $node->safe_psql('copy', 'SELECT status FROM ecto_job.queues'),
	'no scheduler: a copied or restored database; SELECT ecto_job.enable() starts it', 'the view says that the database is a copy, and how to start the scheduler');
in_database('copy', "INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED');
	SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 s')");
fails('DROP DATABASE copy', 'stranger', qr/must be owner/, "a stranger's DROP DATABASE of the copy fails");
is($node->safe_psql('copy', "SELECT count(*) FROM jobs WHERE state = 'SCHEDULED'"), 1, 'a scheduled job of the copy stays SCHEDULED');
in_database('copy', 'SELECT ecto_job.enable()');
sweeps('copy', 'the copy is swept after enable()');
becomes_in($node, 'postgres', $schedulers =~ s/WHERE/WHERE datname <> 'quiet' AND/r, 'app2 busy copy', 'each database has its scheduler');

# A dump and its restore
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', $node->connstr('app2') ], 'pg_dump ends without an error');
sql('CREATE DATABASE restored OWNER landlord');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $node->basedir . '/dump' ], 'pg_restore ends without an error');
my $settings = 'SELECT * FROM ecto_job.queue_settings';
is($node->safe_psql('restored', $settings), $node->safe_psql('app2', $settings), 'the settings are restored');
in_database('restored', "SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 s')");
ok(wait_for_log($node, qr/queues of database "restored" are not swept/, $offset), 'the log says that the restored queues are not swept');
in_database('restored', 'SELECT ecto_job.enable()');
sweeps('restored', 'the restored database is swept after enable()');

# Another session is connected: the command fails after PostgreSQL's wait, and a scheduler is started again
my $session = $node->background_psql('restored');
fails('DROP DATABASE restored', 'landlord', qr/is being accessed by other users/, 'a session prevents DROP DATABASE');
sweeps('restored', 'the scheduler is back after a DROP DATABASE that failed');
$session->quit;
fails('BEGIN; DROP DATABASE restored', 'landlord', qr/cannot run inside a transaction block/,
	'DROP DATABASE fails in a transaction block');
sweeps('restored', 'the scheduler is back after DROP DATABASE in a transaction block');

# stop_scheduler() keeps schedulers out of the database until its transaction commits, whatever changes are reported
# meanwhile
$gate = $node->background_psql('restored');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $stopper = $node->background_psql('restored', extra_params => [ '-U', 'landlord' ]);
$stopper->query_until(qr/begun/, q{\echo begun
	SELECT ecto_job.stop_scheduler(), pg_advisory_lock_shared(1);
});
becomes_in($node, 'restored', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'", 1, 'stop_scheduler() returns while its transaction is open');
in_database('restored', "SELECT ecto_job.configure_queue('jobs', retry_timeout => '1 s')");
two_pauses();
is(pid_in('restored'), '', 'no scheduler comes back before stop_scheduler() commits');
$gate->query_safe('SELECT pg_advisory_unlock_all()');
$stopper->quit;
is(in_database('restored', 'SELECT status FROM ecto_job.queues'), 'disabled', 'the database is disabled after stop_scheduler()');
in_database('restored', 'SELECT ecto_job.enable()');
sweeps('restored', 'the stopped database is swept again after enable()');
(undef, undef, my $error) = $node->psql('restored', 'SELECT ecto_job.stop_scheduler(), lo_get(0)');
like($error, qr/large object 0 does not exist/, 'a statement that calls stop_scheduler() fails by its other call');
sweeps('restored', 'the scheduler comes back after a stop_scheduler() that was rolled back');
$gate->quit;

# ALTER DATABASE SET does not change the settings of the scheduler
sql(q{ALTER DATABASE restored SET default_transaction_read_only = on;
	ALTER DATABASE restored SET search_path = nowhere;
	ALTER DATABASE restored SET default_transaction_isolation = 'serializable'});
$pid = pid_in('restored');
sql("SELECT pg_terminate_backend($pid)");
my $id = in_database('restored', "SET default_transaction_read_only = off; SET search_path = public;
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED') RETURNING id");
becomes_in($node, 'restored', "SELECT count(*) FROM public.jobs WHERE state = 'SCHEDULED'", 0,
	'ALTER DATABASE SET does not disturb the scheduler');

# Commands in the middle of a sweep that takes long
sql('CREATE DATABASE slow OWNER landlord');
with_queue('slow');
in_database('slow', q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
	CREATE TRIGGER a_slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION slow();
	INSERT INTO jobs (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')});
becomes_in($node, 'postgres', "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'ecto_job scheduler'
	AND datname = 'slow'", 'PgSleep', 'a sweep hangs');
in_database('postgres', 'DROP DATABASE slow');
is(sql("SELECT count(*) FROM pg_database WHERE datname = 'slow'"), 0, 'DROP DATABASE does not wait for a long sweep');

in_database('postgres', "DROP DATABASE $_") for qw(restored copy app2);
is(sql("SELECT count(*) FROM pg_database WHERE datname IN ('restored', 'copy', 'app2')"), 0,
	'DROP DATABASE works without FORCE');
is(sql($schedulers) =~ s/ ?quiet//r, 'busy', 'no scheduler is left in a dropped database');

# A database that was opened to connections again, and in which nothing is written
becomes_in($node, 'quiet', 'SELECT status FROM ecto_job.queues', 'ok',
	'a database that was opened has its scheduler back within a minute');
# Database quiet again: now no other command makes the launcher read the list of databases
close_database('quiet');
sql('ALTER DATABASE quiet ALLOW_CONNECTIONS true');
becomes_in($node, 'quiet', 'SELECT status FROM ecto_job.queues', 'ok', 'a database that is opened without a write has its scheduler back, too', 90);
in_database('postgres', "DROP DATABASE $_") for qw(quiet busy);
sql('DROP DATABASE bystander');

# DROP DATABASE WITH (FORCE) ends the scheduler, and the launcher does not try to start another
sql('CREATE DATABASE app OWNER landlord');
with_queue('app');
$offset = -s $node->logfile;
in_database('postgres', 'DROP DATABASE app WITH (FORCE)');
two_pauses();
unlike(slurp_file($node->logfile, $offset), qr/does not exist/, 'the launcher starts no scheduler in a dropped database');

sql('CREATE DATABASE app OWNER landlord');
with_queue('app');

$node->stop;

# Few worker slots: one is the launcher's, one logical replication's
$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$offset = -s $node->logfile;
$node->start;
becomes_in($node, 'postgres', $schedulers, 'app', 'the only free worker slot is used by one scheduler');
sql('CREATE DATABASE second OWNER landlord');
$node->safe_psql('second', 'CREATE EXTENSION ecto_job; GRANT CREATE ON SCHEMA public TO landlord');
in_database('second', "SELECT ecto_job.create_queue('jobs')");
$offset = wait_for_log($node, qr/no background worker is free.*\n.*HINT:.*max_worker_processes/, $offset);
ok($offset, 'the log says that no worker slot is free for another database');
becomes_in($node, 'second', 'SELECT status FROM ecto_job.queues',
	'no scheduler: no background worker is free; raise max_worker_processes', 'the view says that no background worker is free');
is(sql($schedulers), 'app', 'the first database keeps its scheduler');
two_pauses();
unlike(slurp_file($node->logfile, $offset), qr/no background worker is free/, 'the missing worker slot is logged once');
in_database('postgres', 'DROP DATABASE app');
becomes_in($node, 'postgres', $schedulers, 'second', 'the other database gets the slot that becomes free');

$node->stop;
done_testing();
