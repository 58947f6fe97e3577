-- Read by every regression test: output without frames, times in UTC, and a way to show how a statement
-- ends, with its SQLSTATE. Errors are shown by outcome() where all their parts matter and many are told
-- apart; everything else is plain psql. Warnings keep their place, since both go to one file.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = notice;
SET search_path = public;
-- Where the server has a scheduler, it must not move these jobs meanwhile
\o /dev/null
SELECT ecto_job.disable();
\o
\pset format unaligned
\pset fieldsep ' | '
\pset null '(null)'
\pset footer off

-- 'ok, rows: N', or SQLSTATE and message, DETAIL and HINT; what the statement did is kept, if it is ok
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
    IF detail LIKE 'Failing row contains%' THEN -- with its times
        detail := '';
    END IF;
    RETURN concat_ws(E'\n    ', state || ': ' || message, 'DETAIL: ' || nullif(detail, ''),
                     'HINT: ' || nullif(hint, ''));
END
$$;
