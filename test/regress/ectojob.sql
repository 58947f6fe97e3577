-- Functions that make the tables of EctoJob 3.1's migrations. `timestamps` has the definitions of the columns inserted_at
-- and updated_at.
CREATE FUNCTION pg_temp.ectojob_table(name text, version int, schema text DEFAULT 'public', timestamps text DEFAULT
    'inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL', params_type text DEFAULT 'jsonb')
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I.%I (
        id bigserial, state varchar(255) DEFAULT ''AVAILABLE'' NOT NULL, expires timestamp,
        schedule timestamp DEFAULT timezone(''UTC'', now()) NOT NULL, attempt integer DEFAULT 0 NOT NULL,
        max_attempts integer DEFAULT 5 NOT NULL, params %s NOT NULL, notify varchar(255),
        %s %s PRIMARY KEY (id))', schema, name, params_type,
        CASE version WHEN 3 THEN 'priority integer DEFAULT 0 NOT NULL,' END, timestamps || ',');
    IF version = 2 THEN
        EXECUTE format('CREATE INDEX %I ON %I.%I (schedule, id)', name || '_schedule_id_index', schema, name);
    ELSIF version = 3 THEN
        EXECUTE format('CREATE INDEX %I ON %I.%I (priority, schedule, id)', name || '_priority_schedule_id_index', schema, name);
    END IF;
    EXECUTE format($f$CREATE OR REPLACE FUNCTION %I.fn_notify_inserted()
      RETURNS trigger AS $body$
    DECLARE
    BEGIN
      PERFORM pg_notify(TG_TABLE_NAME, '');
      RETURN NEW;
    END;
    $body$ LANGUAGE plpgsql$f$, schema);
    EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %I.%I FOR EACH ROW EXECUTE PROCEDURE %I.fn_notify_inserted()',
        'tr_notify_inserted_' || name, schema, name, schema);
END
$$;
CREATE FUNCTION pg_temp.ectojob_down(name text, schema text DEFAULT 'public') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER %I ON %I.%I', 'tr_notify_inserted_' || name, schema, name);
    EXECUTE format('DROP TABLE %I.%I', schema, name);
END
$$;
-- Upgrades a table of version 1 or 2 to version 3; ectojob_down_3 is the rollback
CREATE FUNCTION pg_temp.ectojob_up_3(name text, schema text DEFAULT 'public') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I.%I ADD COLUMN priority integer DEFAULT 0 NOT NULL', schema, name);
    EXECUTE format('CREATE INDEX %I ON %I.%I (priority, schedule, id)', name || '_priority_schedule_id_index', schema, name);
END
$$;
CREATE FUNCTION pg_temp.ectojob_down_3(name text, schema text DEFAULT 'public') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP INDEX %I.%I', schema, name || '_priority_schedule_id_index');
    EXECUTE format('ALTER TABLE %I.%I DROP COLUMN priority', schema, name);
END
$$;
