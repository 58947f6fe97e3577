-- 0.2.0 to 0.2.1. What is new stands here as it stands in ecto_job.sql, in its order.
\echo Use "ALTER EXTENSION ecto_job UPDATE" to load this file. \quit

SELECT ecto_job.require_library('0.2.1');

-- Replaced, not made anew: views of others may rest on it, and grants on it stay
-- A queue per row: its settings, whether it is swept and if not why, when its next job is due, and whose code its
-- sweeps run with the rights of its owner beside his own. What a superuser or a member of the owner may do is no news.
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
         LEFT JOIN ecto_job.scheduler_state AS r
              ON r.database OPERATOR(pg_catalog.=)
                 (SELECT d.oid FROM pg_catalog.pg_database AS d
                  WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
         CROSS JOIN LATERAL ecto_job.queue_status(s.queue, r.enabled) AS t
    WHERE pg_catalog.has_table_privilege(s.queue, 'SELECT')
       OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON COLUMN ecto_job.queues.warning IS
    'who, besides the owner, may have code run with his rights: by the privilege TRIGGER, or by a trigger''s function; null: nobody';
