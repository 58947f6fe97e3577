# A server that is too old is refused: by the compiler, which reads the version in its headers, and by the library,
# which reads the server's setting server_version_num.
#
# Seen to fail with test/mutants/old_server_runs.patch, old_headers_compile.patch and old_minors_run.patch.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

sub ask { my ($option) = @_; chomp(my $answer = `pg_config $option`); return $answer; }

# output($command, $input): returns what the command prints on standard output and standard error
sub output
{
	my ($command, $input) = @_;
	IPC::Run::run($command, '<', \($input // ''), '>&', \my $output);
	return $output;
}

# A copy of the installed headers, for compile() to write another version number into
my $headers = PostgreSQL::Test::Utils::tempdir;
system_or_bail('cp', '-rs', ask('--includedir-server') . '/.', $headers);
my $config = slurp_file("$headers/pg_config.h");

sub compile
{
	my ($number) = @_;
	unlink "$headers/pg_config.h";
	append_to_file("$headers/pg_config.h", $config =~ s/(?<=#define PG_VERSION_NUM )\d+/$number/r);
	return output([ 'g++', '-std=c++20', '-fsyntax-only', '-w', "-I$headers", '-I' . source_dir() . '/src',
		'-DECTO_JOB_VERSION=""', '-DPGDLLEXPORT=', source_dir() . '/src/module.cpp' ]);
}
my $sentence = qr/ecto_job needs PostgreSQL 15\.9, 16\.5, 17\.1 or later/;
# Headers of a later major version lack what the sources use with 15; these compile under their own number
my ($installed) = $config =~ /#define PG_VERSION_NUM (\d+)/;
my $accepted = $installed < 160000 ? 150009 : $installed;
is(compile($accepted), '', "the library compiles with the headers of $accepted");
like(compile($$_[0]), qr/error: .*$sentence.*: install the newest minor/,
	"compiling with the headers of $$_[1] fails, and the message says what to do")
  for [ 150008, '15.8' ], [ 160004, '16.4' ], [ 170000, '17.0' ];

# A server of another version is a copy of the program postgres, beside the original, in which the three numbers of
# the setting server_version_num (boot value, least and greatest value) are changed
my $node = new_node(extension => 0, preload => 0);
my $present = $node->safe_psql('postgres', 'SHOW server_version_num');
$node->stop;
my $bin = ask('--bindir');

sub load_in
{
	my ($number, @options) = @_;
	my $program = slurp_file("$bin/postgres");
	my ($from, $to) = map { pack('l3', ($_) x 3) } $present, $number;
	my $count = $program =~ s/\Q$from\E/$to/g;
	die "the number is $count times in $bin/postgres" unless $count == 1;
	append_to_file("$bin/postgres_$number", $program);
	chmod 0755, "$bin/postgres_$number";
	my $output = output([ "$bin/postgres_$number", '--single', '-D', $node->data_dir, @options, 'postgres' ],
		"SHOW server_version_num;\nLOAD 'ecto_job';\nSHOW ecto_job.enabled;\n");
	unlink "$bin/postgres_$number";
	return $output;
}

SKIP:
{
	skip "the directory of PostgreSQL's programs cannot be written to", 8 unless -w $bin;
	like(load_in(150009), qr/server_version_num = "150009".*ecto_job\.enabled = "on"/s, 'a server of 15.9 loads the library');
	like(load_in($$_[0]), qr/server_version_num = "$$_[0]".*ecto_job\.enabled = "on"/s, "a server of $$_[1] loads the library")
	  for [ 160005, '16.5' ], [ 170001, '17.1' ];
	like(load_in($$_[0]), qr/ERROR:  $sentence/, "a server of $$_[1] refuses LOAD") for [ 160004, '16.4' ], [ 170000, '17.0' ];
	my $loaded = load_in(150008);
	like($loaded, qr/ERROR:  $sentence, and this server is .*HINT:  Update the server/s,
		'a server of 15.8 refuses LOAD, and the error says what to do');
	unlike($loaded, qr/ecto_job\.enabled = /, 'a server of 15.8 has no setting of the library after the refused LOAD');
	like(load_in(150008, '-c', 'shared_preload_libraries=ecto_job'),
		qr/FATAL:  $sentence.*HINT:  .*To start it as it is, take ecto_job out of "shared_preload_libraries"/s,
		'a server of 15.8 does not start with the library preloaded, and the error says what to do');
}

done_testing();
