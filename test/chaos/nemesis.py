"""The nemesis: each method does one kind of harm and heals it before it returns. The seed gives the order of the
kinds; all kinds are done before one is repeated."""
import os
import random
import signal
import time

import psycopg

# Harms that do not affect the scheduler and its listeners, and harms after which the server continues at once
QUIET = ["kill_consumer", "pause_consumer", "old_snapshot", "notify_without_reason"]
GENTLE = QUIET + ["terminate_session"]
LOCKS = ["lock_table", "lock_rows", "disable_a_while", "reload_settings"]
CRASHES = ["kill_session", "kill_scheduler", "kill_launcher", "immediate_shutdown"]
# For clients of unique jobs and for sessions that wait. A crash ends all sessions, so crashes are few
KILLS = ["kill_consumer"] * 14 + ["terminate_scheduler", "terminate_session"] * 2 + ["kill_session", "kill_scheduler"]
SERVER = ["terminate_scheduler", "pause_session", "pause_scheduler", "pause_writer"]


class Nemesis:
    def __init__(self, run, kinds):
        """`run` is the Run of main.py: the servers, the processes and their shared state."""
        self.run = run
        self.random = random.Random(f"{run.shared.seed} nemesis")
        self.kinds = kinds
        self.turns = []
        self.done = []  # the kinds of harm, in their order
        self.snapshot = None
        self.furthest = 0  # the largest offset of the clock

    @property
    def server(self):
        return self.run.primary

    def strike(self):
        if not self.turns:
            self.turns = self.random.sample(self.kinds, len(self.kinds))
        kind = self.turns.pop()
        self.run.say(kind.replace("_", " "))
        try:
            getattr(self, kind)()
        except psycopg.OperationalError as error:
            self.run.say(f"{kind}: {str(error).strip()}")  # caused by harm of another kind
            self.server.wait_ready()
        self.done.append(kind)

    def has_been_round(self):
        return set(self.kinds) <= set(self.done)

    def heal(self):
        """Ends all harm, also the kinds that would last until their next call, and sets the clock right."""
        if self.snapshot:
            self.snapshot.close()
        if self.server.fakes_clock:
            # Waits until the leases end that were given while the clock was ahead
            with self.run.shared.disturbance():
                self.step(self.furthest + 10)

    def hold(self, longest=1.0):
        time.sleep(0.2 + self.random.random() * longest)

    def session(self):
        return self.server.connect("chaos")

    # Consumers

    def kill_consumer(self):
        self.run.consumers.kill(self.random)

    def pause_consumer(self):
        pause(self.run.consumers.some_pid(self.random), lambda: self.hold(1.5))

    # Sessions and server processes

    def terminate_session(self):
        with self.run.shared.disturbance():
            for _ in range(3):
                found = self.server.processes("client backend")
                if found:  # after a crash no client may be back
                    send(self.random.choice(found), signal.SIGTERM)

    def kill_session(self):
        self.crash("client backend")

    def kill_scheduler(self):
        self.crash("ecto_job scheduler")

    def kill_launcher(self):
        self.crash("ecto_job launcher")

    def crash(self, kind):
        with self.run.shared.disturbance():
            found = self.server.processes(kind)
            if found:
                self.server.crash_by(self.random.choice(found))

    def terminate_scheduler(self):
        with self.run.shared.disturbance():
            for pid in self.server.processes("ecto_job scheduler"):
                send(pid, signal.SIGTERM)

    def pause_session(self):
        self.pause_process("client backend")

    def pause_scheduler(self):
        self.pause_process("ecto_job scheduler")

    def pause_writer(self):
        self.pause_process("walwriter")

    def pause_process(self, kind):
        with self.run.shared.disturbance():
            found = self.server.processes(kind)
            if found:
                pause(self.random.choice(found), self.hold)

    def immediate_shutdown(self):
        with self.run.shared.disturbance():
            self.server.stop(signal.SIGQUIT)
            time.sleep(self.random.random())
            self.server.start()

    # Locks, snapshots, notifications, settings. None of them may disturb the quiet queue

    def lock_table(self):
        with self.session() as session:
            mode = self.random.choice(["SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"])
            session.execute(f"BEGIN; SET lock_timeout = '2s'; LOCK TABLE jobs IN {mode} MODE")
            self.hold()

    def lock_rows(self):
        with self.session() as session:
            session.execute("BEGIN; SELECT FROM jobs ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED")
            self.hold()

    def old_snapshot(self):
        """Holds a snapshot until the next call."""
        if self.snapshot:
            self.snapshot.close()
        self.snapshot = self.session()
        self.snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")

    def notify_without_reason(self):
        with self.session() as session:
            for number in range(50):
                session.execute(f"NOTIFY jobs; NOTIFY jobs, '{number}'")

    def disable_a_while(self):
        """Harms one database, which must not affect the other."""
        with self.session() as session:
            session.execute("SELECT ecto_job.disable()")
            self.hold(0.5)
            session.execute("SELECT ecto_job.enable()")

    def reload_settings(self):
        with self.run.shared.disturbance(), self.session() as session:
            for value in ("off", "on"):
                session.execute(f"ALTER SYSTEM SET ecto_job.enabled = {value}")
                session.execute("SELECT pg_reload_conf()")
                self.hold(0.5)

    # Clock and disk

    def step_clock(self):
        with self.run.shared.disturbance():
            for _ in range(2):
                self.step(self.random.choice([-3600, -5, -0.5, 0.5, 5, 3600]) * (0.5 + self.random.random()))
                self.hold()

    def step(self, offset):
        self.furthest = max(self.furthest, offset)
        self.server.step_clock(offset)
        self.run.shared.stepped_at[0] = time.monotonic()

    def fill_disk(self):
        filler = self.run.small_disk.parent / "filler"
        with self.run.shared.disturbance():
            try:
                with open(filler, "wb", buffering=0) as file:
                    for size in (1 << 20, 1 << 12):
                        fill(file, size)
                self.hold()
            finally:
                filler.unlink(missing_ok=True)


def fill(file, size):
    try:
        while True:
            file.write(bytes(size))
    except OSError:
        return


def send(pid, number):
    """Signals a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def pause(pid, while_paused):
    send(pid, signal.SIGSTOP)
    try:
        while_paused()
    finally:
        send(pid, signal.SIGCONT)
