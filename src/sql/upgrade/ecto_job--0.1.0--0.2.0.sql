-- Updates 0.1.0 to 0.2.0. New objects have the text and the order of ecto_job.sql.
\echo Use "ALTER EXTENSION ecto_job UPDATE" to load this file. \quit

-- The library that the server has loaded may be older than this script. Libraries before 0.2.0 lack the function
-- ecto_job_require_library, which reports that.
DO $$
BEGIN
    CREATE FUNCTION ecto_job.require_library(version pg_catalog.text) RETURNS pg_catalog.void
        LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ecto_job_require_library';
EXCEPTION WHEN undefined_function THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = 'the loaded library of ecto_job is older than the extension''s SQL',
        HINT = 'Restart the server, which loads the new library.';
END $$;
COMMENT ON FUNCTION ecto_job.require_library(pg_catalog.text) IS
    'for CREATE and ALTER EXTENSION: an error if the server has loaded an older library';
SELECT ecto_job.require_library('0.2.0');

ALTER TABLE ecto_job.queue_settings ADD COLUMN kind pg_catalog.text DEFAULT 'native' NOT NULL
    CHECK (kind OPERATOR(pg_catalog.=) ANY ('{native,ectojob,adopted}'::pg_catalog.text[]));
COMMENT ON TABLE ecto_job.queue_settings IS 'one row per queue; written by create_queue, adopt_queue and configure_queue';
COMMENT ON COLUMN ecto_job.queue_settings.kind IS 'native: made by create_queue; ectojob: the same, for EctoJob''s library too; adopted: made by EctoJob''s migration';

CREATE FUNCTION ecto_job.clear_lease() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_clear_lease';
COMMENT ON FUNCTION ecto_job.clear_lease() IS 'trigger: a change of state by EctoJob''s library ends the lease';

CREATE FUNCTION ecto_job.adopt_queue(
    queue pg_catalog.regclass, timestamps_opts pg_catalog.jsonb DEFAULT NULL
) RETURNS pg_catalog.regclass
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_adopt_queue';
COMMENT ON FUNCTION ecto_job.adopt_queue(pg_catalog.regclass, pg_catalog.jsonb) IS
    'makes a table of EctoJob''s a queue; EctoJob''s library goes on to work on it';

CREATE FUNCTION ecto_job.release_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.regclass
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_release_queue';
COMMENT ON FUNCTION ecto_job.release_queue(pg_catalog.regclass) IS
    'lets go of a queue''s table, which stays as a plain table with all its jobs';

CREATE FUNCTION ecto_job.start_scheduler() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_start_scheduler';
COMMENT ON FUNCTION ecto_job.start_scheduler() IS
    'lets the scheduler run the queues of this database, and without preload starts it until the next restart';

CREATE FUNCTION ecto_job.stop_scheduler() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_stop_scheduler';
COMMENT ON FUNCTION ecto_job.stop_scheduler() IS
    'stops the scheduler in this database, and waits until it has left';

COMMENT ON COLUMN ecto_job.queues.expired IS 'jobs that expired, or whose consumer''s connection ended, and come again, since the server''s start';
COMMENT ON COLUMN ecto_job.queues.failed IS 'the same of those in their last attempt';
