"""A claim of 10 jobs, on a clean table, and after 500,000 jobs were finished under another session's old
snapshot, which prevents the removal of their dead index entries.

Commits do not flush, since flushes would hide the difference. One case makes as many claims in a row as samples;
another makes the claims of a consumer that has little to do, after all these jobs and more are finished."""

import statistics
import time

import psycopg

import report as reports
import sides
from measures.drain import trip

MEASURE = "claim under an old snapshot"
DEMAND, RARE_JOBS = 10, 5
NO_FLUSH = "-c synchronous_commit=off"


def delete_first(side, order):
    """Deletes the finished jobs in one statement, since claims of them would take minutes."""
    return f"DELETE FROM {side.table} WHERE id IN (SELECT id FROM {side.table} ORDER BY {order} LIMIT %s)"


class Ours:
    def __init__(self):
        self.side = sides.ours()
        self.steps = [trip((self.side.start(DEMAND), "claim")), trip((self.side.complete_all(), "jobs"))]

    def finish(self, server, count):
        steps = [trip((self.side.start(1000), "claim")), trip((self.side.complete_all(), "jobs"))]
        server.run_client("drain", {"limit": count, "steps": steps})


class Handwritten:
    def __init__(self):
        self.side = sides.handwritten()
        self.steps = [trip((self.side.claim(DEMAND), "claim"))]

    def finish(self, server, count):
        with server.connect() as connection:
            connection.execute(delete_first(self.side, "run_at, id"), [count])


class Elixir:
    def __init__(self):
        self.side = sides.elixir()
        delete = f"DELETE FROM {self.side.table} WHERE id = ANY ($1::bigint[])"
        self.steps = [trip((self.side.reserve(DEMAND), "claim")), trip((delete, "jobs"))]

    def finish(self, server, count):
        with server.connect() as connection:
            connection.execute(delete_first(self.side, "priority, schedule, id"), [count])


def claims_in_a_row(server, way, claims):
    script = {"limit": claims * DEMAND, "times": True, "steps": way.steps}
    with psycopg.connect("", autocommit=True) as connection:
        connection.execute("ALTER ROLE bench SET synchronous_commit = off")
        try:
            return [us / 1000 for _, us in server.run_client("drain", script)["times"]]
        finally:
            connection.execute("ALTER ROLE bench RESET synchronous_commit")


def claims_of_rare_jobs(server, way):
    """Measures with all other jobs finished: a job is enqueued each second, and the consumer claims after each."""
    claim = next(statement["sql"] for statement in way.steps[0]["trip"])
    found, empty = [], []
    with server.connect(options=NO_FLUSH) as connection:
        for _ in range(RARE_JOBS + 1):  # the first claim makes the plan
            time.sleep(1)
            connection.execute(way.side.insert("'{}'"))
            for times, rows in ((found, 1), (empty, 0)):
                start = time.monotonic()
                if len(connection.execute(claim).fetchall()) != rows:
                    raise RuntimeError(f"{way.side.name}: other jobs are left")
                times.append(1000 * (time.monotonic() - start))
    return found[1:], empty[1:]


def run(server, report, options):
    jobs = options.finished + 3 * options.samples * DEMAND
    case = f"claim of {DEMAND}, {options.finished:,} finished"
    for turn in range(options.rounds):
        for way in options.turn([Ours(), Handwritten(), Elixir()], turn):
            side = way.side
            side.make(server)
            side.fill(server, jobs, options.params[0])
            server.scheduler_at_rest()
            clean = claims_in_a_row(server, way, options.samples)
            with server.old_snapshot():
                way.finish(server, options.finished)
                held = claims_in_a_row(server, way, options.samples)
                way.finish(server, jobs)
                found, empty = claims_of_rare_jobs(server, way)
            for name, times in (("clean", clean), ("old snapshot", held)):
                report.add(MEASURE, f"{case}, {name}, median", side.name, statistics.median(times), "ms", side.peer,
                           False)
                report.add(MEASURE, f"{case}, {name}, mean", side.name, statistics.fmean(times), "ms", side.peer, False)
                report.add(MEASURE, f"{case}, {name}, p99", side.name, reports.percentile(times, 99), "ms", side.peer,
                           False)
            for name, times in (("finds the job that came", found), ("finds nothing", empty)):
                report.add(MEASURE, f"a job a second, old snapshot, claim that {name}, median", side.name,
                           statistics.median(times), "ms", side.peer, False)
            for kind, value in (("median", statistics.median), ("mean", statistics.fmean)):
                report.add(MEASURE, f"{case}, old snapshot / clean, {kind}", side.name, value(held) / value(clean),
                           "times", side.peer, False)
            side.drop(server)
    for kind in ("median", "mean"):
        times = report.median(MEASURE, f"{case}, old snapshot / clean, {kind}", "ecto_job", "times")
        report.bound(f"a claim under an old snapshot: at most 1.5 times a clean one ({kind})", times, 1.5)
