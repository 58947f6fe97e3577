-- Updates 0.2.0 to 0.2.1. New objects have the text and the order of ecto_job.sql.
\echo Use "ALTER EXTENSION ecto_job UPDATE" to load this file. \quit

SELECT ecto_job.require_library('0.2.1');

-- The registry is no longer dumped; each queue's settings are in its trigger
ALTER EXTENSION ecto_job DROP TABLE ecto_job.queue_settings;
ALTER EXTENSION ecto_job ADD TABLE ecto_job.queue_settings;

-- A restore may run under session_replication_role = replica
ALTER TABLE ecto_job.queue_settings ENABLE ALWAYS TRIGGER registry_changed;
ALTER EVENT TRIGGER ecto_job_forget_dropped_queues ENABLE ALWAYS;

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
SELECT ecto_job.carry_settings(s.queue)
FROM ecto_job.queue_settings AS s JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) s.queue;

-- The table loses its key; it is not created anew, so that users' views on it and grants stay
ALTER TABLE ecto_job.scheduler_state DROP COLUMN only_row;
COMMENT ON TABLE ecto_job.scheduler_state IS 'does this database run its queues? written by the first create_queue, enable, disable';
COMMENT ON COLUMN ecto_job.scheduler_state.database IS 'oid of the database that the record was made in; 0: it was restored, and waits for enable()';
-- A database that was restored and is not enabled has no row yet
INSERT INTO ecto_job.scheduler_state (database, enabled)
SELECT 0::pg_catalog.oid, false
WHERE EXISTS (SELECT FROM ecto_job.queue_settings) AND NOT EXISTS (SELECT FROM ecto_job.scheduler_state);
-- Comments with a new wording
COMMENT ON COLUMN ecto_job.queue_settings.poll_interval IS 'the longest time between two starts by a consumer; without preload also the time between two sweeps';
COMMENT ON FUNCTION ecto_job.registry_changed() IS 'trigger: only a table''s owner registers it as a queue; caches are invalidated';
COMMENT ON FUNCTION ecto_job.release_queue(pg_catalog.regclass) IS
    'makes a queue''s table a plain table again, with all its jobs';
COMMENT ON FUNCTION ecto_job.fail_job(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int8, pg_catalog.text, pg_catalog.bool, pg_catalog.interval, pg_catalog.timestamptz) IS
    'records that an attempt failed: RETRY, or FAILED at max_attempts';
COMMENT ON FUNCTION ecto_job.job_failed(pg_catalog.regclass, pg_catalog.int8, pg_catalog.int4, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.int8, pg_catalog.text) IS
    'records that this attempt failed: RETRY, or FAILED at max_attempts';
COMMENT ON COLUMN ecto_job.queues.expired IS 'jobs whose lease ended, or whose consumer''s connection ended, before their last attempt, since the server''s start';
COMMENT ON COLUMN ecto_job.queues.failed IS 'jobs whose lease ended, or whose consumer''s connection ended, in their last attempt, since the server''s start';

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
           ) AS warning
    FROM ecto_job.queue_settings AS s
         JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) s.queue
         CROSS JOIN (SELECT pg_catalog.bool_and(r.enabled) AS enabled
                     FROM ecto_job.scheduler_state AS r
                          JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) r.database
                     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS r
         CROSS JOIN LATERAL ecto_job.queue_status(s.queue, r.enabled) AS t
    WHERE pg_catalog.has_table_privilege(s.queue, 'SELECT')
       OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON COLUMN ecto_job.queues.warning IS
    'who, besides the owner, may have code run with his rights: by the privilege TRIGGER, or by a trigger''s function; null: nobody';
