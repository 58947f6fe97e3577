-- The auditor of the queue "jobs" records every edge of a job's state that was committed, with its fault, if any, and the
-- effects of performed jobs. The queue's owner runs this file in a new database.

CREATE SCHEMA chaos;

CREATE TABLE chaos.edges (
    number bigint GENERATED ALWAYS AS IDENTITY,
    xact xid8 DEFAULT pg_current_xact_id(),
    program text DEFAULT current_setting('application_name'),
    at timestamptz DEFAULT clock_timestamp(),
    job bigint,
    token text,
    old_state text, -- null: inserted
    new_state text, -- null: deleted
    old_attempt integer,
    new_attempt integer,
    old_lease bigint,
    new_lease bigint,
    old_expires timestamptz,
    new_expires timestamptz,
    now timestamptz, -- of the transition
    given_up bool, -- FAILED, whatever attempts are left
    fault text
);
CREATE INDEX ON chaos.edges (number) WHERE fault IS NOT NULL;

-- The effects of jobs: rows that the transaction which completes a job has inserted
CREATE TABLE chaos.effects (
    xact xid8 DEFAULT pg_current_xact_id(),
    path text,
    token text,
    job bigint,
    attempt integer,
    lease bigint
);

-- Returns whether the client has failed the job for good. Only these clients can, and each failure of theirs writes an
-- error; other clients keep an older error.
CREATE FUNCTION chaos.gives_up(n public.jobs) RETURNS bool LANGUAGE sql AS $$
    SELECT COALESCE(CASE
        WHEN current_setting('application_name') IN ('start', 'batch') THEN n.error = 'given up'
        WHEN current_setting('application_name') = 'exec' THEN n.error ~ '^exit status 65\M'
    END, false)
$$;

-- Returns the rule of the state machine that this edge breaks, or null. A row at fault may become FAILED from any state,
-- but no constraint or trigger of this queue refuses a row, so here such an edge is a fault. Each transition writes its
-- `now` into updated_at, so the guards of leases are checked by the time that they have read.
CREATE FUNCTION chaos.fault(o public.jobs, n public.jobs) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    edge text := COALESCE(o.state, 'new') || ' > ' || COALESCE(n.state, 'gone');
    now timestamptz := n.updated_at AT TIME ZONE 'UTC';
    is_sweep bool := current_setting('application_name') IN ('ecto_job scheduler', 'upkeep');
    -- The programs start jobs at once. Each gives back what it has not begun when it stops; --exec snoozes, too
    is_snooze bool := CASE
        WHEN current_setting('application_name') = 'sql' THEN edge = 'IN_PROGRESS > AVAILABLE'
        WHEN current_setting('application_name') = 'exec' THEN edge ~ '^IN_PROGRESS > (SCHEDULED|AVAILABLE)$'
        WHEN current_setting('application_name') IN ('two_step', 'start', 'batch')
            THEN edge ~ '^(RESERVED|IN_PROGRESS) > (SCHEDULED|AVAILABLE)$'
        ELSE false
    END;
    gives_up bool := chaos.gives_up(n);
    is_delayed bool := current_setting('application_name') IN ('start', 'batch') AND starts_with(n.error, 'delayed by ');
    is_ectojob bool := current_setting('application_name') = 'ectojob';
    is_sessions bool := COALESCE(o.lease & 1 = 1, false); -- a session lease, whose end the checker compares
    last_attempt bool := o.attempt >= GREATEST(o.max_attempts, 1);
    attempt integer := o.attempt;
BEGIN
    -- EctoJob lets a job start at the moment at which its reservation ends
    IF edge IN ('RESERVED > AVAILABLE', 'IN_PROGRESS > AVAILABLE') OR edge = 'IN_PROGRESS > FAILED' AND is_sweep THEN
        IF o.expires > now AND NOT is_sessions AND NOT is_snooze THEN
            RETURN 'I7: swept before the lease ended';
        END IF;
    ELSIF edge = 'RESERVED > IN_PROGRESS' THEN
        IF o.expires IS NULL OR o.expires < now OR o.expires = now AND NOT is_ectojob THEN
            RETURN 'I7: started after the lease had ended';
        ELSIF n.lease IS DISTINCT FROM o.lease THEN
            RETURN 'I6: a start changed the lease';
        END IF;
    END IF;
    IF is_snooze THEN
        IF n.attempt <> o.attempt - (o.state = 'IN_PROGRESS')::int THEN
            RETURN 'I8: a snooze counts the attempt';
        ELSIF n.lease IS NOT NULL THEN
            RETURN 'I6: a lease outlives its state';
        END IF;
        RETURN NULL;
    END IF;
    CASE edge
        WHEN 'new > SCHEDULED', 'new > AVAILABLE' THEN
            attempt := 0;
        WHEN 'SCHEDULED > AVAILABLE', 'RETRY > AVAILABLE' THEN
            IF o.schedule > now THEN
                RETURN 'I9: activated before its time';
            END IF;
        WHEN 'AVAILABLE > RESERVED' THEN
            IF n.expires IS NULL OR n.lease = o.lease THEN
                RETURN 'I6: reserved without a lease of its own';
            END IF;
        WHEN 'RESERVED > IN_PROGRESS', 'AVAILABLE > IN_PROGRESS' THEN
            attempt := o.attempt + 1;
            IF n.expires IS NULL THEN
                RETURN 'I7: started without an end';
            END IF;
        WHEN 'IN_PROGRESS > IN_PROGRESS' THEN
            IF o.expires IS NULL OR o.expires <= now OR n.expires < o.expires OR n.lease IS DISTINCT FROM o.lease THEN
                RETURN 'I7: a lease that has ended, or is another, was extended';
            END IF;
        WHEN 'RESERVED > AVAILABLE' THEN
            NULL;
        WHEN 'IN_PROGRESS > AVAILABLE' THEN
            IF last_attempt THEN
                RETURN 'I9: AVAILABLE again after the last attempt';
            END IF;
        WHEN 'IN_PROGRESS > RETRY' THEN
            IF o.attempt >= o.max_attempts THEN
                RETURN 'I9: RETRY after the last attempt';
            ELSIF gives_up THEN
                RETURN 'I9: RETRY of a job that failed for good';
            ELSIF is_delayed AND n.schedule IS DISTINCT FROM n.updated_at + substr(n.error, length('delayed by ') + 1)::interval THEN
                RETURN 'I9: RETRY at another time than its delay';
            ELSIF is_sweep AND NOT is_sessions THEN
                RETURN 'I9: no sweep makes a RETRY of it';
            END IF;
        WHEN 'IN_PROGRESS > FAILED' THEN
            IF NOT last_attempt AND NOT gives_up THEN
                RETURN 'I9: FAILED with attempts left';
            END IF;
        WHEN 'FAILED > SCHEDULED' THEN
            attempt := 0;
        ELSE
            IF n IS NOT NULL THEN
                RETURN 'I9: no such edge';
            END IF;
            RETURN NULL; -- completion: the checker compares the guard with the client that completed
    END CASE;
    IF n.attempt IS DISTINCT FROM attempt THEN
        RETURN 'I8: the attempt is not what follows';
    ELSIF n.state NOT IN ('RESERVED', 'IN_PROGRESS') AND n.lease IS NOT NULL THEN
        RETURN 'I6: a lease outlives its state';
    ELSIF o.params <> n.params OR o.id <> n.id THEN
        RETURN 'I23: the job is another';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION chaos.audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.edges (job, token, old_state, new_state, old_attempt, new_attempt, old_lease, new_lease,
                             old_expires, new_expires, now, given_up, fault)
    VALUES (COALESCE(NEW.id, OLD.id), COALESCE(NEW.params, OLD.params) ->> 'token', OLD.state, NEW.state,
            OLD.attempt, NEW.attempt, OLD.lease, NEW.lease, OLD.expires, NEW.expires, NEW.updated_at AT TIME ZONE 'UTC',
            NEW.state = 'FAILED' AND OLD.state <> 'FAILED' AND chaos.gives_up(NEW), chaos.fault(OLD, NEW));
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.jobs FOR EACH ROW EXECUTE FUNCTION chaos.audit();

-- Performs a job of ecto_job_consumer --sql: inserts an effect, and sometimes raises an error after it
CREATE FUNCTION chaos.perform(params jsonb, job ecto_job.job) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.effects (path, token, job, attempt, lease)
    VALUES ('sql', params ->> 'token', job.id, job.attempt, job.lease);
    IF random() < 0.1 THEN
        RAISE 'this job fails now and then';
    END IF;
END $$;
