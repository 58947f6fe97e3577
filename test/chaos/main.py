"""Runs acts, each with a cluster of its own, and prints their results. See `run` for the environment.

An act makes the cluster and its queues, starts clients, and lets the nemesis work until the time is over and each kind
of harm was done. Then all harm is healed, the remaining jobs are performed, and the checker compares."""
import argparse
import contextlib
import ctypes
import multiprocessing
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import psycopg

import consumers
import crew
import nemesis
import order
import producers
import quiet_queue
import unique_jobs
import upkeep
import waiting
from checker import SHOWN, Check, Checker, Failover
from client import CALM, RUN, STOP
from cluster import Server, log_faults, wait_until

HERE = pathlib.Path(__file__).parent
DRAIN_SECONDS = 90
PATHS = [*consumers.PATHS, *crew.PROGRAMS]
KEYS_AND_WAITS = ["keys", "waits"]  # paths that have queues of their own


class Shared:
    """The state that all processes of an act share."""

    def __init__(self, context, seed, histories, servers):
        self.seed = seed
        self.histories = str(histories)
        self.hosts = ",".join(str(server.directory) for server in servers)
        self.server = f"host={self.hosts} target_session_attrs=read-write"
        self.phase = context.RawValue(ctypes.c_int, RUN)
        # Whether the server is disturbed now; the time at which the last disturbance ended
        self.disturbed = context.RawArray(ctypes.c_double, [0, 0])
        # waiting.py: whether there is a storm, the longest pause of its enqueuers in seconds, and whether a wake-up may
        # have been lost
        self.storm = context.RawValue(ctypes.c_int, 0)
        self.suspects = context.RawValue(ctypes.c_int, 0)
        self.storm_pause = context.RawValue(ctypes.c_double, 0.05)
        self.stepped_at = context.RawArray(ctypes.c_double, [float("-inf")])
        self.lease = 1.0  # time limit of the first attempt in seconds; later ones have a multiple
        self.work = 0.01  # longest time of a job in seconds, except jobs that deliberately outlast their leases
        self.slowness = 0.02
        self.failures = 0.1
        self.producer_pause = 0.04
        self.has_library = True
        self.notes_positions = False

    @contextlib.contextmanager
    def disturbance(self):
        """Opens a context in which the server need not announce jobs in time. Contexts do not overlap, since only the
        nemesis opens them."""
        self.disturbed[0] = 1
        try:
            yield
        finally:
            self.disturbed[1] = time.monotonic()
            self.disturbed[0] = 0

    def disturbed_until(self):
        return float("inf") if self.disturbed[0] else self.disturbed[1]


@dataclass
class Act:
    name: str
    seconds: float
    harms: list
    standby: str = None  # None, "synchronous", "asynchronous"
    fakes_clock: bool = False
    flushes: bool = False
    has_library: bool = True  # some clients use EctoJob's statements
    paths: list = field(default_factory=lambda: PATHS)


class Run:
    """One act."""

    def __init__(self, act, context, directory, seed, small_disk=None):
        self.act = act
        self.directory = pathlib.Path(directory, act.name)
        self.directory.mkdir()
        histories = self.directory / "histories"
        histories.mkdir()
        self.small_disk = small_disk
        self.servers = [Server(self.directory, name) for name in ("a", "b")[:2 if act.standby else 1]]
        self.primary = self.servers[0]
        self.shared = Shared(context, f"{seed} {act.name}", histories, self.servers)
        self.shared.has_library = act.has_library
        self.shared.notes_positions = act.standby == "asynchronous"
        self.consumers = crew.Crew(self.shared, context)
        self.began = time.monotonic()
        self.failover = None

    def say(self, text):
        print(f"  {time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    # Before the act

    def make_cluster(self):
        self.primary.fakes_clock = self.act.fakes_clock
        self.primary.init()
        # Only processes are killed, not the machine, so writes survive without a flush
        self.primary.configure(f"fsync = {'on' if self.act.flushes else 'off'}")
        if self.act.fakes_clock:
            self.primary.step_clock(0)
        self.primary.start()
        self.primary.sql("CREATE ROLE app LOGIN")
        space = ""
        if self.small_disk:
            self.primary.sql(f"CREATE TABLESPACE small LOCATION '{self.small_disk}'")
            self.primary.sql("GRANT CREATE ON TABLESPACE small TO app")
            space = "SET default_tablespace = small;"
        for database in ("chaos", "quiet"):
            self.primary.sql(f"CREATE DATABASE {database} OWNER app")
            self.primary.sql("CREATE EXTENSION ecto_job", database)
        self.as_app("quiet", "SELECT ecto_job.create_queue('quiet_jobs', 'public')")
        self.as_app("chaos", space + f"SELECT ecto_job.create_queue('jobs', 'public', ectojob => {self.act.has_library})")
        self.as_app("chaos", "SELECT ecto_job.configure_queue('jobs', '60 s', '0.5 s', '0.5 s', '0.1 s', 3)")
        self.as_app("chaos", "SELECT ecto_job.create_queue('ordered', 'public')")
        self.as_app("chaos", unique_jobs.SETUP)
        self.as_app("chaos", (HERE / "audit.sql").read_text())
        queues_of = {"chaos": 3, "quiet": 1}
        if "waits" in self.act.paths:
            self.primary.sql(f"CREATE DATABASE {waiting.DATABASE} OWNER app")
            self.primary.sql("CREATE EXTENSION ecto_job", waiting.DATABASE)
            self.as_app(waiting.DATABASE, waiting.SETUP)
            queues_of[waiting.DATABASE] = len(waiting.QUEUES)
        for database, queues in queues_of.items():
            wait_until(lambda: self.primary.sql("SELECT count(*) FROM ecto_job.queues WHERE status = 'ok'",
                                                database)[0][0] == queues, "the scheduler")
        if self.act.standby:
            self.make_standby()

    def as_app(self, database, text):
        with psycopg.connect(host=str(self.primary.directory), user="app", dbname=database, autocommit=True) as session:
            session.execute(text)

    def make_standby(self):
        standby = self.servers[1]
        standby.copy_of(self.primary)
        standby.start()
        wait_until(lambda: self.primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
                   [0][0] == 1, "the standby")
        if self.act.standby == "synchronous":
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.primary.sql("SELECT pg_reload_conf()")
            wait_until(lambda: self.primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
                       [0][0] == 1, "the standby to be synchronous")

    def start_keys(self):
        for number in range(8):
            program = unique_jobs.KEEPER if number < 6 else "replacer"
            self.consumers.add(f"enqueuer{number}", unique_jobs.enqueue, program)
        for number in range(4):
            self.consumers.add(f"unique{number}", unique_jobs.consume, consumer=True)
        self.consumers.add("poller", unique_jobs.poll)

    def start_waits(self):
        for number in range(3):
            self.consumers.add(f"waits-enqueuer{number}", waiting.enqueue)
        for number in range(8):
            self.consumers.add(f"waiter{number}", waiting.wait, consumer=True)
        self.consumers.add("referee", waiting.referee)

    def start_clients(self, paths):
        if "keys" in paths:
            self.start_keys()
        if "waits" in paths:
            self.start_waits()
        if not set(paths) <= set(KEYS_AND_WAITS):
            self.start_clients_of_jobs(paths)

    def start_clients_of_jobs(self, paths):
        for number in range(2):
            self.consumers.add(f"producer{number}", producers.produce)
        for number, path in enumerate(paths):
            if path in crew.PROGRAMS:
                self.consumers.add_program(path)
            else:
                self.consumers.add(f"{path}-{number}", consumers.consume, path, consumer=True)
        self.consumers.add("upkeep", upkeep.keep_up)
        self.consumers.add("quiet", quiet_queue.watch)
        self.consumers.add("order", order.keep_order)
        for number in range(3):
            self.consumers.add(f"unique{number}", unique_jobs.work)

    # During the act

    def fail_over(self):
        old, new = self.servers
        self.say(f"{self.act.standby} failover")
        with self.shared.disturbance():
            if self.act.standby == "asynchronous":
                # The standby falls behind, so that commits can be lost
                new.sql("ALTER SYSTEM SET primary_conninfo = ''")
                new.sql("SELECT pg_reload_conf()")
                time.sleep(1)
            old.stop(signal.SIGQUIT)
            subprocess.run(["pg_ctl", "-D", new.data, "promote", "-w"], check=True, stdout=subprocess.DEVNULL)
            self.primary = new
            self.failover = Failover(time.monotonic(), switch_position(new), self.act.standby == "asynchronous")

    def strike_until(self, deadline, harm, stop=lambda: False):
        while (time.monotonic() < deadline or not harm.has_been_round()) and not stop():
            if not self.shared.suspects.value:
                harm.strike()
            self.consumers.tend()
            time.sleep(harm.random.random() * 0.6)

    def drain(self):
        self.shared.phase.value = CALM
        self.say("healed; the rest is done")
        limit = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < limit:
            self.consumers.tend()
            if self.primary.sql("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM unique_jobs)",
                                "chaos")[0][0] == 0 and \
                    self.primary.sql("SELECT count(*) FROM pg_prepared_xacts WHERE database = 'chaos'")[0][0] == 0:
                return
            time.sleep(0.2)

    def stop_clients(self):
        """Returns the clients that do not end by themselves."""
        self.shared.phase.value = STOP
        if "waits" in self.act.paths:
            wait_until(lambda: waiting.end_waits(self.primary), "the sessions that wait")
        return self.consumers.stop()

    def check(self, at_end):
        checker = Checker(self.primary, self.shared.histories, self.failover)
        return checker, checker.run(at_end)

    def play(self):
        """Returns the checks, and the numbers for the table."""
        harm = nemesis.Nemesis(self, self.act.harms)
        self.say("setting up")
        self.make_cluster()
        self.start_clients([path for path in self.act.paths if self.act.has_library or path != "ectojob"])
        self.say("the nemesis begins")
        self.began = time.monotonic()
        if self.act.standby:
            self.strike_until(self.began + self.act.seconds / 2, harm)
            self.fail_over()
        self.strike_until(self.began + self.act.seconds, harm)
        harm.heal()
        self.drain()
        self.say("all is done")
        hanging = self.stop_clients()
        self.say("checking")
        checker, checks = self.check(at_end=True)
        seen, numbers = self.numbers(checker, harm)
        idle = [what for what in seen if not numbers.get(what)]
        checks += [Check("processes", "no client hangs at the end", hanging),
                   Check("logs", "no server complains of itself", [line for server in self.servers
                                                                   for line in log_faults(server)]),
                   Check("coverage", "everything was there to be seen", idle)]
        return checks, numbers

    def numbers(self, checker, harm):
        """Returns the names of the numbers that must not be 0, and the numbers."""
        if self.act.paths == KEYS_AND_WAITS:
            numbers = checker.numbers_of_keys_and_waits()
            numbers |= {kind.replace("_", " "): harm.done.count(kind) for kind in sorted(set(harm.done))}
            return list(numbers), numbers
        numbers = checker.numbers()
        if self.act.name != "crash":
            return ["completed"], numbers  # these acts are too short for the other kinds
        return [f"by {path}" for path in PATHS] + ["snoozed", "by upkeep", "refused", "announced", "claims in order",
                                                   "kept", "superseded"], numbers

    def play_until_fault(self, paths):
        """Runs against sources without a guard; returns the checks that failed first."""
        harm = nemesis.Nemesis(self, self.act.harms)
        self.make_cluster()
        self.start_clients(paths)
        self.began = time.monotonic()
        found = []

        def is_found():
            found[:] = [check for check in self.check(at_end=False)[1] if check.faults]
            return bool(found)
        while not found and time.monotonic() < self.began + self.act.seconds:
            self.strike_until(time.monotonic() + 1, harm, is_found)
        self.stop_clients()
        return found

    def close(self):
        self.shared.phase.value = STOP
        for server in self.servers:
            if server.process and server.process.poll() is None:
                server.stop(signal.SIGQUIT)


def switch_position(server):
    """Returns the WAL position at which the server's timeline branched off."""
    lines = (server.data / "pg_wal" / "00000002.history").read_text().split()
    high, low = re.fullmatch(r"([0-9A-F]+)/([0-9A-F]+)", lines[1]).groups()
    return int(high, 16) << 32 | int(low, 16)


def tell(checks):
    failed = 0
    for check in checks:
        failed += bool(check.faults)
        print(f"  {'FAILED' if check.faults else 'ok    '} {check.name:<13} {check.what}")
        for fault in check.faults[:SHOWN]:
            print(f"           {fault}")
        if len(check.faults) > SHOWN:
            print(f"           and {len(check.faults) - SHOWN} more")
    return failed


def tell_at_end(failures):
    """Prints the section "== Failed" that tools/lib/failures.sh describes."""
    if failures:
        print("\n== Failed")
    for name, faults in failures:
        print(name)
        for fault in faults[:max(1, 40 // len(failures))]:
            print("    " + " ".join(str(fault).split()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default="")
    parser.add_argument("--small-disk", type=pathlib.Path)
    parser.add_argument("--wait-seconds", type=float, default=30, help="time of the act keys")
    parser.add_argument("--acts", nargs="*", default=[], help="only these acts")
    parser.add_argument("--mutant", nargs="*", metavar="PATH",
                        help="run until consumers of these paths find the first fault; status 0 if they find none")
    options = parser.parse_args()
    seed = options.seed or str(random.SystemRandom().randrange(10**9))
    print(f"CHAOS_SEED={seed}")
    context = crew.make_context()

    if options.mutant is not None:
        act = Act("mutant", options.seconds, nemesis.QUIET, flushes=True, paths=options.mutant)
        if set(act.paths) <= set(KEYS_AND_WAITS):
            act.harms, act.flushes = nemesis.KILLS, False
        run = Run(act, context, options.directory, seed)
        # Few jobs, many of which outlast their leases, so that other consumers get jobs that are still held
        run.shared.producer_pause, run.shared.lease, run.shared.work = 0.3, 0.3, 0.1
        run.shared.slowness = run.shared.failures = 0.3
        try:
            failed = tell(run.play_until_fault(options.mutant))
            print(f"found after {time.monotonic() - run.began:.0f}" if failed else "found nothing")
        finally:
            run.close()
        sys.exit(failed > 0)

    harms = nemesis.GENTLE + nemesis.LOCKS + nemesis.CRASHES + nemesis.SERVER
    acts = [Act("crash", options.seconds * 0.45, harms + (["fill_disk"] if options.small_disk else [])),
            Act("clock", options.seconds * 0.15, nemesis.GENTLE + ["step_clock"], fakes_clock=True),
            Act("synchronous", options.seconds * 0.2, nemesis.GENTLE, standby="synchronous", has_library=False),
            Act("asynchronous", options.seconds * 0.2, nemesis.GENTLE, standby="asynchronous", has_library=False),
            Act("keys", options.wait_seconds, nemesis.KILLS, paths=KEYS_AND_WAITS)]
    acts = [act for act in acts if not options.acts or act.name in options.acts]
    passed = failed = 0
    failures = []
    for act in acts:
        print(f"\n== {act.name}")
        run = Run(act, context, options.directory, seed, options.small_disk if "fill_disk" in act.harms else None)
        try:
            checks, numbers = run.play()
        finally:
            run.close()
        print("  " + ", ".join(f"{count} {what}" for what, count in numbers.items()))
        bad = tell(checks)
        failed += bad
        passed += len(checks) - bad
        failures += [(f"chaos {act.name}: {check.name}: {check.what}", check.faults) for check in checks if check.faults]
    if not failed:
        pathlib.Path(options.directory, "passed").touch()
    tell_at_end(failures)
    print(f"\n{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
