-- Every object of the extension has a comment, and every function runs with its caller's rights and search_path.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
WITH member AS (
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ecto_job')
), object AS (
    SELECT classid, objid, 0 AS objsubid FROM member
    UNION ALL
    SELECT classid, objid, attnum FROM member JOIN pg_attribute ON attrelid = objid
    WHERE classid = 'pg_class'::regclass AND attnum > 0
      AND objid <> 'ecto_job.queues'::regclass
    UNION ALL
    SELECT 'pg_trigger'::regclass, t.oid, 0 FROM member JOIN pg_trigger AS t ON tgrelid = objid
    WHERE classid = 'pg_class'::regclass AND NOT tgisinternal
)
SELECT pg_describe_object(classid, objid, objsubid) AS without_comment FROM object AS o
WHERE NOT EXISTS (SELECT FROM pg_description AS d
                  WHERE (d.classoid, d.objoid, d.objsubid) = (o.classid, o.objid, o.objsubid) AND d.description <> '')
  -- the types of tables and their arrays have no comments
  AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
           WHERE t.oid = objid AND (t.typelem <> 0 OR c.relkind IN ('r', 'v'))))
ORDER BY 1;

SELECT oid::regprocedure AS function, prosecdef, proconfig FROM pg_proc
WHERE pronamespace = 'ecto_job'::regnamespace AND (prosecdef OR proconfig IS NOT NULL);
SELECT count(DISTINCT proname) = count(*) AS no_overloads FROM pg_proc WHERE pronamespace = 'ecto_job'::regnamespace;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'ecto_job.job'::regclass ORDER BY attnum;
SELECT oid::regprocedure::text AS function, pg_get_function_arguments(oid) AS arguments, pg_get_function_result(oid) AS result
FROM pg_proc WHERE pronamespace = 'ecto_job'::regnamespace ORDER BY oid::regprocedure::text COLLATE "C";
