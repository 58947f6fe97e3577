"""Single jobs: one process enqueues them at random times, another waits for them. This module starts both, and joins
their records by the job's number."""

import contextlib
import os
import subprocess
import time

import report
import server as servers
import sides

GAP_US = 50_000  # average time between two jobs, so that one is done before the next is enqueued


def columns(row="", params="params", schedule="schedule", attempt="attempt", expires="expires", lease="lease"):
    """Returns the columns that a claim returns to the client; see client/stream.cpp."""
    return (f"{row}{params} ->> 'n' AS n, {row}id AS id, {lease} AS lease, {attempt} AS attempt,"
            f" extract(epoch FROM {schedule}) AS schedule, extract(epoch FROM {expires}) AS expires")


def claim(side, timeout="NULL"):
    """Returns our statement that starts one job."""
    return f"SELECT {columns()} FROM ecto_job.start_available_jobs('{side.table}', 1, {timeout})"


def params(size):
    return f"jsonb_build_object('n', $1::int, 'f', '{sides.filler(size)}')"


def produce(server, sql, count, gap_us=GAP_US):
    return server.start_client("produce", {"sql": sql, "count": count, "gap_us": gap_us, "delay": (0.1, 0.6)})


@contextlib.contextmanager
def waiting_client(server, **script):
    """Starts a client that waits for jobs; the client is ready when the block begins."""
    process = server.start_client("consume", script, stderr=subprocess.PIPE)
    if process.stderr.readline().strip() != "ready":
        raise RuntimeError(f"the client is not ready: {process.stderr.read()}")
    try:
        yield process
    finally:
        process.stderr.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def waiting_consumer(server, side, *arguments, **environment):
    """Starts ecto_job_consumer, which is ready when it has claimed once, and waits in the server."""
    process = subprocess.Popen(["ecto_job_consumer", "--queue", side.table, "--log-level", "warning", *arguments],
                               env=os.environ | environment)
    try:
        query = """SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ecto_job_consumer%%'
                   AND query LIKE 'CALL ecto_job.wait%%' AND wait_event_type = 'Extension'"""
        limit = time.monotonic() + servers.PATIENCE_S
        while not server.value(query, dbname="postgres"):
            if time.monotonic() > limit:
                raise TimeoutError("the consumer has not looked for jobs")
            time.sleep(0.02)
        time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait()


def add_percentiles(results, measure, case, side, values, peer=False):
    """Returns p50 and p99 of a round, in ms."""
    for percent in (50, 99):
        results.add(measure, f"{case}, p{percent}", side, report.percentile(values, percent), "ms", peer, False)
