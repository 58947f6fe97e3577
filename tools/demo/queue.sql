-- make quickstart: a queue with short times, and a table that records each change of a job's state.
-- An ordinary role that owns the database runs this: after CREATE EXTENSION nothing needs a superuser.
SELECT ecto_job.create_queue('jobs');
SELECT ecto_job.configure_queue('jobs', poll_interval => '1 s', reservation_timeout => '5 s',
                                execution_timeout => '10 s', retry_timeout => '1 s', max_attempts => 3);

CREATE TABLE history (n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, line text);

CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    job public.jobs := coalesce(NEW, OLD);
    news text := CASE WHEN TG_OP = 'DELETE' THEN 'done' ELSE NEW.state END;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.history (at, line)
    VALUES (clock_timestamp(), format('job %s  %-28s %-12s %s', job.id, job.params ->> 'task', news, CASE news
        WHEN 'SCHEDULED' THEN 'until its time has come'
        WHEN 'IN_PROGRESS' THEN format('attempt %s of %s', job.attempt, job.max_attempts)
        WHEN 'RETRY' THEN format('again in %s s: %s', round(extract(epoch FROM job.schedule - clock_timestamp())), job.error)
        WHEN 'FAILED' THEN format('no attempt left: %s', job.error)
        ELSE '' END));
    RETURN NULL;
END
$$;
CREATE TRIGGER remember AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION remember();
