"""Servers: initdb, start, all kinds of stops, and faults in their logs."""
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import psycopg

CLOCK_LIBRARY = pathlib.Path(__file__).with_name("stepped_clock.so")  # built by `run`

CONF = """
listen_addresses = ''
unix_socket_directories = '{directory}'
shared_preload_libraries = 'ecto_job'
shared_buffers = 64MB
max_connections = 60
max_prepared_transactions = 20
autovacuum_naptime = 5s
log_line_prefix = '%m [%p] %b %q%a '
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
    """A server whose postmaster is a child of this process, so that its end is noticed. Its data directory holds
    its socket, too."""

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
        self.configure("client_connection_check_interval = 500ms")

    def copy_of(self, primary):
        """Makes this server a standby of the given primary."""
        subprocess.run(["pg_basebackup", "-h", primary.directory, "-U", "postgres", "-D", self.data, "-R", "-c", "fast",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL)
        self.configure(CONF.format(directory=self.directory, name=self.name) + "synchronous_standby_names = ''")

    def start(self):
        environment = dict(os.environ)
        if self.fakes_clock:
            environment |= {"LD_PRELOAD": str(CLOCK_LIBRARY), "STEPPED_CLOCK": str(self.clock)}
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
        """Stops the server: immediately by SIGQUIT, fast by SIGINT."""
        self.process.send_signal(how)
        self.process.wait(60)

    def crash_by(self, pid):
        """Kills one process of the server; waits until the postmaster has restarted the others."""
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
        """Returns process ids by pg_stat_activity.backend_type, without the sessions of this program."""
        return [pid for (pid,) in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = %(kind)s AND pid <> pg_backend_pid()"
            " AND application_name NOT IN ('nemesis', 'checker') ORDER BY 1", kind=kind)]

    def step_clock(self, seconds):
        """Sets the clock's offset from the true time. Written in place, since the server's processes have mapped the
        file."""
        with open(self.clock, "r+b" if self.clock.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=q", round(seconds * 1e6)))


# A server's log must have no such line, whatever harm is done
FAULT = re.compile(
    r"PANIC:|TRAP:|terminate called|\*\*\* |malloc|free\(\)|terminated by signal (?!9\b)|invalid page|beyond EOF"
    r"|WARNING:.*(leak|still referenced|not closed|you don't own)|could not (read|open) file \"(base|global|pg_)")


def log_faults(server):
    return [line for line in server.log.read_text(errors="replace").splitlines() if FAULT.search(line)]


def errors_of(server, program):
    """Returns the lines of the server's log that have an ERROR of this application_name."""
    error = re.compile(rf"\] client backend {program} ERROR:")
    return [line for line in server.log.read_text(errors="replace").splitlines() if error.search(line)]
