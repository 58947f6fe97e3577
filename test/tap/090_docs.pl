# README.md and docs/ are true: every example runs, in the order of the text, in a fresh database for each file; the
# results that are shown are compared; every function and setting is described.
#
# ```sql   runs in psql, in a session of its own, and stops at the first error
# ```text  directly behind another block: the output of that block; "..." stands for anything in a line
# ```sh    runs in bash -e, in an empty directory, with PG* pointing at the database
# ```python, ```js
#          a consumer that runs without end: the test stops it when no job can be started. If the driver is not
#          installed only the syntax is checked; if the language is not, the block is skipped.
# A comment in the line before a block changes these rules:
# <!-- error: SQLSTATE -->        the block fails with this SQLSTATE
# <!-- until stopped -->          sh: a consumer that runs without end, like the programs above, and is stopped by SIGTERM
# <!-- not run: reason -->
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use File::Temp;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my @files = ('README.md', map { s{.*/docs/}{docs/}r } sort glob(source_dir() . '/docs/*.md'));
my $node = new_node(conf => "max_prepared_transactions = 5\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = getpwuid($<); # node-postgres does not read the user's name from the system
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

# Runs a consumer that never ends until no job is left to start, sends SIGTERM, and returns the exit status
sub run_consumer_until_idle
{
	my ($name, $database, @command) = @_;
	isnt($node->safe_psql($database, 'SELECT count(*) FROM jobs WHERE in_play'), '0', "$name: has a job to do");
	my $out = '';
	my $running = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>&1');
	my $idle = poll_until(
		sub {
			$running->pump_nb if $running->pumpable;
			return $node->safe_psql($database, 'SELECT count(*) FROM jobs WHERE in_play') eq '0';
		},
		"the work of $name");
	ok($idle, "$name: performs its jobs") or diag($out);
	$running->signal('TERM');
	$running->finish;
	return ($running->full_result || 0, $out);
}

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
		skip "$name: no $how->{run}[0] here", 1 unless succeeds(@{ $how->{run} }, '--version');
		if (succeeds(@{ $how->{driver} }))
		{
			run_consumer_until_idle($name, $database, @{ $how->{run} }, "$file");
		}
		else
		{
			ok(succeeds(@{ $how->{syntax} }, "$file"), "$name: the syntax is right (the driver is not on this machine)");
		}
	}
	return;
}

my $databases = 0;
for my $file (@files)
{
	my $database = 'docs' . ++$databases;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$ENV{PGDATABASE} = $database;
	my $text = slurp_source($file);
	$node->safe_psql($database, 'CREATE EXTENSION ecto_job') unless $text =~ /^CREATE EXTENSION ecto_job;/m;
	for my $block (blocks($text))
	{
		my $name = "$file, line $block->{line}";
		my $language = $block->{language};
		if ($block->{comment} =~ /^not run: (.+)/) { note("$name: not run, $1"); }
		elsif ($language eq 'sql') { run_sql($name, $block); }
		elsif ($language eq 'sh' && $block->{comment} eq 'until stopped')
		{
			my ($status, $out) =
			  run_consumer_until_idle($name, $database, 'bash', '-ec', "exec $block->{body}");
			is($status, 0, "$name: the consumer exits with 0 after SIGTERM") or diag($out);
		}
		elsif ($language eq 'sh') { run_sh($name, $block); }
		elsif ($program{$language}) { run_program($name, $block, $database); }
		elsif ($language ne '') { fail("$name: an unknown language, $language"); }
	}
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
