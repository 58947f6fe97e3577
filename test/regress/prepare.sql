-- Every regression test includes this file: output without frames, times in UTC, and the function outcome(), which
-- shows the result of a statement with its SQLSTATE. Tests use outcome() where all parts of an error matter, and plain
-- psql elsewhere. Warnings keep their place, since standard output and standard error are one file.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = notice;
SET search_path = public;
-- A scheduler, if the server has one, must not move the jobs of the tests
\o /dev/null
SELECT ecto_job.disable();
\o
\pset format unaligned
\pset fieldsep ' | '
\pset null '(null)'
\pset footer off

-- Returns 'ok, rows: N', or SQLSTATE, message, DETAIL and HINT; the effects of a statement that succeeds are kept
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN 'ok, rows: ' || rows;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT;
    IF detail LIKE 'Failing row contains%' THEN -- the row's times differ from run to run
        detail := '';
    END IF;
    -- PostgreSQL's versions name the tests' database in different ways
    message := replace(message, 'database "' || current_database() || '"', 'database "contrib_regression"');
    RETURN concat_ws(E'\n    ', state || ': ' || message, 'DETAIL: ' || nullif(detail, ''),
                     'HINT: ' || nullif(hint, ''));
END
$$;
