"""A private server, and measurements of the server and its processes."""

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import time
import types

import psycopg

PATIENCE_S = 120  # time limit of waits for a condition

SETTINGS = {
    "listen_addresses": "",
    "shared_preload_libraries": "ecto_job",
    "max_connections": 300,
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "track_io_timing": "off",
}


class Server:
    """The server of all measures: the extension is in its database `bench`; observers use `postgres`."""

    def __init__(self, directory, client, **settings):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.client = client
        os.environ.pop("PGAPPNAME", None)  # would replace the consumer's own name
        os.environ.update(PGHOST=str(self.directory), PGUSER="bench", PGDATABASE="bench")
        self.settings = dict(SETTINGS, **settings, unix_socket_directories=f"{self.directory}")
        subprocess.run(["initdb", "-D", self.data, "-U", "bench", "-A", "trust", "-N", "--locale=C.UTF-8",
                        "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL)

    def start(self, **settings):
        """Starts or restarts the server with these settings besides the usual ones."""
        self.stop()
        lines = [f"{name} = '{value}'\n" for name, value in (self.settings | settings).items()]
        (self.data / "postgresql.auto.conf").write_text("".join(lines))
        command = ["pg_ctl", "-D", self.data, "-l", self.directory / "server.log", "-w", "start"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if not self.value("SELECT count(*) FROM pg_database WHERE datname = 'bench'", dbname="postgres"):
            self.execute("CREATE DATABASE bench", dbname="postgres")
            self.execute("CREATE EXTENSION ecto_job")
            self.execute("CREATE EXTENSION pg_walinspect")
        self.changed = bool(settings)

    def stop(self):
        if (self.data / "postmaster.pid").exists():
            subprocess.run(["pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop"], check=True,
                           stdout=subprocess.DEVNULL)

    def connect(self, dbname="bench", **options):
        return psycopg.connect(f"dbname={dbname}", autocommit=True, **options)

    def execute(self, *statements, dbname="bench"):
        with self.connect(dbname) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query, parameters=(), dbname="bench"):
        with self.connect(dbname) as connection:
            return connection.execute(query, parameters).fetchall()

    def value(self, query, parameters=(), dbname="bench"):
        return self.rows(query, parameters, dbname)[0][0]

    @contextlib.contextmanager
    def old_snapshot(self):
        """Opens a session whose snapshot still sees all rows that are deleted meanwhile."""
        with self.connect() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT 1")
            yield

    @contextlib.contextmanager
    def listener(self, channel):
        """Opens a session that listens, as consumers do."""
        with self.connect() as connection:
            if channel:
                connection.execute(f'LISTEN "{channel}"')
            yield connection

    def statistics(self, table):
        """Returns counters of a table and of the database, with those of ended sessions."""
        query = """SELECT s.n_tup_upd, s.n_tup_hot_upd, s.n_dead_tup, pg_relation_size(s.relid),
                          pg_table_size(s.relid), pg_indexes_size(s.relid), d.xact_commit
                   FROM pg_stat_all_tables s, pg_stat_database d
                   WHERE s.relid = %s::regclass AND d.datname = 'bench'"""
        names = ("updates", "hot", "dead", "heap", "table", "indexes", "commits")
        return dict(zip(names, self.rows(query, [table])[0]))

    def scheduler_at_rest(self):
        """Waits until the scheduler sleeps, so that the work after a fill is not measured."""
        quiet, limit = 0, time.monotonic() + PATIENCE_S
        while quiet < 5:
            if time.monotonic() > limit:
                raise TimeoutError("the scheduler does not come to rest")
            state = self.rows("""SELECT state FROM pg_stat_activity
                                 WHERE backend_type = 'ecto_job scheduler' AND datname = 'bench'""",
                              dbname="postgres")
            quiet = quiet + 1 if not state or state[0][0] == "idle" else 0
            time.sleep(0.02)

    def processes(self, *kinds):
        """Returns {kind: pid} of the extension's processes."""
        found = self.rows("SELECT backend_type, pid FROM pg_stat_activity WHERE backend_type = ANY (%s)",
                          [list(kinds)], dbname="postgres")
        return dict(found)

    def cpu_of_ended_sessions(self):
        """Returns the processor time in µs of all server processes that have ended since the start. Other work of the
        machine hardly affects this time."""
        time.sleep(0.3)  # until the last processes have ended
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) * 1_000_000 // os.sysconf("SC_CLK_TCK")

    def wal_position(self):
        return self.value("SELECT pg_current_wal_insert_lsn()", dbname="postgres")

    def bytes_of_wal(self, start, end):
        return float(self.value("SELECT %s::pg_lsn - %s::pg_lsn", [end, start]))

    @contextlib.contextmanager
    def spending(self):
        """Yields an object that has, when the block has ended, what the block's sessions have spent: `cpu`, the server's
        processor time in µs, and `wal`, in bytes."""
        spent = types.SimpleNamespace()
        start = self.wal_position()
        cpu = self.cpu_of_ended_sessions()
        yield spent
        spent.cpu = self.cpu_of_ended_sessions() - cpu
        spent.wal = self.bytes_of_wal(start, self.wal_position())

    def start_client(self, mode, script, **options):
        process = subprocess.Popen([self.client, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, **options)
        process.stdin.write(json.dumps(script))
        process.stdin.close()
        process.stdin = None
        return process

    def run_client(self, mode, script):
        return result_of(self.start_client(mode, script))

    def description(self):
        model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                      if line.startswith("model name")), platform.machine())
        memory = int(next(line for line in open("/proc/meminfo", encoding="utf-8")).split()[1]) // 1024
        # The rate of single flushes tells the cost of a commit better than the disk's name
        fsync = subprocess.run(["pg_test_fsync", "-s", "1", "-f", self.directory / "fsync"], check=False,
                               capture_output=True, text=True).stdout
        fdatasync = next((line.split()[1] for line in fsync.splitlines()
                          if line.split()[:1] == ["fdatasync"]), "unknown")
        names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "ecto_job.safety_interval"]
        settings = {name: self.value("SELECT current_setting(%s)", [name]) for name in names}
        return {
            "processor": f"{os.cpu_count()} x {model}",
            "memory": f"{memory} MB",
            "system": platform.platform(),
            "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
            "fdatasync": f"{fdatasync} a second",
            **settings,
            **{name: str(value) for name, value in self.settings.items() if value and "director" not in name},
        }


def result_of(process):
    output = process.stdout.read()
    if process.wait() != 0:
        raise RuntimeError(f"{process.args} failed: {process.returncode}")
    return json.loads(output)


def wake_ups(pid):
    """Returns the number of a process's voluntary context switches, which is how often it was woken."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))


def cpu_ms(pid):
    with open(f"/proc/{pid}/schedstat", encoding="utf-8") as statistics:
        return int(statistics.read().split()[0]) / 1e6
