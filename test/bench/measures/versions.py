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
            yield
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


class Rounds:
    """The measures of one version, each on a new queue."""

    def __init__(self, version, report, options):
        self.version, self.report, self.options = version, report, options

    def add(self, case, value, unit):
        self.report.add(MEASURE, case, self.version.name, value, unit)

    def measure(self, case, waiting, work):
        """Measures work(), which has `waiting` jobs before it, and returns its speed and the number of its jobs."""
        server, side = self.version.server, sides.ours()
        side.make(server)
        side.fill(server, waiting, self.options.params[0])
        server.scheduler_at_rest()
        before = server.statistics(side.table)
        with server.spending() as spent:
            speed, jobs = work(server, side)
            after = server.statistics(side.table)
        self.add(case, speed, "jobs/s")
        self.add(case, spent.cpu / jobs, "µs of the server's processor a job")
        self.add(case, spent.wal / jobs, "bytes of WAL a job")
        if updates := after["updates"] - before["updates"]:
            self.add(case, 100 * (after["hot"] - before["hot"]) / updates, "% of the updates are HOT")
        side.drop(server)

    def enqueue(self, clients):
        self.measure(f"enqueue, {clients} clients", 0, lambda server, side: enqueue.transactions(
            server, side, self.options.params[0], clients, self.options.seconds))

    def drain(self, case, jobs, steps, connections):
        def work(server, side):
            return jobs / drain.Loop(case, side, steps, drain.BATCH, connections).seconds(server, jobs, False), jobs

        self.measure(f"drain, {case}", jobs, work)


def run(server, report, options):
    server.start(**SETTINGS)
    versions = [Version("now", server), make_other(server, options.against)]
    other = versions[1]
    try:
        with other.selected():
            other.server.start(**SETTINGS)
        for turn in range(options.rounds):
            for version in options.turn(versions, turn % 2):
                rounds = Rounds(version, report, options)
                with version.selected():
                    for clients in options.clients[:2]:
                        rounds.enqueue(clients)
                    rounds.drain("batches of 100", options.jobs, drain.ours_batched, 1)
                    rounds.drain("a commit a job", max(1, options.jobs // 5), drain.ours_each, drain.CONNECTIONS)
    finally:
        with other.selected():
            other.server.stop()
