# The install script keeps PostgreSQL's rules for extensions ("Security Considerations for Extensions"): a superuser
# runs the script, so an attacker could choose what a name means that is resolved through the search_path.
#
# Seen to fail with `RETURNS text` instead of `pg_catalog.text`, with `=` instead of OPERATOR(pg_catalog.=),
# with now() unqualified in a default, with OR REPLACE, with a function made SECURITY DEFINER.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use EctoJobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my @scripts = map { s/.*\/src\//src\//r } glob(source_dir() . '/src/sql/*.sql'), glob(source_dir() . '/src/sql/*/*.sql');
my ($version) = slurp_source('ecto_job.control') =~ /^default_version = '(.*)'$/m;
@scripts = grep { !/ecto_job--\Q$version\E\.sql$/ } @scripts; # a copy that make has made
ok(scalar(grep { $_ eq 'src/sql/ecto_job.sql' } @scripts), 'the tree has an install script');

my $control = slurp_source('ecto_job.control');
like($control, qr/^relocatable = false$/m, 'the control file makes the extension not relocatable');
like($control, qr/^schema = pg_catalog$/m, 'the control file leaves the installer no choice of a schema');
like($control, qr/^superuser = true$/m, 'the control file lets only superusers install the extension');
like($control, qr/^trusted = false$/m, 'the control file does not declare the extension trusted');

# code_of($text): returns the script without its comments, string constants and bodies
sub code_of
{
	my ($text) = @_;
	$text =~ s/--[^\n]*//g;
	$text =~ s/^\\.*$//mg;
	$text =~ s/'(?:[^']|'')*'/''/g;
	return $text;
}

for my $script (@scripts)
{
	my $text = slurp_source($script);
	my $code = code_of($text);
	# An upgrade script may replace a view of the extension; PostgreSQL refuses to replace another role's view
	$code =~ s/\bCREATE\s+OR\s+REPLACE\s+VIEW\s+ecto_job\./CREATE VIEW ecto_job./gi if $script =~ m{/upgrade/};
	unlike($code, qr/\bOR\s+REPLACE\b/i, "$script has no OR REPLACE, which would take over what is there");
	unlike($code, qr/\bIF\s+NOT\s+EXISTS\b/i, "$script has no IF NOT EXISTS, which would keep what is there");
	unlike($code, qr/\bSECURITY\s+DEFINER\b/i, "$script has no function that runs with other rights than the caller's");
	unlike($text, qr/\@extschema/, "$script has no \@extschema\@, which a schema's name could break out of");
	# The IN of an event trigger's filter is not the operator
	unlike($code =~ s/\bWHEN TAG IN \(//r, qr/\b(?:CASE\s+(?!WHEN)\S|IN\s*\(|NOT\s+IN\b|LIKE\b|BETWEEN\b|IS\s+(?:NOT\s+)?DISTINCT\b)/i,
		"$script has no syntax that looks up an operator by itself");
	my @made = $code =~ /\bCREATE\s+(?:UNIQUE\s+)?(?:FUNCTION|PROCEDURE|TABLE|VIEW|TYPE|DOMAIN|SEQUENCE|AGGREGATE)\s+([^\s(]+)/gi;
	is_deeply([ grep { !/^ecto_job\./ } @made ], [], "$script makes everything in the schema ecto_job");
}

# The script runs with traps before pg_catalog in the search_path: a copy of each type, function and operator of
# PostgreSQL's that the script may name. An object that depends on a trap has resolved a name through the search_path.
my $node = new_node(extension => 0);
$node->safe_psql('postgres', q{
	CREATE SCHEMA trap;
	DO $$
	DECLARE one record;
	BEGIN
		FOR one IN SELECT t.typname, pg_catalog.format_type(t.oid, NULL) AS type FROM pg_catalog.pg_type t
			WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
		LOOP
			EXECUTE pg_catalog.format('CREATE DOMAIN trap.%I AS pg_catalog.%I', one.typname, one.typname);
		END LOOP;
		FOR one IN SELECT DISTINCT ON (o.oprname, o.oprleft, o.oprright) o.oprname, p.proname,
				pg_catalog.format_type(o.oprleft, NULL) AS l, pg_catalog.format_type(o.oprright, NULL) AS r,
				pg_catalog.format_type(o.oprresult, NULL) AS result
			FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
			WHERE o.oprleft <> 0 AND o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '||')
			  AND o.oprnamespace = 'pg_catalog'::regnamespace
			  AND o.oprleft::regtype::text !~ 'any|internal' AND o.oprright::regtype::text !~ 'any|internal'
		LOOP
			EXECUTE pg_catalog.format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = pg_catalog.%I)',
				one.oprname, one.l, one.r, one.proname);
		END LOOP;
		FOR one IN SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p
			WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.pronargs = 0
			  AND p.prorettype = 'timestamptz'::regtype
		LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION trap.%I() RETURNS timestamptz LANGUAGE sql AS ''SELECT NULL::timestamptz''',
				one.proname);
		END LOOP;
	END $$});

my $trapped = q{SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0), 'uses',
		pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
	FROM pg_catalog.pg_depend d
	WHERE d.deptype = 'n' AND pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) ~ ' trap\.'
	  AND pg_catalog.pg_describe_object(d.classid, d.objid, 0) ~ 'ecto_job\.'
	ORDER BY 1, 3};

sub run_with_traps
{
	my ($script) = @_;
	$script =~ s/^\\echo.*$//mg;
	$script =~ s/'MODULE_PATHNAME'/'\$libdir\/ecto_job'/g;
	# pg_extension_config_dump() is for members of an extension only
	$script =~ s/^SELECT pg_catalog\.pg_extension_config_dump.*?;$//msg;
	return $node->psql('postgres',
		"SET search_path = trap, pg_catalog; BEGIN; $script; SET search_path = ''; $trapped; ROLLBACK;", on_error_stop => 1);
}

my $script = slurp_source('src/sql/ecto_job.sql');
my ($status, $output, $error) = run_with_traps($script);
is($status, 0, 'the script runs with traps ahead of pg_catalog') or diag($error);
is($output =~ s/^\s+//r, '', 'the script resolves nothing through the search_path');

# The traps find a name that is not qualified
(undef, $output) = run_with_traps($script =~ s/RETURNS pg_catalog\.bool/RETURNS bool/r);
like($output, qr/function .*uses\|type trap\.bool/, 'the traps find an unqualified type');
(undef, $output, $error) = run_with_traps($script =~ s/c\.oid OPERATOR\(pg_catalog\.=\) s\.queue/c.oid = s.queue/r);
like($output, qr/uses\|operator trap\.=/, 'the traps find an unqualified operator') or diag($error);

$node->stop;
done_testing();
