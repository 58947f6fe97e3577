# The extension installs, has a comment on each of its objects, and leaves nothing behind when it is dropped.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use Test::More;

my $node = new_node(extension => 0);

# Returns one line for each object of the database, without the objects that a session makes for itself
my $objects = q{
	SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
	FROM (SELECT 'pg_class'::regclass AS classid, oid AS objid FROM pg_class
	      UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
	      UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type
	      UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_t'
	      UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger
	      UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger) d
	ORDER BY 1};
my $before = $node->safe_psql('postgres', $objects);

$node->safe_psql('postgres', 'CREATE EXTENSION ecto_job');
my ($version) = slurp_source('ecto_job.control') =~ /^default_version = '(.*)'$/m;
is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'ecto_job'"),
	$version, "the extension's version is that of the control file");

is( $node->safe_psql('postgres', q{
	SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'ecto_job' AND d.deptype = 'e'
	  AND NOT EXISTS (SELECT FROM pg_description c
	                  WHERE c.classoid = d.classid AND c.objoid = d.objid AND c.objsubid = 0)
	  -- Array and row types, which come with another object, are members since PostgreSQL 17
	  AND NOT EXISTS (SELECT FROM pg_depend i
	                  WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i')
	ORDER BY 1}),
	'', 'every object of the extension has a comment');

is( $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_namespace n JOIN pg_depend d ON d.objid = n.oid AND d.deptype = 'e'
		 WHERE n.nspname = 'ecto_job'"),
	'1', 'the schema ecto_job belongs to the extension');

$node->safe_psql('postgres', 'DROP EXTENSION ecto_job');
is($node->safe_psql('postgres', $objects), $before, 'DROP EXTENSION leaves nothing behind');

$node->safe_psql('postgres', 'CREATE EXTENSION ecto_job');
pass('the extension can be created again after DROP EXTENSION');

$node->stop;
done_testing();
