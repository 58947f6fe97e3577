# A test that mounts or that cuts the network does so in a namespace of its own, which needs no root: it executes
# itself again in one. Before all else, since the library takes standard output for itself:
#
#   use NamespaceTest '--net', 'ip link set lo up';
#   plan skip_all => 'NOT TESTED: ...' unless NamespaceTest::here();
#
# The command is tried first; where it fails, the test goes on outside and is to be skipped.
package NamespaceTest;

use strict;
use warnings;

sub here { return $ENV{ECTO_JOB_NAMESPACE}; }

sub import
{
	my (undef, $kind, $command) = @_;
	my @namespace = ('unshare', '--user', $kind, '--map-current-user', '--keep-caps');
	return if defined $ENV{ECTO_JOB_NAMESPACE};
	$ENV{ECTO_JOB_NAMESPACE} = system(@namespace, 'sh', '-c', $command) == 0 ? 1 : 0;
	exec(@namespace, $^X, (map { "-I$_" } @INC), $0) or die "exec: $!" if $ENV{ECTO_JOB_NAMESPACE};
	return;
}

1;
