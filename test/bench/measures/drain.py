"""Draining a queue, from AVAILABLE to deleted, by ecto_job_consumer and by a loop of libpq.

The loop is the same program for every side (client/drain.cpp); the sides differ in their statements:

batches of 100  one connection; one commit and one round trip for each batch, on either side
a commit a job  8 connections; each job is deleted in the transaction of its own writes. Ours starts 100 jobs
                with one commit and then commits for each job, as the handwritten form does; or completes a job
                and starts the next in one commit. A fifth of the jobs, since this takes longer

Jobs do nothing, so that only the queue is measured, or insert one row, as an application's job would.
"""

import subprocess
import time

import sides

CONNECTIONS = 8
BATCH = 100


def trip(*statements):
    return {"trip": [{"sql": sql, "use": use} if use else {"sql": sql} for sql, use in statements]}


def each(*trips):
    return {"each": [trip(*statements)["trip"] for statements in trips]}


BEGIN, COMMIT = ("BEGIN", ""), ("COMMIT", "")
WRITE_ALL = ("INSERT INTO effects (job) SELECT unnest($1::bigint[])", "jobs")
WRITE = ("INSERT INTO effects (job) VALUES ($1::bigint)", "job")
WRITE_BY_CONSUMER = "INSERT INTO effects (job) VALUES (($1 ->> 'n')::bigint)"


def ours_batched(side, demand, write):
    finish = [BEGIN, (side.complete_all(), "jobs")]
    claim = [(side.start(demand), "claim"), COMMIT]
    return [trip(*finish), trip(WRITE_ALL, *claim)] if write else [trip(*finish, *claim)]


def ours_in_two_steps(side, demand, write):
    """The simplest loop: start and complete, each with a round trip and a commit."""
    finish = [(side.complete_all(), "jobs")]
    return [trip((side.start(demand), "claim")), trip(*([BEGIN, *finish, WRITE_ALL, COMMIT] if write else finish))]


def ours_each(side, demand, write):
    finish = [BEGIN, (side.complete_one(), "job")] + ([WRITE] if write else []) + [COMMIT]
    return [trip((side.start(demand), "claim")), each(finish)]


def ours_by_ectojobs_functions(side, demand, write):
    """The loop of EctoJob: reserve, progress, delete."""
    reserve = f"SELECT id, attempt, lease FROM ecto_job.reserve_available_jobs('{side.table}', {demand})"
    progress = f"""SELECT id FROM ecto_job.update_job_in_progress('{side.table}', $1::bigint, $2::int,
                                                                  lease => $3::bigint)"""
    delete = f"SELECT ecto_job.initial_multi('{side.table}', $1::bigint, $2::int + 1, $3::bigint)"
    finish = [BEGIN, (delete, "job")] + ([WRITE] if write else []) + [COMMIT]
    return [trip((reserve, "claim")), each([(progress, "job")], finish)]


def handwritten(side, demand, write):
    steps = [trip(COMMIT, BEGIN, (side.claim(demand), "claim"))]
    return steps + ([trip(WRITE_ALL)] if write else [])


def elixir(side, demand, write):
    finish = [BEGIN, (side.delete(), "job")] + ([WRITE] if write else []) + [COMMIT]
    return [trip((side.reserve(demand), "claim")), each([(side.progress(), "job")], finish)]


class Loop:
    """A side drained by the benchmark's own client."""

    def __init__(self, name, side, steps, demand, connections=1):
        self.side, self.steps, self.demand, self.connections = side, steps, demand, connections
        self.name, self.peer = name, side.peer

    def seconds(self, server, jobs, write):
        script = {"connections": self.connections, "limit": jobs,
                  "steps": self.steps(self.side, self.demand, write)}
        result = server.run_client("drain", script)
        return result["seconds"] * jobs / result["jobs"]


class Consumer:
    """Ours, drained by ecto_job_consumer, from its start to the last job's end."""

    def __init__(self, name, *arguments, performs=("--sql", "SELECT 1"), writes=("--sql", WRITE_BY_CONSUMER)):
        self.name, self.arguments, self.performs, self.writes = name, arguments, performs, writes
        self.side, self.peer = sides.ours(), False

    def seconds(self, server, jobs, write):
        performs = self.writes if write else self.performs
        command = ["ecto_job_consumer", "--queue", self.side.table, "--log-level", "warning", *self.arguments,
                   *performs]
        left = f"SELECT EXISTS (SELECT FROM {self.side.table} WHERE priority = 0 AND in_play)"
        with server.connect() as connection:
            start = time.monotonic()
            process = subprocess.Popen(command)
            while connection.execute(left).fetchone()[0]:
                if process.poll() is not None:
                    raise RuntimeError(f"{command} ended: {process.returncode}")
                time.sleep(0.005)
            seconds = time.monotonic() - start
            process.terminate()  # the waiting jobs behind the measured ones stay
            process.wait()
        return seconds


def batch_sides():
    return [
        Loop("libpq, one commit a batch", sides.ours(), ours_batched, BATCH),
        Loop("libpq, start and complete", sides.ours(), ours_in_two_steps, BATCH),
        Loop("handwritten", sides.handwritten(), handwritten, BATCH),
        Consumer("ecto_job_consumer --sql, a commit a batch",
                 "-j", "2", "--batch", str(BATCH), "--per-transaction", str(BATCH)),
    ]


def single_sides():
    jobs = ("-j", str(CONNECTIONS))
    return [
        Loop("libpq, start 100, complete each", sides.ours(), ours_each, BATCH, CONNECTIONS),
        Loop("libpq, complete and start next", sides.ours(), ours_batched, 1, CONNECTIONS),
        Loop("libpq, reserve 100, progress, delete", sides.ours(), ours_by_ectojobs_functions, BATCH, CONNECTIONS),
        Loop("handwritten", sides.handwritten(), handwritten, 1, CONNECTIONS),
        Loop("EctoJob 3.1", sides.elixir(), elixir, BATCH, CONNECTIONS),
        Consumer("ecto_job_consumer --sql", *jobs),
        Consumer("ecto_job_consumer --sql --batch 100", *jobs, "--batch", str(BATCH)),
        Consumer("ecto_job_consumer --exec true", *jobs, performs=("--exec", "true"), writes=None),
    ]


def cases(options):
    """Returns the cases, as (waiting, size, write)."""
    if options.full:
        return [(w, s, write) for w in options.waiting for s in options.params for write in (False, True)]
    waiting, size = options.waiting[0], options.params[0]
    others = [(waiting, size, True)]
    others += [(more, size, False) for more in options.waiting[1:]]
    others += [(waiting, larger, False) for larger in options.params[1:]]
    return list(dict.fromkeys([(waiting, size, False)] + others))


def measure(server, report, options, mode, drainers, share, case):
    waiting, size, write = case
    jobs = max(1, options.jobs // share)
    name = f"drain, {mode}"
    what = f"{'one insert' if write else 'no-op'}, {size} B params, {waiting:,} waiting"
    for turn in range(options.rounds):
        for drainer in options.turn(drainers(), turn):
            if write and isinstance(drainer, Consumer) and drainer.writes is None:
                continue
            server.execute("DROP TABLE IF EXISTS effects", "CREATE TABLE effects (job bigint)")
            drainer.side.make(server)
            drainer.side.fill(server, jobs, size, waiting)
            server.scheduler_at_rest()
            before = server.statistics(drainer.side.table)
            with server.spending() as spent:
                seconds = drainer.seconds(server, jobs, write)
                after = server.statistics(drainer.side.table)
            report.add(name, what, drainer.name, jobs / seconds, "jobs/s", drainer.peer, True)
            commits = (after["commits"] - before["commits"]) / jobs
            report.add(name, what, drainer.name, commits, "commits a job", drainer.peer)
            report.add(name, what, drainer.name, spent.cpu / jobs, "µs of the server's processor a job",
                       drainer.peer, False)
            drainer.side.drop(server)
    return name, what


def run(server, report, options):
    for case in cases(options):
        batched = measure(server, report, options, f"batches of {BATCH}", batch_sides, 1, case)
        single = measure(server, report, options, "a commit a job", single_sides, 5, case)
        bound(report, batched, "libpq, one commit a batch", 0.6)
        bound(report, single, "libpq, start 100, complete each", 0.9)


def bound(report, measured, path, limit):
    """Compares by a path that is chosen in advance, since choosing the best of several would choose by chance."""
    speed, peer = (report.median(*measured, side, "jobs/s") for side in (path, "handwritten"))
    report.bound(f"{', '.join(measured)}: at least {limit} of handwritten ({path})", speed / peer, limit,
                 at_least=True)
