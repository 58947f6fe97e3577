# NamespaceTest runs a test that mounts, or that cuts the network, in a namespace of its own, which needs no root: the
# test executes itself again in one. The module comes before all others, since PostgreSQL's test library redirects
# standard output:
#
#   use NamespaceTest '--net', 'ip link set lo up';
#   plan skip_all => 'NOT TESTED: ...' unless NamespaceTest::here();
#
# The module first tries the command in a namespace. If that fails, the test runs outside of one, where here() is false
# and the test must skip.
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
