"""This version of the extension beside another one: `make bench AGAINST=COMMIT`. Each has a server of its own, without
fsync, so that the disk does not hide the processor's time. The versions take turns, and each begins every other round.
The jobs use nothing but what both versions have."""

import contextlib
import os

import server as servers
import sides
from measures import drain, enqueue

MEASURE = "versions"
SETTINGS = {"fsync": "off", "shared_buffers": "512MB"}


class Version:
    def __init__(self, name, server, **environment):
        self.name, self.server, self.environment = name, server, environment

    @contextlib.contextmanager
    def selected(self):
        """Directs programs and connections to this version."""
        before = {name: os.environ[name] for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield self.server
        finally:
            os.environ.update(before)


def make_other(server, programs):
    """Returns the version whose PostgreSQL has its programs in this directory."""
    directory = server.directory / "other"
    directory.mkdir()
    other = Version("before", None, PATH=f"{programs}:{os.environ['PATH']}", PGHOST=str(directory))
    with other.selected():
        other.server = servers.Server(directory, server.client)
    return other


def wal(server):
    return server.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")


def add_costs(report, version, case, jobs, cpu, bytes_):
    report.add(MEASURE, case, version.name, cpu / jobs, "µs of the server's processor a job")
    report.add(MEASURE, case, version.name, float(bytes_) / jobs, "bytes of WAL a job")


def enqueued(report, version, server, clients, options):
    side = sides.ours()
    side.make(server)
    side.fill(server, 0, options.params[0])
    server.scheduler_at_rest()
    cpu, start = server.cpu_of_ended_sessions(), wal(server)
    speed, count = enqueue.transactions(server, side, options.params[0], clients, options.seconds)
    case = f"enqueue, {clients} clients"
    report.add(MEASURE, case, version.name, speed, "jobs/s")
    add_costs(report, version, case, count, server.cpu_of_ended_sessions() - cpu, wal(server) - start)
    side.drop(server)


def drained(report, version, server, loop, case, jobs, options):
    loop.side.make(server)
    loop.side.fill(server, jobs, options.params[0])
    server.scheduler_at_rest()
    before, cpu, start = server.statistics(loop.side.table), server.cpu_of_ended_sessions(), wal(server)
    report.add(MEASURE, case, version.name, jobs / loop.seconds(server, jobs, False), "jobs/s")
    add_costs(report, version, case, jobs, server.cpu_of_ended_sessions() - cpu, wal(server) - start)
    after = server.statistics(loop.side.table)
    updates = after["updates"] - before["updates"]
    report.add(MEASURE, case, version.name, 100 * (after["hot"] - before["hot"]) / updates, "% of the updates are HOT")
    loop.side.drop(server)


def run(server, report, options):
    server.start(**SETTINGS)
    other = make_other(server, options.against)
    try:
        with other.selected():
            other.server.start(**SETTINGS)
        for turn in range(options.rounds):
            for version in options.turn([Version("now", server), other], turn % 2):
                with version.selected() as selected:
                    for clients in options.clients[:2]:
                        enqueued(report, version, selected, clients, options)
                    batches = drain.Loop("", sides.ours(), drain.ours_batched, drain.BATCH)
                    drained(report, version, selected, batches, "drain, batches of 100", options.jobs, options)
                    single = drain.Loop("", sides.ours(), drain.ours_each, drain.BATCH, drain.CONNECTIONS)
                    drained(report, version, selected, single, "drain, a commit a job", max(1, options.jobs // 5), options)
    finally:
        with other.selected():
            other.server.stop()
