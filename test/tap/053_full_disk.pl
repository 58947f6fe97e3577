# Full disks of the data and of the WAL: which errors occur, what still works, and that no acknowledged job is lost.
#
# The disks are small tmpfs file systems. To mount them the test runs in a mount namespace of its own, which needs no
# root; where the kernel forbids such namespaces, the test is skipped. Seen to fail with large disks.
#
# server log may hold: PANIC:  could not write to file "pg_wal/xlogtemp
# server log may hold: (server process|client backend) .* was terminated by signal 6: Aborted
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use NamespaceTest '--mount', 'mount -t tmpfs none /mnt';
use EctoJobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'NOT TESTED: a full disk. No file system can be mounted here (unshare --user --mount)' unless NamespaceTest::here();

my @mounted;
my $jobs_at_once = 500;

# Unmounts before PostgreSQL::Test removes the directories in its own END
END { local $?; system('umount', '-l', $_) for @mounted; }

# Mounts a file system of this size at a new directory, and returns the directory
sub small_disk
{
	my ($name, $size) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir() . "/$name";
	mkdir $directory or die $!;
	system_or_bail('mount', '-t', 'tmpfs', '-o', "size=$size,mode=0700", 'none', $directory);
	push @mounted, $directory;
	return $directory;
}

# Enqueues until an INSERT fails; returns the number of acknowledged jobs, and the error
sub fill
{
	my ($node) = @_;
	my $acknowledged = 0;
	my $text = "SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 50) AS n"; # cannot be compressed
	for (1 .. 200)
	{
		my ($status, undef, $error) = $node->psql('postgres', "\\set VERBOSITY verbose
			INSERT INTO jobs (params) SELECT jsonb_build_object('text', ($text)) FROM generate_series(1, $jobs_at_once)", on_error_stop => 1);
		return ($acknowledged, $error) if $status != 0;
		$acknowledged += $jobs_at_once;
	}
	return ($acknowledged, 'never full');
}

# The disk of the data
my $node = new_node();
sub sql { return $node->safe_psql('postgres', shift); }
my $place = small_disk('data', '6m');
sql("CREATE TABLESPACE small LOCATION '$place'");
sql(q{SELECT ecto_job.create_queue('other'); SET default_tablespace = small; SELECT ecto_job.create_queue('jobs')});
my ($acknowledged, $error) = fill($node);
like($error, qr/ERROR:  53100: could not extend file "pg_tblspc\/[^"]+": (?:No space left on device|wrote only \d+ of 8192 bytes at block \d+)
HINT:  Check free disk space\.$/m, 'a full disk is reported with 53100 and its HINT');
cmp_ok($acknowledged, '>', 0, 'some jobs are enqueued before the disk is full');
is(sql('SELECT count(*) FROM jobs'), $acknowledged, 'what was acknowledged is there, and nothing of what was refused');
sql("INSERT INTO other (params, schedule, state) VALUES ('{}', clock_timestamp(), 'SCHEDULED')");
ok(poll_until(sub { sql('SELECT state FROM other') eq 'AVAILABLE' }, 'a sweep'), 'a queue on another disk is swept');
my ($id, $lease) = split /\|/, sql(q{SELECT id, lease FROM ecto_job.start_available_jobs('jobs')});
is(sql("SELECT ecto_job.complete_job('jobs', $id, $lease)"), '', 'a job on the full disk can be started and completed');
is(sql('SELECT count(*) FROM jobs'), $acknowledged - 1, 'a job that was completed on the full disk is gone');
system_or_bail('mount', '-o', 'remount,size=12m', $place);
is(sql(q{SELECT count(ecto_job.enqueue('jobs', '{}')) FROM generate_series(1, 100)}), 100, 'jobs can be enqueued when the disk has room again');
$node->stop;

# The disk of the WAL, which fills up since wal_keep_size keeps all files
my $wal = small_disk('wal', '48m');
$node = PostgreSQL::Test::Cluster->new('wal');
$node->init(extra => ["--waldir=$wal"]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecto_job'\nwal_level = replica\nmax_wal_senders = 1
restart_after_crash = on\nwal_keep_size = 1GB\nmin_wal_size = 32MB\nmax_wal_size = 32MB\nlog_statement = none\n");
$node->start;
sql(q{CREATE EXTENSION ecto_job; SELECT ecto_job.create_queue('jobs')});
# The process that first needs the next WAL file finds the disk full: the session, or another process, whose crash ends
# the session. If both have begun a file, the recovery frees space, and the test fills the disk once more.
sub has_stopped { return !-e $node->data_dir . '/postmaster.pid'; }
$acknowledged = 0;
my @errors;
until (has_stopped() || @errors == 20)
{
	my ($enqueued, $refused) = fill($node);
	$acknowledged += $enqueued;
	push @errors, $refused;
	poll_until(sub { has_stopped() || $node->psql('postgres', '') == 0 }, 'its end, or its recovery');
}
like($errors[0], qr/PANIC:  53100: could not write to file "pg_wal\/xlogtemp\.\d+": No space left on device$|WARNING:  57P02: /m,
	'the session that meets a full WAL disk gets PANIC 53100, or 57P02');
like(slurp_file($node->logfile), qr/PANIC:  could not write to file "pg_wal\/xlogtemp\.\d+": No space left on device$/m, 'the log has the PANIC of the full WAL disk');
ok(has_stopped(), 'the server stops on a full WAL disk');
like(slurp_file($node->logfile), qr/FATAL:  could not write to file "pg_wal\/xlogtemp\.\d+": No space left on device\n.*LOG:  shutting down due to startup process failure$/ms,
	'the log says that the server cannot recover on a full WAL disk');
$node->stop('immediate', fail_ok => 1); # makes the test library forget the process id
system_or_bail('mount', '-o', 'remount,size=512m', $wal);
$node->start;
# A crash between a commit and its acknowledgement leaves one call's jobs more than were acknowledged
my $surplus = (sql('SELECT count(*) FROM jobs') - $acknowledged) / $jobs_at_once;
ok((grep { $surplus == $_ } 0 .. @errors), 'the restarted server has every acknowledged job, and no part of a refused INSERT');
sql("INSERT INTO jobs (params, schedule, state) VALUES ('{\"later\": 1}', clock_timestamp(), 'SCHEDULED')");
ok(poll_until(sub { sql("SELECT state FROM jobs WHERE params ? 'later'") eq 'AVAILABLE' }, 'a sweep'), 'the scheduler is back when the WAL disk has room again');
$node->stop;

done_testing();
