"""Servers: made, started, ended in every way, and what their logs say."""
import os
import pathlib
import re
import signal
import subprocess
import time

import psycopg

CONF = """
listen_addresses = ''
unix_socket_directories = '{directory}'
shared_preload_libraries = 'ecto_job'
shared_buffers = 64MB
max_connections = 60
max_prepared_transactions = 20
autovacuum_naptime = 5s
log_line_prefix = '%m [%p] %b '
log_checkpoints = off
recovery_init_sync_method = syncfs
cluster_name = '{name}'
"""


def wait_until(condition, what, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


class Server:
    """A child of this process, so that it is known when it has ended. Its directory is its socket's, too."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory, name)
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.clock = self.directory / "clock"
        self.name = name
        self.process = None
        self.fakes_clock = False
        self.directory.mkdir()
        self.log.touch()

    def configure(self, text):
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(text + "\n")

    def init(self):
        subprocess.run(["initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8",
                        "-N"], check=True, stdout=subprocess.DEVNULL)
        self.configure(CONF.format(directory=self.directory, name=self.name))
        # The library that fakes the clock reads a file at each look at it, which is not safe in the handler
        # of a timeout that ends while a statement is executed
        if not self.fakes_clock:
            self.configure("client_connection_check_interval = 500ms")

    def copy_of(self, primary):
        """A standby of that server."""
        subprocess.run(["pg_basebackup", "-h", primary.directory, "-U", "postgres", "-D", self.data, "-R", "-c", "fast",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL)
        self.configure(CONF.format(directory=self.directory, name=self.name) + "synchronous_standby_names = ''")

    def start(self):
        environment = dict(os.environ)
        if self.fakes_clock:
            environment |= {"LD_PRELOAD": fake_clock_library(), "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(["postgres", "-D", self.data], stdout=log, stderr=log, env=environment)
        self.wait_ready()

    def wait_ready(self):
        wait_until(self.is_ready, f"server {self.name} to be ready")

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"server {self.name} has ended:\n" + self.log.read_text()[-2000:])
        try:
            self.sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database, program="nemesis"):
        return psycopg.connect(host=str(self.directory), user="postgres", dbname=database, autocommit=True,
                               application_name=program, connect_timeout=10)

    def sql(self, text, database="postgres", **parameters):
        with self.connect(database) as connection:
            cursor = connection.execute(text, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def stop(self, how):
        """SIGQUIT: immediate, SIGINT: fast."""
        self.process.send_signal(how)
        self.process.wait(60)

    def crash_by(self, pid):
        """SIGKILL for one of its processes; waits until the server has restarted the others."""
        restarts = self.restarts()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        wait_until(lambda: self.restarts() > restarts, "the server to notice a crash")
        self.wait_ready()

    def restarts(self):
        return self.log.read_text(errors="replace").count("all server processes terminated; reinitializing")

    def processes(self, kind):
        """Process ids, by pg_stat_activity.backend_type; not those of this program."""
        return [pid for (pid,) in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = %(kind)s AND pid <> pg_backend_pid()"
            " AND application_name NOT IN ('nemesis', 'checker') ORDER BY 1", kind=kind)]

    def step_clock(self, seconds):
        """From the true time; by renaming, since the server reads it at every look at the clock."""
        new = self.clock.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.rename(self.clock)


def fake_clock_library():
    found = list(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise FileNotFoundError("libfaketime is not installed")
    return str(found[0])


# What no test may write to a server's log, whatever is done to it
FAULT = re.compile(
    r"PANIC:|TRAP:|terminate called|\*\*\* |malloc|free\(\)|terminated by signal (?!9\b)|invalid page|beyond EOF"
    r"|WARNING:.*(leak|still referenced|not closed|you don't own)|could not (read|open) file \"(base|global|pg_)")


def log_faults(server):
    return [line for line in server.log.read_text(errors="replace").splitlines() if FAULT.search(line)]
