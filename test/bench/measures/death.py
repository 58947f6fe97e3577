"""The time until the jobs of an ended session are given back, with ecto_job.session_leases. The session's client is
killed by SIGKILL, its backend is terminated, or the server crashes (measured from the end of recovery)."""

import contextlib
import json
import os
import signal
import time

import psycopg

import sides

MEASURE = "death"
HELD = 10
# By the state of a job in the session: the function that gives the job this state, and its state after the session's end
FUNCTIONS = {"RESERVED": ("reserve_available_jobs", "AVAILABLE"), "IN_PROGRESS": ("start_available_jobs", "RETRY")}
LIMIT_S = 30


class Holder:
    """Opens a session that holds jobs."""

    def __init__(self, server, side, function):
        take = f"SELECT id FROM ecto_job.{function}('{side.table}', {HELD})"
        self.process = server.start_client("hold", {"statements": ["SET ecto_job.session_leases = on", take]})
        self.ids = [int(job) for job in json.loads(self.process.stdout.readline())]
        self.backend = server.value("SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()",
                                    [f"%{function}%"])

    def end(self):
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()


def ms_until_given_back(connection, side, state):
    """Returns the time from now until all held jobs have the state; None at the time limit."""
    query = f"SELECT count(*) FROM {side.table} WHERE state = '{state}'"
    start = time.monotonic()
    while time.monotonic() - start < LIMIT_S:
        if connection.execute(query).fetchone()[0] == HELD:
            return 1000 * (time.monotonic() - start)
    return 1000 * LIMIT_S


def kill_client(_, holder):
    holder.process.kill()


def terminate(connection, holder):
    connection.execute("SELECT pg_terminate_backend(%s)", [holder.backend])


def crash(server, holder):
    """Returns a connection as soon as the restarted server takes one; all former sessions have ended by then."""
    with contextlib.suppress(psycopg.OperationalError), server.connect() as witness:
        os.kill(holder.backend, signal.SIGKILL)
        while True:
            witness.execute("SELECT 1")
            time.sleep(0.002)
    while True:
        try:
            return server.connect()
        except psycopg.OperationalError:
            time.sleep(0.002)


def fill(server, side):
    side.make(server)
    side.fill(server, HELD, 100)
    server.scheduler_at_rest()


def run(server, report, options):
    if not server.value("SELECT count(*) FROM pg_settings WHERE name = 'ecto_job.session_leases'"):
        report.note("death: this version has no ecto_job.session_leases")
        return
    side = sides.ours()
    worst = 0
    for state, (function, given_back) in FUNCTIONS.items():
        for name, kill in (("client killed", kill_client), ("backend terminated", terminate)):
            for _ in range(max(options.rounds, options.samples // 25)):
                fill(server, side)
                holder = Holder(server, side, function)
                with server.connect() as connection:
                    connection.execute("SELECT 1")
                    kill(connection, holder)
                    took = ms_until_given_back(connection, side, given_back)
                worst = max(worst, took)
                report.add(MEASURE, f"{HELD} jobs {state}, {name}", "ecto_job", took, "ms")
                holder.end()
    report.bound("jobs of a dead session are back within 100 ms (the slowest)", worst, 100, unit="ms")
    worst = 0
    for state, (function, given_back) in FUNCTIONS.items():
        for _ in range(options.rounds):
            fill(server, side)
            holder = Holder(server, side, function)
            with crash(server, holder) as connection:
                took = ms_until_given_back(connection, side, given_back)
            worst = max(worst, took)
            report.add(MEASURE, f"{HELD} jobs {state}, server crashed: after its first connection", "ecto_job", took,
                       "ms")
            holder.end()
    report.bound("jobs of a crashed server's sessions are back within 100 ms of its end of recovery (the slowest)",
                 worst, 100, unit="ms")
    side.drop(server)
