-- Updates 0.2.1 to 0.3.0. New objects have the text and the order of ecto_job.sql.
\echo Use "ALTER EXTENSION ecto_job UPDATE" to load this file. \quit

SELECT ecto_job.require_library('0.3.0');

ALTER TABLE ecto_job.queue_settings ADD COLUMN paused pg_catalog.bool DEFAULT false NOT NULL;
COMMENT ON TABLE ecto_job.queue_settings IS 'one row per queue: its settings; written by functions of the extension';
-- Was reserved; what a superuser may have written there must not become an option
UPDATE ecto_job.queue_settings SET options = '{}' WHERE options OPERATOR(pg_catalog.<>) '{}'::pg_catalog.jsonb;
COMMENT ON COLUMN ecto_job.queue_settings.options IS 'keys of configure_queue''s options that are not at their default';
COMMENT ON COLUMN ecto_job.queue_settings.paused IS 'true: claims return no jobs, until resume_queue';

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

-- The view is replaced, not dropped and created, so that users' views on it and grants stay
CREATE OR REPLACE VIEW ecto_job.queues AS
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
COMMENT ON COLUMN ecto_job.queues.paused IS 'true: claims return no jobs, until resume_queue';
COMMENT ON COLUMN ecto_job.queues.options IS 'options of configure_queue that are not at their default';

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
