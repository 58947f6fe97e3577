-- The SQL objects of ecto_job, in the order of a job's life. make copies this file to its versioned name.
--
-- No statement may resolve a name through the search_path: types, functions and operators are
-- qualified, there is no OR REPLACE and no IF NOT EXISTS. C functions are SECURITY INVOKER and have
-- no SET clause, which would change the search_path of users' triggers.

\echo Use "CREATE EXTENSION ecto_job" to load this file. \quit

-- The script creates the schema, and not the control file, so that the schema belongs to the extension and is dropped with it
CREATE SCHEMA ecto_job;
COMMENT ON SCHEMA ecto_job IS 'transactional job queues: functions, registry, views';
GRANT USAGE ON SCHEMA ecto_job TO PUBLIC;

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
SELECT ecto_job.require_library('@EXTVERSION@');

------------------------------------------------------------------------------------------------------
-- Registry

CREATE TABLE ecto_job.queue_settings (
    queue pg_catalog.regclass PRIMARY KEY,
    params_type pg_catalog.text DEFAULT 'map' NOT NULL
        CHECK (params_type OPERATOR(pg_catalog.=) ANY ('{map,binary}'::pg_catalog.text[])),
    inserted_at pg_catalog.name,
    updated_at pg_catalog.name,
    poll_interval pg_catalog.interval DEFAULT '60 s' NOT NULL
        CHECK (poll_interval OPERATOR(pg_catalog.>) '0 s'::pg_catalog.interval),
    reservation_timeout pg_catalog.interval DEFAULT '60 s' NOT NULL
        CHECK (reservation_timeout OPERATOR(pg_catalog.>) '0 s'::pg_catalog.interval),
    execution_timeout pg_catalog.interval DEFAULT '300 s' NOT NULL
        CHECK (execution_timeout OPERATOR(pg_catalog.>) '0 s'::pg_catalog.interval),
    retry_timeout pg_catalog.interval DEFAULT '30 s' NOT NULL
        CHECK (retry_timeout OPERATOR(pg_catalog.>=) '0 s'::pg_catalog.interval),
    max_attempts pg_catalog.int4 DEFAULT 5 NOT NULL CHECK (max_attempts OPERATOR(pg_catalog.>=) 1),
    options pg_catalog.jsonb DEFAULT '{}' NOT NULL,
    kind pg_catalog.text DEFAULT 'native' NOT NULL
        CHECK (kind OPERATOR(pg_catalog.=) ANY ('{native,ectojob,adopted}'::pg_catalog.text[])),
    paused pg_catalog.bool DEFAULT false NOT NULL
);
COMMENT ON TABLE ecto_job.queue_settings IS 'one row per queue: its settings; written by functions of the extension';
COMMENT ON COLUMN ecto_job.queue_settings.queue IS 'the queue''s table';
COMMENT ON COLUMN ecto_job.queue_settings.kind IS 'native: made by create_queue; ectojob: the same, for EctoJob''s library too; adopted: made by EctoJob''s migration';
COMMENT ON COLUMN ecto_job.queue_settings.params_type IS 'map: params is jsonb; binary: bytea';
COMMENT ON COLUMN ecto_job.queue_settings.inserted_at IS 'name of the column for the time of insertion; null: none';
COMMENT ON COLUMN ecto_job.queue_settings.updated_at IS 'name of the column for the time of the last change; null: none';
COMMENT ON COLUMN ecto_job.queue_settings.poll_interval IS 'the longest time between two starts by a consumer; without preload also the time between two sweeps';
COMMENT ON COLUMN ecto_job.queue_settings.reservation_timeout IS 'how long a RESERVED job is held';
COMMENT ON COLUMN ecto_job.queue_settings.execution_timeout IS 'how long an attempt may take, times its number';
COMMENT ON COLUMN ecto_job.queue_settings.retry_timeout IS 'how long a failed job waits, times the number of the next attempt';
COMMENT ON COLUMN ecto_job.queue_settings.max_attempts IS 'max_attempts of a job that does not say otherwise';
COMMENT ON COLUMN ecto_job.queue_settings.options IS 'keys of configure_queue''s options that are not at their default';
COMMENT ON COLUMN ecto_job.queue_settings.paused IS 'true: claims return no jobs, until resume_queue';

-- Every role may read the registry. The registry is not dumped: a queue's trigger has the queue's settings, too, and
-- so has each dump of the queue's table. Dumps of versions before 0.2.1 have rows of the registry, which the
-- database's owner copies in at a restore; the trigger lets him register his own tables only.
GRANT SELECT ON ecto_job.queue_settings TO PUBLIC;
GRANT INSERT ON ecto_job.queue_settings TO pg_database_owner;

CREATE FUNCTION ecto_job.registry_changed() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_registry_changed';
COMMENT ON FUNCTION ecto_job.registry_changed() IS 'trigger: only a table''s owner registers it as a queue; caches are invalidated';
CREATE TRIGGER registry_changed BEFORE INSERT OR UPDATE OR DELETE ON ecto_job.queue_settings
    FOR EACH ROW EXECUTE FUNCTION ecto_job.registry_changed();
-- A restore may run under session_replication_role = replica
ALTER TABLE ecto_job.queue_settings ENABLE ALWAYS TRIGGER registry_changed;
COMMENT ON TRIGGER registry_changed ON ecto_job.queue_settings IS 'checks ownership, invalidates caches';

-- The table is not dumped: a restored or copied database must not start to run the jobs of its original. The table has
-- no key, since on a key two sessions that create the first queue would wait for each other; each of them adds a row.
CREATE TABLE ecto_job.scheduler_state (
    database pg_catalog.oid NOT NULL,
    enabled pg_catalog.bool NOT NULL
);
COMMENT ON TABLE ecto_job.scheduler_state IS 'does this database run its queues? written by the first create_queue, enable, disable';
COMMENT ON COLUMN ecto_job.scheduler_state.database IS 'oid of the database that the record was made in; 0: it was restored, and waits for enable()';
COMMENT ON COLUMN ecto_job.scheduler_state.enabled IS 'false after disable()';
GRANT SELECT ON ecto_job.scheduler_state TO PUBLIC;

CREATE FUNCTION ecto_job.forget_dropped_queues() RETURNS event_trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_forget_dropped_queues';
COMMENT ON FUNCTION ecto_job.forget_dropped_queues() IS 'event trigger: a dropped queue leaves the registry';
CREATE EVENT TRIGGER ecto_job_forget_dropped_queues ON sql_drop
    EXECUTE FUNCTION ecto_job.forget_dropped_queues();
ALTER EVENT TRIGGER ecto_job_forget_dropped_queues ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ecto_job_forget_dropped_queues IS 'a dropped queue leaves the registry';

CREATE FUNCTION ecto_job.register_restored_queue() RETURNS event_trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_register_restored_queue';
COMMENT ON FUNCTION ecto_job.register_restored_queue() IS 'event trigger: a table that a dump brings with our triggers is a queue with its settings';
CREATE EVENT TRIGGER ecto_job_register_restored_queue ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER')
    EXECUTE FUNCTION ecto_job.register_restored_queue();
ALTER EVENT TRIGGER ecto_job_register_restored_queue ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ecto_job_register_restored_queue IS 'a table that a dump brings with our triggers is a queue with its settings';

-- Writes a queue's settings into its trigger. Errors: 42809 not a queue, 42501 not the owner.
CREATE FUNCTION ecto_job.carry_settings(
    queue pg_catalog.regclass
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_carry_settings';
COMMENT ON FUNCTION ecto_job.carry_settings(pg_catalog.regclass) IS
    'for ALTER EXTENSION: writes a queue''s settings into its trigger, where a dump finds them';

------------------------------------------------------------------------------------------------------
-- A job, as every function returns it. Later versions add attributes at the end only, and queues get these as columns:
-- CONTRIBUTING.md, "To add a column".

CREATE TYPE ecto_job.job AS (
    id pg_catalog.int8,
    state pg_catalog.text,
    expires pg_catalog.timestamptz,
    schedule pg_catalog.timestamptz,
    attempt pg_catalog.int4,
    max_attempts pg_catalog.int4,
    params pg_catalog.jsonb,
    notify pg_catalog.text,
    priority pg_catalog.int4,
    inserted_at pg_catalog.timestamptz,
    updated_at pg_catalog.timestamptz,
    lease pg_catalog.int8,
    key pg_catalog.text,
    error pg_catalog.text,
    meta pg_catalog.jsonb,
    params_binary pg_catalog.bytea
);
COMMENT ON TYPE ecto_job.job IS 'a job of any queue; all its times are timestamptz, params_binary is a binary queue''s params';

-- Functions of a queue's triggers; create_queue and adopt_queue create the triggers
CREATE FUNCTION ecto_job.schedule_job() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_schedule_job';
COMMENT ON FUNCTION ecto_job.schedule_job() IS 'trigger: a job inserted for the future is SCHEDULED';
CREATE FUNCTION ecto_job.job_inserted() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_job_inserted';
COMMENT ON FUNCTION ecto_job.job_inserted() IS 'trigger: an AVAILABLE job is notified';
CREATE FUNCTION ecto_job.job_changed() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_job_changed';
COMMENT ON FUNCTION ecto_job.job_changed() IS 'trigger: a job that becomes AVAILABLE is notified';
CREATE FUNCTION ecto_job.clear_lease() RETURNS trigger LANGUAGE c
    AS 'MODULE_PATHNAME', 'ecto_job_clear_lease';
COMMENT ON FUNCTION ecto_job.clear_lease() IS 'trigger: a change of state by EctoJob''s library ends the lease';

------------------------------------------------------------------------------------------------------
-- Queues

-- Creates a queue. EctoJob: use EctoJob.JobQueue and EctoJob.Migrations.
-- table_name: not folded to lower case; 1 to 53 bytes. schema_prefix: NULL = the first schema of the search_path.
-- timestamps_opts: {"inserted_at": name or false, "updated_at": name or false, "type":
-- "utc_datetime_usec" (default), "naive_datetime_usec", "utc_datetime", "naive_datetime"} or false.
-- params_type: 'map' (jsonb) or 'binary' (bytea). ectojob: true = EctoJob's library works on the queue, too: the table
-- gets the index that the library's reserve needs, and a trigger that ends leases which the library does not know.
-- Grant a role what it needs and not ALL, which includes TRIGGER: a trigger runs with the owner's rights in the sweeps.
-- Returns the table. If the queue exists with equal options: a NOTICE, and its table.
-- Errors: 42622 name too long, 42602 bad name, 22023 bad option, 42P07 the name is that of a relation that is no
-- queue, 42710 a queue with other options exists, 22004 NULL ectojob, 42501 no USAGE and CREATE on the schema.
CREATE FUNCTION ecto_job.create_queue(
    table_name pg_catalog.text, schema_prefix pg_catalog.text DEFAULT NULL, timestamps_opts
    pg_catalog.jsonb DEFAULT NULL, params_type pg_catalog.text DEFAULT 'map', ectojob
    pg_catalog.bool DEFAULT false
) RETURNS pg_catalog.regclass
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_create_queue';
COMMENT ON FUNCTION ecto_job.create_queue(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.bool) IS
    'makes a queue: a table owned by the caller, and its settings';

-- Makes a queue of a table that EctoJob's migration made, of version 1, 2 or 3, while it has jobs and consumers. Only
-- the table's owner may call it. Adds lease, key, error and meta, defaults for inserted_at and updated_at, and triggers,
-- of which one replaces EctoJob's under its name; changes catalogs only, and holds a lock on the table for milliseconds.
-- timestamps_opts: as for create_queue, without a type; NULL = the function finds the columns.
-- Returns the table. A table that is adopted already: a NOTICE. NOTICEs also name what the table lacks: priority, an index.
-- Errors: 42P16 columns that do not fit, each in the DETAIL, 42809 no ordinary table, 42710 create_queue made
-- the table, 42622 name too long, 42501 not the owner, 55P03 the lock was not granted.
CREATE FUNCTION ecto_job.adopt_queue(
    queue pg_catalog.regclass, timestamps_opts pg_catalog.jsonb DEFAULT NULL
) RETURNS pg_catalog.regclass
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_adopt_queue';
COMMENT ON FUNCTION ecto_job.adopt_queue(pg_catalog.regclass, pg_catalog.jsonb) IS
    'makes a table of EctoJob''s a queue; EctoJob''s library goes on to work on it';

-- Gives the table of a queue what new tables of the installed version have. Needed once for unique jobs in a queue that
-- was created or adopted before version 0.3.0; a queue that has everything stays as it is. Changes catalogs only. The
-- table is locked until the transaction ends, so upgrade each queue in a transaction of its own. Only the table's owner
-- may call it. Errors: 42809 not a queue, 42501 not the owner, 55P03 the lock was not granted within 2 s, 42P16 a column
-- of the application's own has the name of one that the version adds.
CREATE FUNCTION ecto_job.upgrade_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_upgrade_queue';
COMMENT ON FUNCTION ecto_job.upgrade_queue(pg_catalog.regclass) IS
    'gives the table of a queue what new tables of the installed version have';

-- Makes a queue an ordinary table again, one of adopt_queue as well as one of create_queue. The table keeps its rows and
-- columns; the triggers and settings of ecto_job are dropped, and EctoJob's own trigger notifies of new jobs. Only the
-- table's owner may call it. Returns the table. Errors: 42809 not a queue, 42501 not the owner, or EctoJob's function
-- has to be created and the owner has no CREATE on the schema, 55P03 the lock was not granted.
CREATE FUNCTION ecto_job.release_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.regclass
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_release_queue';
COMMENT ON FUNCTION ecto_job.release_queue(pg_catalog.regclass) IS
    'makes a queue''s table a plain table again, with all its jobs';

-- Drops the table with all its jobs, and the settings. Returns false if another session has dropped the table already.
-- Errors: 42809 not a queue, 42501 not the owner, 2BP01 another object depends on the table.
CREATE FUNCTION ecto_job.drop_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.bool
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_drop_queue';
COMMENT ON FUNCTION ecto_job.drop_queue(pg_catalog.regclass) IS
    'drops a queue with all its jobs';

-- Changes settings, in all sessions at the commit. EctoJob: EctoJob.Config. NULL = unchanged. max_attempts is also the
-- column's default, whose change needs a short lock on the table. Only the table's owner may call it.
-- options: an object of the keys that change; JSON null resets a key.
--   backoff           "linear" (the default, EctoJob's): a failed job waits retry_timeout * (attempt + 1); "constant":
--                     retry_timeout; "exponential": retry_timeout * 2^(attempt - 1)
--   max_retry_delay   the longest such wait, an interval as a string; by default there is none
--   retry_jitter      0 (the default) to 1: a share of the wait, at most this one, is taken off at random
--   failed_retention  FAILED jobs are deleted when they are older, by updated_at; an interval as a string; by default they
--                     are kept for ever
-- Returns the settings. Errors: 22023 out of range or with months, an unknown key, a wrong value; 42809 not a queue,
-- 42501 not the owner, 55P03 the lock was not granted, 0A000 options, and the extension is older than the library.
CREATE FUNCTION ecto_job.configure_queue(
    queue pg_catalog.regclass, poll_interval pg_catalog.interval DEFAULT NULL,
    reservation_timeout pg_catalog.interval DEFAULT NULL, execution_timeout
    pg_catalog.interval DEFAULT NULL, retry_timeout pg_catalog.interval DEFAULT NULL,
    max_attempts pg_catalog.int4 DEFAULT NULL, options pg_catalog.jsonb DEFAULT NULL
) RETURNS ecto_job.queue_settings
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_configure_queue';
COMMENT ON FUNCTION ecto_job.configure_queue(pg_catalog.regclass, pg_catalog.interval, pg_catalog.interval, pg_catalog.interval, pg_catalog.interval, pg_catalog.int4, pg_catalog.jsonb) IS
    'changes settings of a queue; null leaves one as it is';

-- Pauses a queue: claims return no jobs from the commit on, in every session and after a restart, until resume_queue().
-- Jobs can be enqueued, and are announced; due jobs become AVAILABLE; jobs that are held can be completed or fail, and
-- those that are RESERVED can be started. Has no effect on EctoJob's library, which reads the table itself. Only the
-- table's owner may call it. Errors: 22004 null, 42809 not a queue, 42501 not the owner, 42P01 dropped just now.
CREATE FUNCTION ecto_job.pause_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_pause_queue';
COMMENT ON FUNCTION ecto_job.pause_queue(pg_catalog.regclass) IS
    'has claims return no jobs of a queue until resume_queue';

-- Ends the pause of a queue, if there is one, and notifies its consumers at the commit.
-- Errors: as of pause_queue.
CREATE FUNCTION ecto_job.resume_queue(
    queue pg_catalog.regclass
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_resume_queue';
COMMENT ON FUNCTION ecto_job.resume_queue(pg_catalog.regclass) IS
    'ends the pause of a queue and notifies its consumers';

-- Has the scheduler sweep this database's queues from the commit on, also after a restart. Needed once in a database
-- that was restored from a dump or copied. Errors: 42501 not the database's owner.
CREATE FUNCTION ecto_job.enable() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_enable';
COMMENT ON FUNCTION ecto_job.enable() IS
    'lets the scheduler run the queues of this database';

-- Stops the sweeps of this database's queues until enable(). Jobs can be enqueued and performed as before; jobs that
-- are due or whose leases end are not moved. Errors: 42501 not the database's owner.
CREATE FUNCTION ecto_job.disable() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_disable';
COMMENT ON FUNCTION ecto_job.disable() IS
    'stops the scheduler in this database';

-- Calls enable(). If ecto_job is not in shared_preload_libraries, also starts a scheduler for this database, which runs
-- from the commit until the server is restarted or crashes (WARNING). A second call changes nothing.
-- Errors: 42501 not the database's owner, 25006 on a standby, 53000 no background worker is free.
CREATE FUNCTION ecto_job.start_scheduler() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_start_scheduler';
COMMENT ON FUNCTION ecto_job.start_scheduler() IS
    'lets the scheduler run the queues of this database, and without preload starts it until the next restart';

-- Calls disable(), and waits until the scheduler has left this database; a sweep that takes more than 3 s is cancelled
-- (without preload any sweep) and rolled back. Errors: 42501, 25006 as above, 25001 inside a transaction block.
CREATE FUNCTION ecto_job.stop_scheduler() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_stop_scheduler';
COMMENT ON FUNCTION ecto_job.stop_scheduler() IS
    'stops the scheduler in this database, and waits until it has left';

------------------------------------------------------------------------------------------------------
-- Jobs: enqueue, start, complete, fail

-- Adds a job, which is AVAILABLE, or SCHEDULED if `schedule` lies in the future. EctoJob: new, enqueue. If NULL:
-- schedule = now, max_attempts = the queue's setting, priority = 0 (lower is first), now = the clock. notify: payload of
-- the notifications .completed, .retry, .failed, 255 characters at most; NULL = none. A map queue needs params, an
-- object; a binary queue params_binary. The setting ecto_job.traceparent, if not empty, is added to meta.
-- key: at most one job of a key waits (SCHEDULED, AVAILABLE, RETRY); 1,024 bytes at most; NULL = none. If one waits,
-- on_conflict says what happens: 'keep' adds nothing, and the job that waits is not started before the caller's
-- transaction ends, so that it sees the caller's writes; 'replace' gives it the arguments that are not NULL, and attempt
-- 0 if it is a RETRY; 'error' raises 23505. Waits for an open transaction that has enqueued, replaced, started or deleted the
-- job that waits: of several keys in one transaction, enqueue them in one order.
-- Returns the id of the job that does the work. Errors: 22004 no queue or params, 22023 value out of range, 22001 notify
-- or key too long, 42809 not a queue, 42501 no INSERT (with a key also SELECT, and UPDATE of a
-- column), 23514 or 42P10 the table knows no keys, see upgrade_queue.
CREATE FUNCTION ecto_job.enqueue(
    queue pg_catalog.regclass, params pg_catalog.jsonb DEFAULT NULL, schedule
    pg_catalog.timestamptz DEFAULT NULL, max_attempts pg_catalog.int4 DEFAULT NULL, priority
    pg_catalog.int4 DEFAULT NULL, notify pg_catalog.text DEFAULT NULL, key pg_catalog.text
    DEFAULT NULL, on_conflict pg_catalog.text DEFAULT 'keep', meta pg_catalog.jsonb DEFAULT
    NULL, params_binary pg_catalog.bytea DEFAULT NULL, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.int8
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_enqueue';
COMMENT ON FUNCTION ecto_job.enqueue(pg_catalog.regclass, pg_catalog.jsonb, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.int4, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.bytea, pg_catalog.timestamptz) IS
    'adds a job to a queue, in the transaction of the caller; returns its id';

-- Starts the first `demand` jobs by (priority, schedule, id) that are AVAILABLE and not locked: they become IN_PROGRESS,
-- with one new lease for all. expires = now + attempt * timeout (NULL = the queue's execution_timeout; whole
-- milliseconds). demand NULL or 0: no rows. Returns the jobs in the queue's order. Commit before performing the jobs.
-- Errors: 22023 negative demand, timeout below 1 ms, infinite now; 22008 expiry out of range; 42809; 42501.
CREATE FUNCTION ecto_job.start_available_jobs(
    queue pg_catalog.regclass, demand pg_catalog.int4 DEFAULT 1, timeout pg_catalog.interval
    DEFAULT NULL, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_start_available_jobs';
COMMENT ON FUNCTION ecto_job.start_available_jobs(pg_catalog.regclass, pg_catalog.int4, pg_catalog.interval, pg_catalog.timestamptz) IS
    'starts up to demand jobs: AVAILABLE to IN_PROGRESS, in one step';

-- Waits until the queue has a job to start, and sets `available` to true; to false after `timeout`, or a little before
-- statement_timeout. For clients that cannot LISTEN; call it when start_available_jobs has returned no job, and call
-- start_available_jobs afterwards, which may return none if another consumer was quicker. Commits wake as many waiting
-- sessions as jobs became AVAILABLE, those that have waited longest. Meanwhile the session holds no snapshot; the
-- procedure commits, so that it must be called outside of a transaction block. A paused queue has no job to start. Looks
-- for jobs once in each poll_interval even if nobody wakes it, and once a second without preload. Needs SELECT on the
-- table. available: its value at the call is ignored.
-- Errors: 22004 null queue or timeout, 22023 timeout negative or with months, 25001 in a transaction block, 25006 on a
-- standby, 42P01 the queue was dropped, 42809, 42501.
CREATE PROCEDURE ecto_job.wait(
    queue pg_catalog.regclass, timeout pg_catalog.interval DEFAULT '60 s', INOUT available pg_catalog.bool DEFAULT NULL
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_wait';
COMMENT ON PROCEDURE ecto_job.wait(pg_catalog.regclass, pg_catalog.interval, pg_catalog.bool) IS
    'waits until a queue has a job to start, without holding a snapshot';

-- Waits, as wait does, for the first of several queues that has a job to start, and sets `queue` to this queue; to null
-- after `timeout`. queues: at most 16; a queue that is given twice counts once. The search begins behind the queue that
-- this session's last wait has returned, so that no busy queue keeps a client from the others. The locked table of one
-- queue, or its pause, does not keep the session from the others; the end of one queue is an error. Needs SELECT on each
-- table. queue: its value at the call is ignored.
-- Errors: those of wait; 22004 queues or one of them is null, 22023 no queue, 54000 more than 16 queues.
CREATE PROCEDURE ecto_job.wait_any(
    queues pg_catalog.regclass[], timeout pg_catalog.interval DEFAULT '60 s', INOUT queue pg_catalog.regclass DEFAULT NULL
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_wait_any';
COMMENT ON PROCEDURE ecto_job.wait_any(pg_catalog.regclass[], pg_catalog.interval, pg_catalog.regclass) IS
    'waits until one of several queues has a job to start, without holding a snapshot';

-- Completes the job: deletes its row in the caller's transaction, with the notification <table>.completed. Call it
-- first in the transaction of the job's own writes. Errors: JQ001 the job is gone or under another lease:
-- roll back; 22004 null; 42809; 42501.
CREATE FUNCTION ecto_job.complete_job(
    queue pg_catalog.regclass, id pg_catalog.int8, lease pg_catalog.int8
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_complete_job';
COMMENT ON FUNCTION ecto_job.complete_job(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int8) IS
    'completes a job held under this lease; an error if it is not, so that its writes roll back';

-- Completes all jobs, or none with an error JQ001 that lists the stale jobs. leases[n] is the lease of the job ids[n].
-- Returns the number of jobs. Errors: as complete_job; 2202E the arrays differ in length; 22023 nulls in them.
CREATE FUNCTION ecto_job.complete_jobs(
    queue pg_catalog.regclass, ids pg_catalog.int8[], leases pg_catalog.int8[]
) RETURNS pg_catalog.int8
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_complete_jobs';
COMMENT ON FUNCTION ecto_job.complete_jobs(pg_catalog.regclass, pg_catalog.int8[], pg_catalog.int8[]) IS
    'completes many jobs, all or none';

-- Changes an IN_PROGRESS job to RETRY, or to FAILED at max_attempts, with the notification <table>.retry or .failed.
-- A RETRY is due after `delay`, or without it after (attempt + 1) * the queue's retry_timeout, unless the queue has options
-- (configure_queue: backoff, max_retry_delay, retry_jitter). retry => false: FAILED
-- whatever the attempt, for a job that can never succeed. error: cut at 8 kB; replaces the earlier error. Returns the
-- job, or no row if the job is not held under this lease.
-- Errors: 22004 null id, lease or retry, 22023 infinite now, delay negative, with months or too long, 22008 the schedule
-- is past the calendar, 42809, 42501.
CREATE FUNCTION ecto_job.fail_job(
    queue pg_catalog.regclass, id pg_catalog.int8, lease pg_catalog.int8, error
    pg_catalog.text DEFAULT NULL, retry pg_catalog.bool DEFAULT true, delay
    pg_catalog.interval DEFAULT NULL, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_fail_job';
COMMENT ON FUNCTION ecto_job.fail_job(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int8, pg_catalog.text, pg_catalog.bool, pg_catalog.interval, pg_catalog.timestamptz) IS
    'records that an attempt failed: RETRY, or FAILED at max_attempts';

-- Puts a job back that the caller holds and will not perform now, as if this attempt had not begun: an IN_PROGRESS job
-- gets its attempt back. With a delay the job is SCHEDULED and due after the delay; with none it is AVAILABLE at its old
-- place in the queue, which is how a consumer that stops gives back what it has not begun. The error stays. Sends no
-- notification but that of the queue. Waits for a transaction that completes the job. Returns the job, or no row if the
-- job is not held under this lease.
-- Errors: 22004 null id, lease or delay, 22023 infinite now, delay negative, with months or too long, 22008 the schedule
-- is past the calendar, 42809, 42501.
CREATE FUNCTION ecto_job.snooze_job(
    queue pg_catalog.regclass, id pg_catalog.int8, lease pg_catalog.int8, delay
    pg_catalog.interval DEFAULT '0', now pg_catalog.timestamptz DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_snooze_job';
COMMENT ON FUNCTION ecto_job.snooze_job(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int8, pg_catalog.interval, pg_catalog.timestamptz) IS
    'puts a held job back for later, without counting the attempt; no delay: gives it back';

-- Moves the end of a lease to `duration` after now, by default the queue's execution_timeout; never to an earlier time.
-- Call it at a third of the lease while a job runs, and not after complete_job: it waits for the transaction that
-- completes the job. Returns the end of the lease, or null if the job is not held under this lease any more, was
-- cancelled, or the lease has ended: then stop, since another consumer may have the job.
-- Errors: 22004 null id or lease, 22023 infinite now, duration below 1 ms, with months or too long, 22008 the end is
-- past the calendar, 42809, 42501.
CREATE FUNCTION ecto_job.extend_lease(
    queue pg_catalog.regclass, id pg_catalog.int8, lease pg_catalog.int8, duration
    pg_catalog.interval DEFAULT NULL, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.timestamptz
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_extend_lease';
COMMENT ON FUNCTION ecto_job.extend_lease(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int8, pg_catalog.interval, pg_catalog.timestamptz) IS
    'moves the end of a job''s lease; null: the lease has ended, or the job is gone or another''s';

-- Deletes a job in any state, with the notification <table>.failed. The consumer that holds the job cannot complete it
-- then, so what it writes in the completing transaction is rolled back. reason: cut at 8 kB; the error of the returned
-- row. Returns the job, or no row if there is none, if a transaction has locked it, such as the one that completes it,
-- or if a trigger or policy keeps it.
-- Errors: 22004 null id, 42809, 42501.
CREATE FUNCTION ecto_job.cancel_job(
    queue pg_catalog.regclass, id pg_catalog.int8, reason pg_catalog.text DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_cancel_job';
COMMENT ON FUNCTION ecto_job.cancel_job(pg_catalog.regclass, pg_catalog.int8, pg_catalog.text) IS
    'deletes a job in any state; whoever runs it cannot complete it';

------------------------------------------------------------------------------------------------------
-- EctoJob's functions, with EctoJob's milliseconds and order of arguments. Defaults: now = the clock, timeouts = the
-- queue's setting, lease = not checked, error = none.

-- Returns AVAILABLE jobs, locked until the caller's transaction ends, without a change.
-- EctoJob: available_jobs(schema, demand). Errors: 22023 negative demand, 42809, 42501.
CREATE FUNCTION ecto_job.available_jobs(
    queue pg_catalog.regclass, demand pg_catalog.int4
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_available_jobs';
COMMENT ON FUNCTION ecto_job.available_jobs(pg_catalog.regclass, pg_catalog.int4) IS
    'the first demand AVAILABLE jobs, locked until the transaction ends';

-- Changes AVAILABLE jobs to RESERVED with a new lease; expires = reservation_expiry(now, timeout_ms).
-- EctoJob: reserve_available_jobs(repo, schema, demand, now, timeout_ms). Errors: as start_available_jobs.
CREATE FUNCTION ecto_job.reserve_available_jobs(
    queue pg_catalog.regclass, demand pg_catalog.int4, now pg_catalog.timestamptz DEFAULT
    NULL, timeout_ms pg_catalog.int8 DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_reserve_available_jobs';
COMMENT ON FUNCTION ecto_job.reserve_available_jobs(pg_catalog.regclass, pg_catalog.int4, pg_catalog.timestamptz, pg_catalog.int8) IS
    'reserves up to demand jobs: AVAILABLE to RESERVED';

-- Changes a RESERVED job to IN_PROGRESS if the reservation has not expired; attempt is the job's attempt when it was
-- reserved. EctoJob: update_job_in_progress(repo, job, now, timeout_ms). No row = {:error, :expired}.
-- Errors: 22004 null id or attempt, 22023, 22008, 42809, 42501.
CREATE FUNCTION ecto_job.update_job_in_progress(
    queue pg_catalog.regclass, id pg_catalog.int8, attempt pg_catalog.int4, now
    pg_catalog.timestamptz DEFAULT NULL, timeout_ms pg_catalog.int8 DEFAULT NULL, lease
    pg_catalog.int8 DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_update_job_in_progress';
COMMENT ON FUNCTION ecto_job.update_job_in_progress(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int4, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.int8) IS
    'starts a reserved job: RESERVED to IN_PROGRESS';

-- Changes a job as fail_job does, but checks the attempt, and the lease only if it is given.
-- EctoJob: job_failed(repo, job, now, retry_timeout_ms). No row = :error.
-- Errors: 22004 null id or attempt, 22023 negative timeout, 22008, 42809, 42501.
CREATE FUNCTION ecto_job.job_failed(
    queue pg_catalog.regclass, id pg_catalog.int8, attempt pg_catalog.int4, now
    pg_catalog.timestamptz DEFAULT NULL, retry_timeout_ms pg_catalog.int8 DEFAULT NULL, lease
    pg_catalog.int8 DEFAULT NULL, error pg_catalog.text DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_job_failed';
COMMENT ON FUNCTION ecto_job.job_failed(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int4, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.int8, pg_catalog.text) IS
    'records that this attempt failed: RETRY, or FAILED at max_attempts';

-- Deletes a job if its attempt, and the lease if it is given, are the job's; sends no notification.
-- EctoJob: delete_job_changeset(job). Errors: JQ001 stale, 22004, 42809, 42501.
CREATE FUNCTION ecto_job.delete_job_changeset(
    queue pg_catalog.regclass, id pg_catalog.int8, attempt pg_catalog.int4, lease
    pg_catalog.int8 DEFAULT NULL
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_delete_job_changeset';
COMMENT ON FUNCTION ecto_job.delete_job_changeset(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int4, pg_catalog.int8) IS
    'deletes a job of this attempt; an error if it is stale';

-- Deletes a job as delete_job_changeset does, with the notification <table>.completed.
-- EctoJob: initial_multi(job); in SQL the transaction is the Multi. Errors: JQ001 stale, 22004, 42809, 42501.
CREATE FUNCTION ecto_job.initial_multi(
    queue pg_catalog.regclass, id pg_catalog.int8, attempt pg_catalog.int4, lease
    pg_catalog.int8 DEFAULT NULL
) RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_initial_multi';
COMMENT ON FUNCTION ecto_job.initial_multi(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int4, pg_catalog.int8) IS
    'completes a job of this attempt; to be called first in its transaction';

-- Changes a FAILED job to SCHEDULED with attempt 0; schedule and error stay, so the job is due at the next sweep.
-- EctoJob: requeue(multi, name, job). No row: the job is not FAILED. Errors: 22004, 22023, 42809, 42501.
CREATE FUNCTION ecto_job.requeue(
    queue pg_catalog.regclass, id pg_catalog.int8, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS SETOF ecto_job.job
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_requeue';
COMMENT ON FUNCTION ecto_job.requeue(pg_catalog.regclass, pg_catalog.int8, pg_catalog.timestamptz) IS
    'gives a FAILED job all its attempts again';

------------------------------------------------------------------------------------------------------
-- Sweeps move every job that is due at `now` (NULL = the clock) and not locked. The scheduler moves these jobs, too,
-- in batches. Errors: 22023 infinite now, 42809, 42501.

-- Makes SCHEDULED and RETRY jobs AVAILABLE whose schedule is past. EctoJob: activate_scheduled_jobs(repo, schema, now).
CREATE FUNCTION ecto_job.activate_scheduled_jobs(
    queue pg_catalog.regclass, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.int8
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_activate_scheduled_jobs';
COMMENT ON FUNCTION ecto_job.activate_scheduled_jobs(pg_catalog.regclass, pg_catalog.timestamptz) IS
    'makes scheduled jobs and retries AVAILABLE when they are due; returns how many';

-- Gives RESERVED jobs, and IN_PROGRESS jobs with attempts left, back when their lease has ended.
-- EctoJob: activate_expired_jobs(repo, schema, now).
CREATE FUNCTION ecto_job.activate_expired_jobs(
    queue pg_catalog.regclass, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.int8
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_activate_expired_jobs';
COMMENT ON FUNCTION ecto_job.activate_expired_jobs(pg_catalog.regclass, pg_catalog.timestamptz) IS
    'makes jobs AVAILABLE again whose lease has ended; returns how many';

-- Makes IN_PROGRESS jobs at max_attempts FAILED when their lease has ended, with the notification <table>.failed.
-- EctoJob: fail_expired_jobs_at_max_attempts(repo, schema, now).
CREATE FUNCTION ecto_job.fail_expired_jobs_at_max_attempts(
    queue pg_catalog.regclass, now pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.int8
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_fail_expired_jobs_at_max_attempts';
COMMENT ON FUNCTION ecto_job.fail_expired_jobs_at_max_attempts(pg_catalog.regclass, pg_catalog.timestamptz) IS
    'makes jobs FAILED whose last lease has ended; returns how many';

-- Makes the three sweeps in the scheduler's order, with one value of now. In a queue with the option failed_retention also
-- deletes FAILED jobs that are older at `now`, for which the whole table is read; without the right DELETE it raises a
-- WARNING instead.
CREATE FUNCTION ecto_job.sweep(
    queue pg_catalog.regclass, now pg_catalog.timestamptz DEFAULT NULL, OUT activated
    pg_catalog.int8, OUT expired pg_catalog.int8, OUT failed pg_catalog.int8
)
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_sweep';
COMMENT ON FUNCTION ecto_job.sweep(pg_catalog.regclass, pg_catalog.timestamptz) IS
    'the three sweeps at once; returns how many jobs each has moved';

------------------------------------------------------------------------------------------------------
-- Times

-- Returns now + attempt * timeout_ms. EctoJob: increase_time(now, attempt, timeout_ms), which cuts to seconds.
-- Errors: 22008 out of range, 22023 infinite now.
CREATE FUNCTION ecto_job.increase_time(
    now pg_catalog.timestamptz, attempt pg_catalog.int4, timeout_ms pg_catalog.int8
) RETURNS pg_catalog.timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ecto_job_increase_time';
COMMENT ON FUNCTION ecto_job.increase_time(pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.int8) IS
    'now + attempt * timeout_ms';

-- Returns now + timeout_ms. EctoJob: reservation_expiry(now, timeout_ms), which cuts to seconds.
-- Errors: 22008 out of range, 22023 infinite now.
CREATE FUNCTION ecto_job.reservation_expiry(
    now pg_catalog.timestamptz, timeout_ms pg_catalog.int8
) RETURNS pg_catalog.timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ecto_job_reservation_expiry';
COMMENT ON FUNCTION ecto_job.reservation_expiry(pg_catalog.timestamptz, pg_catalog.int8) IS
    'now + timeout_ms';

-- Returns when a job is due again whose attempt of this number has failed, under the options of its queue; the
-- transitions call this function. The delay is that of `backoff` ('constant': retry_timeout_ms; 'linear': times
-- attempt + 1; 'exponential': times 2^(attempt - 1)), at most max_delay_ms, of which a share of up to `jitter` is taken
-- off, at random by seed and id.
-- Errors: 22008 out of range, 22023 infinite now, unknown backoff, negative milliseconds, jitter not from 0 to 1.
CREATE FUNCTION ecto_job.retry_time(
    now pg_catalog.timestamptz, attempt pg_catalog.int4, retry_timeout_ms pg_catalog.int8, backoff
    pg_catalog.text, max_delay_ms pg_catalog.int8, jitter pg_catalog.float8, seed
    pg_catalog.int8, id pg_catalog.int8
) RETURNS pg_catalog.timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ecto_job_retry_time';
COMMENT ON FUNCTION ecto_job.retry_time(pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.int8, pg_catalog.text, pg_catalog.int8, pg_catalog.float8, pg_catalog.int8, pg_catalog.int8) IS
    'when a failed job is due again, under the options of its queue';

------------------------------------------------------------------------------------------------------
-- Status

CREATE FUNCTION ecto_job.queue_status(
    queue pg_catalog.regclass, enabled pg_catalog.bool, OUT status pg_catalog.text, OUT last_sweep
    pg_catalog.timestamptz, OUT activated pg_catalog.int8, OUT expired pg_catalog.int8, OUT failed
    pg_catalog.int8, OUT next_due pg_catalog.timestamptz
)
    LANGUAGE c PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ecto_job_queue_status';
COMMENT ON FUNCTION ecto_job.queue_status(pg_catalog.regclass, pg_catalog.bool) IS
    'for the view ecto_job.queues: how the sweeps of a queue go';

-- One row for each queue: its settings, whether it is swept and if not why, when its next job is due, and which other
-- roles may have code run with the owner's rights in its sweeps. Superusers and members of the owner may do so anyway,
-- and are not listed.
CREATE VIEW ecto_job.queues AS
    SELECT s.queue,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner,
           s.params_type,
           s.poll_interval,
           s.reservation_timeout,
           s.execution_timeout,
           s.retry_timeout,
           s.max_attempts,
           t.status,
           t.last_sweep,
           t.activated,
           t.expired,
           t.failed,
           t.next_due,
           (SELECT pg_catalog.string_agg(w.warning, E'\n' ORDER BY w.warning)
            FROM (SELECT pg_catalog.format(
                             '%1$s may create triggers here, which run with the rights of %2$I: REVOKE TRIGGER ON %3$s FROM %1$s;',
                             g.grantees, pg_catalog.pg_get_userbyid(c.relowner), s.queue)
                  FROM (SELECT pg_catalog.string_agg(DISTINCT
                                   CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, ', ')
                        FROM pg_catalog.aclexplode(c.relacl) AS a
                        WHERE a.privilege_type OPERATOR(pg_catalog.=) 'TRIGGER'
                          AND (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                               OR NOT pg_catalog.pg_has_role(a.grantee, c.relowner, 'MEMBER'))) AS g (grantees)
                  WHERE g.grantees IS NOT NULL
                  UNION ALL
                  SELECT pg_catalog.format(
                             'trigger %1$I calls a function of %2$I, with the rights of %3$I: DROP TRIGGER %1$I ON %4$s;',
                             d.tgname, pg_catalog.pg_get_userbyid(p.proowner),
                             pg_catalog.pg_get_userbyid(c.relowner), s.queue)
                  FROM pg_catalog.pg_trigger AS d
                       JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) d.tgfoid
                  WHERE d.tgrelid OPERATOR(pg_catalog.=) c.oid
                    AND NOT d.tgisinternal
                    AND NOT pg_catalog.pg_has_role(p.proowner, c.relowner, 'MEMBER')) AS w (warning)
           ) AS warning,
           s.paused,
           s.options
    FROM ecto_job.queue_settings AS s
         JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) s.queue
         CROSS JOIN (SELECT pg_catalog.bool_and(r.enabled) AS enabled
                     FROM ecto_job.scheduler_state AS r
                          JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) r.database
                     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS r
         CROSS JOIN LATERAL ecto_job.queue_status(s.queue, r.enabled) AS t
    WHERE pg_catalog.has_table_privilege(s.queue, 'SELECT')
       OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW ecto_job.queues IS
    'every queue that you may read: its settings, whether it is swept, when a job is due next';
COMMENT ON COLUMN ecto_job.queues.owner IS 'whose rights the sweeps have';
COMMENT ON COLUMN ecto_job.queues.status IS
    'ok; disabled; no scheduler, and why; failing, and with what; locked';
COMMENT ON COLUMN ecto_job.queues.last_sweep IS 'when the scheduler last swept it; null: not since the server''s start';
COMMENT ON COLUMN ecto_job.queues.activated IS 'SCHEDULED and RETRY jobs made AVAILABLE since the server''s start';
COMMENT ON COLUMN ecto_job.queues.expired IS 'jobs whose lease ended, or whose consumer''s connection ended, before their last attempt, since the server''s start';
COMMENT ON COLUMN ecto_job.queues.failed IS 'jobs whose lease ended, or whose consumer''s connection ended, in their last attempt, since the server''s start';
COMMENT ON COLUMN ecto_job.queues.next_due IS
    'earliest schedule of a SCHEDULED or RETRY job, as the last sweep saw it; null: none, no sweep yet, or no right to read the jobs';
COMMENT ON COLUMN ecto_job.queues.warning IS
    'who, besides the owner, may have code run with his rights: by the privilege TRIGGER, or by a trigger''s function; null: nobody';
COMMENT ON COLUMN ecto_job.queues.paused IS 'true: claims return no jobs, until resume_queue';
COMMENT ON COLUMN ecto_job.queues.options IS 'options of configure_queue that are not at their default';
GRANT SELECT ON ecto_job.queues TO PUBLIC;

-- How many jobs of each state a queue has, and since when: six rows, for monitoring. The work does not grow with the
-- number of jobs: at most about `at_most` jobs are read along each of three indexes, and ten times as many entries with
-- those of finished jobs. capped: not all were counted, so there are `jobs` jobs at least; of FAILED jobs, which have no
-- index of their own, those among the oldest jobs of the table. oldest: the lowest schedule of the jobs that were counted.
-- For readers of the table to whom no policy applies, and pg_monitor. Works on a standby. Waits for a lock of the table.
-- Errors: 22004 null, 22023 at_most below 1, 42P01, 42809 not a queue, 42703 the owner has dropped a column, 42501, 0A000
-- Citus distributes the table, or it is unlogged and the server a standby.
CREATE FUNCTION ecto_job.queue_depth(
    queue pg_catalog.regclass, at_most pg_catalog.int8 DEFAULT 10000, OUT state pg_catalog.text,
    OUT jobs pg_catalog.int8, OUT capped pg_catalog.bool, OUT oldest pg_catalog.timestamptz
) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 6 AS 'MODULE_PATHNAME', 'ecto_job_queue_depth';
COMMENT ON FUNCTION ecto_job.queue_depth(pg_catalog.regclass, pg_catalog.int8) IS
    'how many jobs of each state a queue has, counted up to a limit';

-- Errors, rights and limits: see running_jobs.
CREATE FUNCTION ecto_job.held_jobs(
    queue pg_catalog.regclass, at_most pg_catalog.int8, OUT id pg_catalog.int8, OUT state
    pg_catalog.text, OUT attempt pg_catalog.int4, OUT lease pg_catalog.int8, OUT since
    pg_catalog.timestamptz, OUT expires pg_catalog.timestamptz, OUT pid pg_catalog.int4, OUT
    locked_by pg_catalog.xid, OUT locked_by_pid pg_catalog.int4
) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ecto_job_held_jobs';
COMMENT ON FUNCTION ecto_job.held_jobs(pg_catalog.regclass, pg_catalog.int8) IS
    'for running_jobs: the RESERVED and IN_PROGRESS jobs of a queue';

-- The RESERVED and IN_PROGRESS jobs of a queue, without their params; those whose lease ends first come first.
-- since: the last change of the row, which is its start, or the last extension of its lease; null without updated_at.
-- pid, application_name, client_addr: the session that the lease is bound to (ecto_job.session_leases), as far as
-- pg_stat_activity shows it. locked_by_pid, locked_by_gid: the session, or prepared transaction, whose open transaction
-- has the row locked, as that which completes the job. On a standby all of these are null. At most `at_most` jobs, and
-- a NOTICE if a hundred times as many entries were read from an end of an index and there may be more.
-- Errors and rights: as of queue_depth.
CREATE FUNCTION ecto_job.running_jobs(
    queue pg_catalog.regclass, at_most pg_catalog.int8 DEFAULT 1000, OUT id pg_catalog.int8, OUT
    state pg_catalog.text, OUT attempt pg_catalog.int4, OUT lease pg_catalog.int8, OUT since
    pg_catalog.timestamptz, OUT expires pg_catalog.timestamptz, OUT pid pg_catalog.int4, OUT
    application_name pg_catalog.text, OUT client_addr pg_catalog.inet, OUT locked_by_pid
    pg_catalog.int4, OUT locked_by_gid pg_catalog.text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED AS $$
    SELECT h.id, h.state, h.attempt, h.lease, h.since, h.expires,
           h.pid, a.application_name, a.client_addr, h.locked_by_pid, p.gid
    FROM ecto_job.held_jobs(running_jobs.queue, running_jobs.at_most) AS h
         LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) h.pid
         LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction OPERATOR(pg_catalog.=) h.locked_by
    ORDER BY h.expires, h.id
    $$;
COMMENT ON FUNCTION ecto_job.running_jobs(pg_catalog.regclass, pg_catalog.int8) IS
    'the jobs of a queue that are held, by which session, and which transaction has their rows locked';

CREATE FUNCTION ecto_job.warn_unless_preloaded() RETURNS pg_catalog.void
    LANGUAGE c AS 'MODULE_PATHNAME', 'ecto_job_warn_unless_preloaded';
COMMENT ON FUNCTION ecto_job.warn_unless_preloaded() IS
    'for CREATE EXTENSION: says which line postgresql.conf lacks';
SELECT ecto_job.warn_unless_preloaded();
