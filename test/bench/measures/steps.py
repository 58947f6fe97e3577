"""The steps of a batch: the cost of starting, completing and committing a job in a loop of PL/pgSQL, without a
client: by our functions, by their statements alone, and by the statements on a table from which triggers, checks and
indexes are removed one after the other. An iteration completes a batch and starts the next, with one commit."""

import sides

MEASURE = "steps of a batch"
BATCH = 100
LEASE_ENDS = "now() + interval '5 minutes'"

FUNCTIONS = ("SELECT array_agg(id), array_agg(lease) INTO ids, leases FROM ecto_job.start_available_jobs('jobs', {batch})",
             "PERFORM ecto_job.complete_jobs('jobs', ids, leases)")
STATEMENTS = (f"""WITH started AS (
                      UPDATE jobs AS j SET state = 'IN_PROGRESS', attempt = j.attempt + 1, expires = {LEASE_ENDS},
                                           lease = turn, updated_at = timezone('UTC', now())
                      WHERE j.id = ANY (ARRAY(
                          SELECT w.id FROM jobs AS w WHERE w.in_play AND w.state = 'AVAILABLE'
                          ORDER BY w.priority, w.schedule, w.id LIMIT {{batch}} FOR UPDATE SKIP LOCKED))
                      RETURNING j.id, j.lease)
                  SELECT array_agg(id), array_agg(lease) INTO ids, leases FROM started""",
              """DELETE FROM jobs AS j WHERE j.id = ANY (ids) AND j.lease = leases[1]
                 AND j.state = ANY ('{RESERVED,IN_PROGRESS}')""")

NO_TRIGGERS = ["ALTER TABLE jobs DISABLE TRIGGER USER"]
NO_CHECKS = NO_TRIGGERS + [f"ALTER TABLE jobs DROP CONSTRAINT jobs_{name}_check"
                           for name in ("attempt", "max_attempts", "params", "state")]
BARE = NO_CHECKS + ["ALTER TABLE jobs ALTER in_play DROP EXPRESSION, ALTER waiting_key DROP EXPRESSION",
                    "ALTER TABLE jobs ALTER in_play SET DEFAULT true",
                    "DROP INDEX jobs_waiting_key_idx, jobs_schedule_idx"]


def handwritten_claim():
    return f"""WITH done AS ({sides.handwritten().claim(BATCH, "t.id")})
               SELECT array_agg(id) INTO ids FROM done"""


def ways():
    """Returns (name, side, (start, complete), the statements that remove parts of the side's table)."""
    return [
        ("functions", sides.ours(), FUNCTIONS, []),
        ("their statements", sides.ours(), STATEMENTS, []),
        ("no triggers", sides.ours(), STATEMENTS, NO_TRIGGERS),
        ("nor CHECKs", sides.ours(), STATEMENTS, NO_CHECKS),
        ("nor generated columns and two indexes", sides.ours(), STATEMENTS, BARE),
        ("handwritten", sides.handwritten(), (handwritten_claim(), None), []),
    ]


def loop(statements, jobs):
    start, complete = statements
    complete = f"IF ids IS NOT NULL THEN {complete}; END IF" if complete else "NULL"
    return f"""DO $$
        DECLARE
            ids bigint[]; leases bigint[]; spent float8[] := '{{0,0,0}}'; before timestamptz; after timestamptz;
        BEGIN
            FOR turn IN 1 .. {jobs // BATCH} LOOP
                before := clock_timestamp();
                {complete};
                after := clock_timestamp();
                spent[2] := spent[2] + extract(epoch FROM after - before);
                {start.format(batch=BATCH)};
                before := clock_timestamp();
                spent[1] := spent[1] + extract(epoch FROM before - after);
                COMMIT;
                spent[3] := spent[3] + extract(epoch FROM clock_timestamp() - before);
            END LOOP;
            INSERT INTO spent VALUES (spent);
        END $$"""


def run(server, report, options):
    jobs = max(BATCH, options.jobs // BATCH * BATCH)
    for turn in range(options.rounds):
        for name, side, statements, less in options.turn(ways(), turn):
            side.make(server)
            server.execute(*less, "DROP TABLE IF EXISTS spent", "CREATE TABLE spent (seconds float8[])")
            side.fill(server, jobs, options.params[0])
            server.scheduler_at_rest()
            # Planner settings as in our functions
            server.execute("SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = off",
                           "SET enable_bitmapscan = off", loop(statements, jobs))
            spent = server.value("SELECT seconds FROM spent")
            for step, seconds in zip(("start", "complete", "commit"), spent):
                report.add(MEASURE, step, name, 1e6 * seconds / jobs, "µs a job", side.peer)
            report.add(MEASURE, "in all", name, 1e6 * sum(spent) / jobs, "µs a job", side.peer)
            side.drop(server)
    server.execute("DROP TABLE IF EXISTS spent")
