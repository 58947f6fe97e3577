# README.md and docs/ are true: every example runs, in the order of the text, in a fresh database for each file; the
# results that are shown are compared; every function and setting is described.
#
# ```sql   runs in psql, in a session of its own, and stops at the first error
# ```text  directly behind another block: the output of that block; "..." stands for anything in a line
# ```sh    runs in bash -e, in an empty directory, with PG* pointing at the database
# ```python, ```js, ```php, ```java, ```elixir
#          a consumer that runs without end: the test stops it when no job can be started. One that calls wait must
#          sleep then, be woken by a further job, perform it and sleep again; one that calls fail_job must report a
#          job that fails. If the driver is not installed only the syntax is checked; if the language is not, the
#          block is skipped. With ECTO_JOB_ALL_CLIENTS=1 in the environment both are failures, except for Java.
# A comment in the line before a block changes these rules:
# <!-- error: SQLSTATE -->        the block fails with this SQLSTATE
# <!-- until stopped -->          sh: a consumer that runs without end, like the programs above, and is stopped by SIGTERM
# <!-- needs: EXTENSION -->       the block is skipped where the extension is not installed
# <!-- not run: reason -->
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest qw(:DEFAULT becomes_in);
use File::Temp;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use WaitTest qw($sleeping);

my @files = ('README.md', map { s{.*/docs/}{docs/}r } sort glob(source_dir() . '/docs/*.md'));
my $cron = -e `pg_config --sharedir` =~ s/\n//r . '/extension/pg_cron.control';
my $cron_database = 'docs' . (1 + (grep { $files[$_] eq 'docs/recipes.md' } 0 .. $#files)[0]);
my $all_clients = $ENV{ECTO_JOB_ALL_CLIENTS}; # an example that cannot run is a failure
my $node = new_node(start => 0, conf => "max_prepared_transactions = 5\nmax_worker_processes = 24\nlisten_addresses = '127.0.0.1'\n");
$node->append_conf('postgresql.conf', <<"CONF") if $cron;
shared_preload_libraries = 'ecto_job, pg_cron'
cron.database_name = '$cron_database'
cron.use_background_workers = on
CONF
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = getpwuid($<); # node-postgres does not read the user's name from the system

# JDBC and Erlang's driver use TCP alone, where everybody on this machine can connect
open my $random, '<', '/dev/urandom' or die $!;
read $random, my $password, 16;
$password = unpack 'H*', $password;
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', "local all all trust\nhost all all 127.0.0.1/32 password\n");
$node->start;
$node->safe_psql('postgres', "ALTER ROLE \"$ENV{PGUSER}\" PASSWORD '$password'; CREATE EXTENSION ecto_job");
$ENV{NODE_PATH} = source_dir() . "/build/node/node_modules"; # where tools/check installs it by npm
delete $ENV{PGAPPNAME}; # the harness's name would replace the programs' own

# Returns the blocks of a file: language, text, line, the comment before the block, expected result
sub blocks
{
	my ($text) = @_;
	my @lines = split /\n/, $text;
	my (@blocks, $comment, $behind);
	for (my $i = 0; $i < @lines; $i++)
	{
		if ($lines[$i] =~ /^(\s*)```(\w*)$/)
		{
			my ($indent, $language, $first) = ($1, $2, $i + 1);
			$i++ while $i + 1 < @lines && $lines[ $i + 1 ] !~ /^\s*```$/;
			my $body = join('', map { s/^$indent//r . "\n" } @lines[ $first .. $i ]);
			$i++;
			if ($language eq 'text')
			{
				$blocks[-1]{result} = $body if $behind;
				$behind = 0;
				next;
			}
			push @blocks,
			  { language => $language, body => $body, line => $first, comment => $comment // '' };
			($comment, $behind) = (undef, 1);
		}
		elsif ($lines[$i] =~ /^\s*<!-- (.*) -->$/) { $comment = $1; }
		elsif ($lines[$i] =~ /\S/) { ($comment, $behind) = (undef, 0); }
	}
	return @blocks;
}

sub trimmed { return join("\n", grep { /\S/ } map { s/\s+$//r } split /\n/, shift); }

# Passes when the output is the expected one, where "..." stands for anything
sub shows
{
	my ($got, $expected, $name) = @_;
	my $pattern = join('.*', map { quotemeta } split /\.\.\./, trimmed($expected), -1);
	return like(trimmed($got), qr/^$pattern$/, "$name: the result is the shown one");
}

sub run_sql
{
	my ($name, $block) = @_;
	my ($state) = $block->{comment} =~ /^error: (\w{5})$/;
	my ($out, $all);
	my $ran = IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=' . ($state ? 'verbose' : 'default') ],
		'<', \$block->{body}, '>', \$out, '2>&1');
	if ($state)
	{
		ok(!$ran && $out =~ s/^ERROR:  $state: /ERROR:  /m, "$name: fails with $state") or diag($out);
		$out =~ s/^LOCATION: .*\n//mg;
	}
	else
	{
		ok($ran && $out !~ /^ERROR:/m, "$name: runs") or diag($out);
	}
	# psql prints a notification when it arrives, which may be in any of the blocks after LISTEN
	$out =~ s/^Asynchronous notification .*\n//mg unless ($block->{result} // '') =~ /^Asynchronous notification/m;
	shows($out, $block->{result}, $name) if defined $block->{result};
	return;
}

sub run_sh
{
	my ($name, $block) = @_;
	my ($out, $directory) = ('', File::Temp->newdir);
	my $ran = IPC::Run::run([ 'bash', '-e' ], '<', \$block->{body}, '>', \$out, '2>&1',
		init => sub { chdir $directory });
	ok($ran, "$name: runs") or diag($out);
	shows($out, $block->{result}, $name) if defined $block->{result};
	return;
}

my $asleep = "$sleeping AND datname = current_database()";
my $sleepers = "SELECT count(*) FROM pg_stat_activity WHERE $asleep";

# Runs a consumer that never ends until no job is left to start, sends SIGTERM, and returns the exit status and the output
sub run_consumer_until_idle
{
	my ($name, $database, $text, @command) = @_;
	isnt($node->safe_psql($database, 'SELECT count(*) FROM jobs WHERE in_play'), '0', "$name: has a job to do");
	# No session that waits searches by itself: only a wake-up brings it a job
	my $interval = $node->safe_psql($database, q{SELECT poll_interval FROM ecto_job.queues WHERE queue = 'jobs'::regclass});
	$node->safe_psql($database, q{SELECT ecto_job.configure_queue('jobs', poll_interval => '1 day')});
	my ($out, $err) = ('', '');
	my $running = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$err);
	my $becomes = sub {
		my ($query, $expected, $test) = @_;
		my $reached = poll_until(
			sub {
				$running->pump_nb if $running->pumpable;
				return $node->safe_psql($database, $query) eq $expected;
			},
			"$name: $test");
		return ok($reached, "$name: $test") || diag("$out$err");
	};
	$becomes->('SELECT count(*) FROM jobs WHERE in_play', 0, 'performs its jobs');
	if ($text =~ /CALL ecto_job\.wait/)
	{
		$becomes->($sleepers, 1, 'waits');
		$node->safe_psql($database, q{SELECT ecto_job.enqueue('jobs', '{"name": "Late", "n": 0}')});
		$becomes->('SELECT count(*) FROM jobs WHERE in_play', 0, 'performs a job for which it has waited');
		$becomes->($sleepers, 1, 'waits again');
		is($err, '', "$name: writes no error");
		if ($text =~ /fail_job/)
		{
			$node->safe_psql($database, q{ALTER TABLE greetings ADD CONSTRAINT refused CHECK (text NOT LIKE '%Mallory') NOT VALID;
				SELECT ecto_job.enqueue('jobs', '{"name": "Mallory"}')});
			$becomes->(q{SELECT string_agg(state || ' ' || attempt || ' ' || substring(error FROM 'constraint .refused'), ',') FROM jobs WHERE state <> 'FAILED'},
				'RETRY 1 constraint "refused', 'reports the error of a job that fails');
			$becomes->($sleepers, 1, 'waits after a failure');
			$node->safe_psql($database, q{ALTER TABLE greetings DROP CONSTRAINT refused; DELETE FROM jobs WHERE params ->> 'name' = 'Mallory'});
		}
		ok($running->pumpable, "$name: still runs") or diag("$out$err");
	}
	$running->signal('TERM');
	$running->finish;
	# A session whose client is gone sleeps on
	$node->safe_psql($database, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE $asleep");
	$node->safe_psql($database, "SELECT ecto_job.configure_queue('jobs', poll_interval => '$interval')");
	return ($running->full_result || 0, "$out$err");
}

# Debian has no Postgrex: where it is not installed either, postgrex.exs stands in for it
my $elixir = 'Application.ensure_all_started(:postgrex); '
  . qq{Code.ensure_loaded?(Postgrex) or Code.require_file("$FindBin::RealBin/postgrex.exs"); }
  . 'Code.require_file(hd(System.argv()))';
my $jdbc = '/usr/share/java/postgresql.jar';

my %program = (
	python => {
		suffix => '.py', run => ['python3'],
		driver => [ 'python3', '-c', 'import psycopg' ],
		syntax => [ 'python3', '-m', 'py_compile' ],
	},
	js => {
		suffix => '.js', run => ['node'],
		driver => [ 'node', '-e', 'require("pg")' ],
		syntax => [ 'node', '--check' ],
	},
	php => {
		suffix => '.php', run => ['php'],
		driver => [ 'php', '-r', 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);' ],
		syntax => [ 'php', '-l' ],
	},
	java => {
		language => 'javac', suffix => '.java', run => [ 'java', '-cp', $jdbc ],
		driver => [ 'test', '-e', $jdbc ],
		syntax => [ 'javac', '-d', PostgreSQL::Test::Utils::tempdir() ],
	},
	elixir => {
		suffix => '.exs', run => [ 'elixir', '-e', $elixir ],
		driver => [ 'elixir', '-e', 'Enum.any?([Postgrex, :pgsql], &Code.ensure_loaded?/1) or exit(:none)' ],
		syntax => [ 'elixir', '-e', 'System.argv() |> hd() |> File.read!() |> Code.string_to_quoted!()' ],
	});

# Returns whether a command succeeds; IPC::Run dies if the program is not installed
sub succeeds { return eval { IPC::Run::run(\@_, '<', \undef, '>', \my $out, '2>', \my $err) }; }

sub run_program
{
	my ($name, $block, $database) = @_;
	my $how = $program{ $block->{language} };
	my $file = File::Temp->new(SUFFIX => $how->{suffix});
	print $file $block->{body};
	close $file;
  SKIP:
	{
		my $language = $how->{language} // $how->{run}[0];
		my $installed = succeeds($language, '--version');
		fail("$name: no $language here") if !$installed && $all_clients && $language ne 'javac';
		skip "$name: no $language here", 1 unless $installed;
		local $ENV{PGPASSWORD} = $password;
		local $ENV{JDBC_URL} = "jdbc:postgresql://127.0.0.1:$ENV{PGPORT}/$database?user=$ENV{PGUSER}&password=$password";
		if (succeeds(@{ $how->{driver} }))
		{
			run_consumer_until_idle($name, $database, $block->{body}, @{ $how->{run} }, "$file");
		}
		elsif ($all_clients) { fail("$name: the driver is not on this machine"); }
		else
		{
			ok(succeeds(@{ $how->{syntax} }, "$file"), "$name: the syntax is right (the driver is not on this machine)");
		}
	}
	return;
}

$node->safe_psql('postgres', "CREATE DATABASE docs$_") for 1 .. @files; # pg_cron waits for one of them
my $databases = 0;
for my $file (@files)
{
	my $database = 'docs' . ++$databases;
	$ENV{PGDATABASE} = $database;
	my $text = slurp_source($file);
	$node->safe_psql($database, 'CREATE EXTENSION ecto_job') unless $text =~ /^CREATE EXTENSION ecto_job;/m;
	for my $block (blocks($text))
	{
		my $name = "$file, line $block->{line}";
		my $language = $block->{language};
		if ($block->{comment} =~ /^not run: (.+)/) { note("$name: not run, $1"); }
		elsif ($block->{comment} eq 'needs: pg_cron' && !$cron) { note("$name: not run, no pg_cron here"); }
		elsif ($language eq 'sql') { run_sql($name, $block); }
		elsif ($language eq 'sh' && $block->{comment} eq 'until stopped')
		{
			my ($status, $out) =
			  run_consumer_until_idle($name, $database, $block->{body}, 'bash', '-ec', "exec $block->{body}");
			my $expected = $block->{body} =~ /^psql/ ? 15 : 0;
			is($status, $expected, "$name: the consumer ends with status $expected at SIGTERM") or diag($out);
		}
		elsif ($language eq 'sh') { run_sh($name, $block); }
		elsif ($program{$language}) { run_program($name, $block, $database); }
		elsif ($language ne '') { fail("$name: an unknown language, $language"); }
	}
}

# The server's start stands for the time of day at which the recipe's command is due
SKIP:
{
	skip 'no pg_cron here', 3 unless $cron;
	$node->safe_psql($cron_database, q{SELECT cron.alter_job(jobid, schedule => '@reboot') FROM cron.job});
	for my $times (1, 2)
	{
		$node->restart;
		becomes_in($node, $cron_database, q{SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'}, $times,
			"pg_cron runs the command of docs/recipes.md, $times of 2");
	}
	is($node->safe_psql($cron_database, "SELECT string_agg(params::text, ' ') FROM jobs"), '{"report": "sales"}',
		'one job waits after two runs of the command by pg_cron');
}

# Links lead to existing files, and to existing headings
sub anchor { return lc(shift) =~ s/[^\w\- ]//gr =~ s/ /-/gr; }
for my $file (@files)
{
	my $text = slurp_source($file);
	my ($directory) = $file =~ m{^(.*/)?};
	for my $link ($text =~ /\]\(([^)\s]+)\)/g)
	{
		next if $link =~ m{^https?://};
		my ($path, $anchor) = split /#/, $link, 2;
		my $target = $path eq '' ? $file : ($directory // '') . $path;
		1 while $target =~ s{[^/]+/\.\./}{};
		my $exists = -e source_dir() . "/$target";
		$exists &&= grep { anchor($_) eq $anchor } slurp_source($target) =~ /^#+ (.*)$/mg
		  if defined $anchor;
		ok($exists, "$file: the link to $link has a target");
	}
}

# The reference has the signature of every function and procedure, as in the catalog
my $reference = slurp_source('docs/reference.md');
(my $one_line = $reference) =~ s/\s+/ /g;
my $functions = $node->safe_psql('postgres', q{
	SELECT proname || '(' || pg_get_function_arguments(oid) || ')' || COALESCE(' RETURNS ' || pg_get_function_result(oid), '')
	FROM pg_proc WHERE pronamespace = 'ecto_job'::regnamespace ORDER BY 1});
for my $signature (split /\n/, $functions)
{
	my ($name) = $signature =~ /^(\w+)/;
	$signature =~ s/timestamp with time zone/timestamptz/g;
	$signature =~ s/::\w+//g;
	$signature =~ s/\bIN //g; # of a procedure
	$signature =~ s/ RETURNS record$//; # the OUT arguments stand for the result
	like($one_line, qr/\Q$signature\E/, "docs/reference.md has $name as it is");
}
for my $name ($reference =~ /^### (\w+)$/mg)
{
	like($functions, qr/^$name\(/m, "function $name of docs/reference.md exists");
}
my $columns = $node->safe_psql('postgres', q{
	SELECT attname FROM pg_attribute WHERE attrelid IN ('ecto_job.job'::regclass, 'ecto_job.queues'::regclass)});
like($reference, qr/`$_`/, "docs/reference.md has column $_") for split /\n/, $columns;

# README and operations have every setting with its default; no file names a setting that does not exist
my $settings = $node->safe_psql('postgres', q{
	SELECT name || '=' || boot_val FROM pg_settings WHERE name LIKE 'ecto\_job.%' ORDER BY 1});
my %setting = map { split /=/, $_, 2 } split /\n/, $settings;
my %shown = (
	'ecto_job.sweep_timeout' => '10 s', 'ecto_job.safety_interval' => '10 min',
	'ecto_job.databases' => q{'*'}, 'ecto_job.max_queues' => '1,024');
for my $name (sort keys %setting)
{
	my $default = $shown{$name} // $setting{$name};
	like(slurp_source($_), qr/^\| `\Q$name\E` \|[^|]*\Q$default\E/m, "$_ has $name and its default")
	  for 'README.md', 'docs/operations.md';
}
for my $file (@files)
{
	my %named = map { $_ => 1 } slurp_source($file) =~ /\b(ecto_job\.\w+) = /g;
	ok(exists $setting{$_}, "$file: setting $_ exists") for sort keys %named;
}

my ($version) = slurp_source('ecto_job.control') =~ /^default_version = '(.*)'$/m;
like(slurp_source('CHANGELOG.md'), qr/^## \Q$version\E\b/m, 'CHANGELOG.md has this version');

$node->stop;
done_testing();
