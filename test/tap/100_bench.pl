# The benchmark runs to its end, with every measure and every side, at a small size. Times are not checked.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $client = source_dir() . '/build/bench/bench_client';
plan skip_all => 'make build/bench/bench_client has not been run' unless -x $client;

my $results = "$PostgreSQL::Test::Utils::tmp_check/bench.json";
my ($out, $err);
local $ENV{PYTHONDONTWRITEBYTECODE} = 1;

# runs('name', @arguments): passes when the benchmark exits with 0; returns its results
sub runs
{
	my ($name, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ran = IPC::Run::run(
		[ '/usr/bin/python3', source_dir() . '/test/bench/main.py', '--quick', '--client', $client, '--output', $results, @arguments ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($ran, "$name exits with 0") or diag("$out\n$err");
	return decode_json(slurp_file($results));
}

my $programs = `pg_config --bindir`;
chomp $programs;
my %costs;
$costs{ $_->{side} }{"$_->{case}, $_->{unit}"} = $_->{median} for @{ runs('a comparison of this version with itself', '--against', $programs)->{records} };
is_deeply([ sort keys %costs ], [ 'before', 'now' ], 'both versions are measured');
is_deeply([ sort keys %{ $costs{before} } ], [ sort keys %{ $costs{now} } ], 'both versions have each figure');
cmp_ok($costs{before}{'drain, batches of 100, bytes of WAL a job'}, '>', 100, 'the WAL of the other version is counted');

my $found = runs('the benchmark');
my %sides;
$sides{ $_->{measure} }{ $_->{side} } = 1 for @{ $found->{records} };
foreach my $measure ('enqueue', 'drain, batches of 100', 'drain, a commit a job', 'steps of a batch', 'latency', 'lateness',
	'claim under an old snapshot', 'storage', 'ten minutes')
{
	my @names = sort keys %{ $sides{$measure} };
	ok((grep { /ecto_job|libpq|functions/ } @names) && (grep { /handwritten/ } @names), "$measure: ecto_job and a handwritten queue are measured")
	  or diag("@names");
}
ok($sides{idle}, 'the cost of an idle queue is measured');
ok((grep { $_->{median} > 0 } @{ $found->{records} }) > 100, 'more than 100 records have a median above 0');
like($out, qr/^\| bound \|/m, 'the report has the bounds');
like($out, qr/^### Worse than a peer/m, 'the report says what is worse than a peer');

done_testing();
