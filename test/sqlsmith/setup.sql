-- A database for SQLsmith: queues of each kind with jobs in each state, views that bring the arguments of functions
-- together, and what SQLsmith shall see of the catalog. A superuser runs this file in a new database; each role works in a
-- copy of it.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION ecto_job;

CREATE ROLE smith_owner LOGIN;    -- owns the database and all queues
CREATE ROLE smith_consumer LOGIN; -- owns nothing, and may work on all queues but one, and under a policy on another
SELECT format('ALTER DATABASE %I OWNER TO smith_owner', current_database()) \gexec
-- Nearly all of the random statements fail, or take too long: neither belongs into the server's log
ALTER ROLE smith_owner SET log_min_error_statement = panic;
ALTER ROLE smith_consumer SET log_min_error_statement = panic;
ALTER ROLE smith_owner SET client_min_messages = error;
ALTER ROLE smith_consumer SET client_min_messages = error;
ALTER ROLE smith_owner SET statement_timeout = '2s';
ALTER ROLE smith_consumer SET statement_timeout = '2s';

CREATE SCHEMA smith;        -- what SQLsmith uses
CREATE SCHEMA smith_hidden; -- what it does not see
GRANT USAGE ON SCHEMA smith, smith_hidden TO PUBLIC;
GRANT ALL ON SCHEMA public TO smith_owner;

------------------------------------------------------------------------------------------------------
-- Queues and jobs

-- Tables of one job each, in one of the states, with all that a function needs to know of the job
CREATE TABLE smith_hidden.places (place regclass, state text);
SELECT format('CREATE TABLE smith.%1$s (queue regclass, id bigint, lease bigint, attempt int, ids bigint[], leases bigint[]);
               ALTER TABLE smith.%1$s OWNER TO smith_owner; GRANT SELECT ON smith.%1$s TO PUBLIC;
               INSERT INTO smith_hidden.places VALUES (''smith.%1$s'', %2$L)', state || '_' || number, upper(state))
FROM (VALUES ('in_progress', 5), ('reserved', 2), ('failed', 2), ('available', 1)) AS v (state, count), generate_series(1, count) AS number
\gexec
GRANT SELECT ON smith_hidden.places TO PUBLIC;

-- Creates the queues that random statements have dropped or released, drops those that they have created, and fills all
-- of them anew. What a refill calls is not counted among the functions that random statements have called.
GRANT SET ON PARAMETER track_functions TO smith_owner;
CREATE FUNCTION smith_hidden.refill() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public
    SET track_functions = none AS $$
DECLARE
    names CONSTANT text[] := '{plain,binary_params,for_ectojob,adopted,keyed,with_policy,undisturbed}';
    name text;
    queue regclass;
    job ecto_job.job;
    place record;
BEGIN
    PERFORM ecto_job.drop_queue(s.queue) FROM ecto_job.queue_settings AS s
    WHERE s.queue::text <> ALL (names) AND pg_catalog.to_regclass(s.queue::text) IS NOT NULL;
    FOREACH name IN ARRAY names LOOP
        SELECT s.queue INTO queue FROM ecto_job.queue_settings AS s
        WHERE s.queue::text = name AND (s.kind = 'adopted') = (name = 'adopted');
        IF NOT FOUND THEN
            EXECUTE format('DROP TABLE IF EXISTS public.%I CASCADE', name);
            IF name = 'adopted' THEN
                CREATE TABLE adopted (
                    id bigserial PRIMARY KEY, state varchar(255) DEFAULT 'AVAILABLE' NOT NULL, expires timestamp,
                    schedule timestamp DEFAULT timezone('UTC', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
                    max_attempts integer DEFAULT 5 NOT NULL, params jsonb NOT NULL, notify varchar(255),
                    priority integer DEFAULT 0 NOT NULL,
                    inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL);
                queue := ecto_job.adopt_queue('adopted');
            ELSE
                queue := ecto_job.create_queue(
                    name, params_type => CASE name WHEN 'binary_params' THEN 'binary' ELSE 'map' END,
                    ectojob => name = 'for_ectojob');
            END IF;
            IF name = 'with_policy' THEN
                ALTER TABLE with_policy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                CREATE POLICY p ON with_policy USING (priority < 7);
            END IF;
            EXECUTE format('GRANT SELECT ON %s TO smith_consumer', queue);
            IF name <> 'adopted' THEN
                EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO smith_consumer', queue);
            END IF;
        END IF;
        PERFORM ecto_job.resume_queue(queue);
        PERFORM ecto_job.configure_queue(queue, '60 s', '60 s', '300 s', '30 s', 3,
                                         '{"backoff": null, "max_retry_delay": null, "retry_jitter": null, "failed_retention": null}');
        EXECUTE format('DELETE FROM %s', queue);
        FOR number IN 1..8 LOOP
            PERFORM ecto_job.enqueue(
                queue, params => CASE WHEN name <> 'binary_params' THEN jsonb_build_object('n', number) END,
                params_binary => CASE WHEN name = 'binary_params' THEN '\x00ff'::bytea END, notify => 'n' || number,
                key => CASE WHEN name IN ('keyed', 'undisturbed') AND number < 4 THEN 'k' || number END,
                on_conflict => CASE WHEN name IN ('keyed', 'undisturbed') AND number < 4 THEN 'replace' ELSE 'keep' END,
                max_attempts => CASE number WHEN 8 THEN 1 END, priority => - number,
                schedule => CASE WHEN number < 3 THEN now() + '1 hour' END);
        END LOOP;
        -- The first by priority is in its last attempt. RESERVED, IN_PROGRESS, RETRY and FAILED:
        PERFORM ecto_job.start_available_jobs(queue, 2);
        PERFORM ecto_job.reserve_available_jobs(queue, 1);
        FOR job IN SELECT * FROM ecto_job.start_available_jobs(queue, 2) LOOP
            PERFORM ecto_job.fail_job(queue, job.id, job.lease, 'an error', job.id % 2 = 0);
        END LOOP;
    END LOOP;
    FOR place IN SELECT p.place, p.state, CASE WHEN random() < 0.4 THEN 'undisturbed'
                                ELSE names[1 + floor(random() * cardinality(names))::int] END AS queue
                 FROM smith_hidden.places AS p LOOP
        EXECUTE format('DELETE FROM %1$s; INSERT INTO %1$s SELECT %2$L, id, lease, attempt, ARRAY[id], ARRAY[lease] FROM %2$I
                        WHERE state = %3$L ORDER BY random() LIMIT 1', place.place, place.queue, place.state);
    END LOOP;
END $$;
ALTER FUNCTION smith_hidden.refill() OWNER TO smith_owner;
SET ROLE smith_owner;
\o /dev/null
SELECT smith_hidden.refill();
\o
RESET ROLE;

------------------------------------------------------------------------------------------------------
-- Values, usual ones and hostile ones. SQLsmith itself makes no constants but NULL, booleans and small numbers: rewrite.awk
-- puts calls of these functions where it makes a NULL. All else it takes from columns of the tables of its query, so the
-- views have columns of every type that a function of ecto_job takes, with rows at random. Few rows: a statement calls
-- its functions for each, and the first error ends it.

-- Returns one of the values, at random
CREATE FUNCTION smith_hidden.one_of(VARIADIC text[]) RETURNS text LANGUAGE sql VOLATILE
    AS 'SELECT $1[1 + floor(random() * cardinality($1))::int]';

CREATE FUNCTION smith.some_int4() RETURNS int LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('0', '1', '1', '2', '3', '10', '-1', '2147483647', '-2147483648', NULL)::int $$;
CREATE FUNCTION smith.some_int8() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('0', '1', '1', '2', '3', '1000', '60000', '-1', '2147483648', '9223372036854775807',
                                     '-9223372036854775808', NULL)::bigint $$;
CREATE FUNCTION smith.some_text() RETURNS text LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('map', 'binary', 'replace', 'replace', 'error', 'linear', 'linear', 'constant', 'exponential', 'k1', 'q1',
                                     'public', '', E'a"b''c\\', 'ü', repeat('x', 300), repeat('long', 10000), NULL) $$;
CREATE FUNCTION smith.some_jsonb() RETURNS jsonb LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('{}', '{"n": 1}', '{"retry_jitter": 0.5, "backoff": "exponential"}', '{"failed_retention": "1 day"}',
                                     '{"max_retry_delay": "-1 s"}', '{"inserted_at": false}', '{"type": "naive_datetime"}', 'false', 'null',
                                     '[]', '"x"', '1e400', '{"backoff": {"a": [1]}}', NULL, NULL)::jsonb $$;
CREATE FUNCTION smith.some_bytea() RETURNS bytea LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('\x', '\x00', NULL, NULL, NULL)::bytea $$;
CREATE FUNCTION smith.some_interval() RETURNS interval LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('1 s', '1 s', '5 min', '1 hour', '0', '1 us', '-1 s', '1 month', '-1 month 31 days', '100000 years',
                                     '2147483647 days', '9223372036854775807 us', NULL)::interval $$;
CREATE FUNCTION smith.some_timestamptz() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('now', 'now', '2001-01-01', '2100-01-01', 'infinity', '-infinity', '294276-12-31 23:59:59.999999',
                                     '4713-01-01 BC', NULL)::timestamptz $$;
CREATE FUNCTION smith.some_float8() RETURNS float8 LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('0', '0', '0.1', '0.5', '1', '-1', '1e308', '1e-300', 'NaN', '-Infinity')::float8 $$;
CREATE FUNCTION smith.some__int8() RETURNS bigint[] LANGUAGE sql VOLATILE
    AS $$ SELECT smith_hidden.one_of('{}', '{1}', '{1,2}', '{NULL}', '{1,1}', '{{1,2},{3,4}}', '[2:3]={1,2}', NULL)::bigint[] $$;
-- A queue in most cases, often the undisturbed one; otherwise another relation, or none of this OID
CREATE FUNCTION smith.some_regclass() RETURNS regclass LANGUAGE sql VOLATILE
    AS $$ SELECT CASE WHEN random() < 0.4 THEN to_regclass('public.undisturbed')
                      WHEN random() < 0.7 THEN (SELECT s.queue FROM ecto_job.queue_settings AS s ORDER BY random() LIMIT 1)
                      ELSE coalesce(to_regclass(smith_hidden.one_of('pg_class', 'smith.value', 'ecto_job.queue_settings',
                                                                    'public.plain_pkey', 'gone')), 4294967295::oid::regclass) END $$;

CREATE VIEW smith.value AS
    SELECT smith.some_regclass() AS queue, smith.some_int8() AS big, smith.some_int4() AS small, smith.some_text() AS word,
           smith.some_jsonb() AS json, smith.some_bytea() AS bytes, smith.some_interval() AS span, smith.some_timestamptz() AS at,
           smith.some_float8() AS share, random() < 0.5 AS flag, smith.some__int8() AS bigs
    FROM generate_series(1, 2);
GRANT SELECT ON smith.value TO PUBLIC;

------------------------------------------------------------------------------------------------------
-- What SQLsmith reads in the place of PostgreSQL's catalogs, by its search path: all functions of ecto_job, among few
-- others. A function with default values is there once for each number of arguments, and one without has four rows, so that
-- each is called often. SQLsmith calls no function that returns a set, unless it takes the function for another;
-- the call is valid where sets are.

CREATE VIEW smith_hidden.pg_proc AS
    SELECT p.oid::bigint * 1000 + f.arguments * 10 + f.name AS oid, p.proname, p.pronamespace, p.prorettype,
           false AS proretset, p.prokind, (p.proargtypes::oid[])[:f.arguments - 1] AS proargtypes
    FROM pg_catalog.pg_proc AS p,
         LATERAL (SELECT arguments, name
                  FROM generate_series(p.pronargs - p.pronargdefaults, p.pronargs::int) AS arguments,
                       generate_series(1, CASE WHEN p.pronargs > 0 AND p.pronargdefaults = 0 THEN 4 ELSE 1 END) AS name) AS f
    WHERE p.pronamespace = 'ecto_job'::regnamespace AND p.prokind = 'f'
    UNION ALL
    SELECT p.oid, p.proname, p.pronamespace, p.prorettype, false, p.prokind, p.proargtypes::oid[]
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = 'smith'::regnamespace
       OR p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'a' AND NOT p.proretset
          AND p.proname IN ('count', 'max', 'min', 'sum', 'bool_and', 'array_agg', 'string_agg')
       OR p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
          AND p.proname IN ('array_append', 'int8pl', 'md5', 'timestamptz_pl_interval')
    ORDER BY proname, oid;

-- Without columns a table, or a view of smith_hidden, is no target of INSERT, UPDATE, DELETE and MERGE, and no source of
-- values. So the jobs of the queue `undisturbed` are what the functions have made of them, and more calls succeed.
CREATE VIEW smith_hidden.pg_attribute AS
    SELECT attrelid, attname, atttypid, attisdropped FROM pg_catalog.pg_attribute
    WHERE attgenerated = '' AND attrelid NOT IN (SELECT oid FROM pg_catalog.pg_class
                           WHERE relname = 'undisturbed' OR relnamespace = 'smith_hidden'::regnamespace);
GRANT SELECT ON smith_hidden.pg_proc, smith_hidden.pg_attribute TO PUBLIC;
