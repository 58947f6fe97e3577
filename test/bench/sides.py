"""The sides: tables, and the statements that enqueue, claim and finish jobs on them.

A side's table is created for each measurement. `waiting` jobs are behind the measured ones in the queue.
"""

import base64
import dataclasses
import os

WAITING_PRIORITY = 10
KINDS = {"available": "now() - interval '1 s'", "scheduled": "now() + interval '1 day'"}


def filler(size):
    """Returns a text that does not compress, so that a job has about `size` bytes of params."""
    return base64.b64encode(os.urandom(size)).decode()[: max(1, size - 20)]


def number(priority):
    """Returns the key of params under which a job has its number; waiting jobs have another key."""
    return "w" if priority else "n"


@dataclasses.dataclass
class Side:
    """A side: an implementation that is measured, by its name in the results."""

    name: str
    peer: bool = False  # another implementation, or ours without our additions
    table: str = ""
    channel: str = ""  # where a consumer listens

    def make(self, server):
        raise NotImplementedError

    def drop(self, server):
        server.execute(f"DROP TABLE IF EXISTS {self.table}")

    def insert(self, params):
        """Returns the statement that enqueues one job, by a literal or parameter of type jsonb."""
        raise NotImplementedError

    def fill(self, server, jobs, size, waiting=0, kind="available", checkpoint=True):
        """Fills the table with `jobs` that can be claimed, and `waiting` ones behind them, after a CHECKPOINT, without
        which full-page images would dominate the WAL."""
        if checkpoint:
            server.execute("CHECKPOINT")
        self.add(server, jobs, size, 0, "available")
        self.add(server, waiting, size, WAITING_PRIORITY, kind)
        server.execute(f"VACUUM ANALYZE {self.table}")

    def add(self, server, jobs, size, priority, kind):
        raise NotImplementedError


class EctoJob(Side):
    """This extension."""

    def make(self, server):
        self.drop(server)
        server.execute(f"SELECT ecto_job.create_queue('{self.table}')")

    def drop(self, server):
        if server.value("SELECT to_regclass(%s) IS NOT NULL", [self.table]):
            server.execute(f"SELECT ecto_job.drop_queue('{self.table}')")

    def insert(self, params):
        return f"INSERT INTO {self.table} (params) VALUES ({params}) RETURNING id"

    def add(self, server, jobs, size, priority, kind):
        server.execute(f"""INSERT INTO {self.table} (params, priority, schedule)
                           SELECT jsonb_build_object('{number(priority)}', n, 'f', '{filler(size)}'), {priority}, {KINDS[kind]}
                           FROM generate_series(1, {jobs}) AS n""")

    def start(self, demand, extra=""):
        return f"SELECT id, lease, params{extra} FROM ecto_job.start_available_jobs('{self.table}', {demand})"

    def complete_all(self):
        return f"SELECT ecto_job.complete_jobs('{self.table}', $1::bigint[], $2::bigint[])"

    def complete_one(self):
        return f"SELECT ecto_job.complete_job('{self.table}', $1::bigint, $2::bigint)"


class EnqueueFunction(EctoJob):
    def insert(self, params):
        return f"SELECT ecto_job.enqueue('{self.table}', {params})"


class WithoutTriggers(EctoJob):
    """Our table without notifications."""

    def make(self, server):
        super().make(server)
        triggers = server.rows("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass", [self.table])
        server.execute(*[f"DROP TRIGGER {name} ON {self.table}" for (name,) in triggers])


class Handwritten(Side):
    """A queue as an experienced engineer writes it: it counts no attempt and has no lease, no retry, and no schedule
    at which a consumer is woken."""

    notify = False

    def make(self, server):
        self.drop(server)
        server.execute(f"""CREATE TABLE {self.table} (
                               id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                               run_at timestamptz NOT NULL DEFAULT now(),
                               attempts integer NOT NULL DEFAULT 0,
                               payload jsonb NOT NULL)""",
                       f"CREATE INDEX ON {self.table} (run_at, id)")
        if self.notify:
            server.execute(f"""CREATE OR REPLACE FUNCTION notify_{self.table}() RETURNS trigger LANGUAGE plpgsql
                               AS $$BEGIN NOTIFY {self.channel}; RETURN NULL; END$$""",
                           f"""CREATE TRIGGER notify AFTER INSERT ON {self.table}
                               FOR EACH STATEMENT EXECUTE FUNCTION notify_{self.table}()""")

    def insert(self, params):
        return f"INSERT INTO {self.table} (payload) VALUES ({params}) RETURNING id"

    def add(self, server, jobs, size, priority, kind):
        at = KINDS[kind] if priority or kind == "scheduled" else f"{KINDS[kind]} - interval '1 hour'"
        server.execute(f"""INSERT INTO {self.table} (payload, run_at)
                           SELECT jsonb_build_object('{number(priority)}', n, 'f', '{filler(size)}'), {at}
                           FROM generate_series(1, {jobs}) AS n""")

    def claim(self, demand, columns="t.id, t.attempts, t.payload"):
        # LIMIT is a literal: for a parameter the generic plan would assume a tenth of the table
        return f"""WITH next AS (SELECT id FROM {self.table} WHERE run_at <= now() ORDER BY run_at, id
                                 LIMIT {demand} FOR UPDATE SKIP LOCKED)
                   DELETE FROM {self.table} AS t USING next WHERE t.id = next.id RETURNING {columns}"""


class HandwrittenNotify(Handwritten):
    notify = True


class ElixirTable(Side):
    """EctoJob 3.1: the table that its migrations make (version 3), and the statements that it sends."""

    def make(self, server):
        self.drop(server)
        server.execute(
            f"""CREATE TABLE {self.table} (
                    id bigserial PRIMARY KEY, state varchar(255) NOT NULL DEFAULT 'AVAILABLE',
                    expires timestamp, schedule timestamp NOT NULL DEFAULT timezone('UTC', now()),
                    attempt integer NOT NULL DEFAULT 0, max_attempts integer NOT NULL DEFAULT 5,
                    params jsonb NOT NULL, notify varchar(255), priority integer NOT NULL DEFAULT 0,
                    inserted_at timestamp(0) NOT NULL, updated_at timestamp(0) NOT NULL)""",
            f"CREATE INDEX {self.table}_priority_schedule_id_index ON {self.table} (priority, schedule, id)",
            """CREATE OR REPLACE FUNCTION fn_notify_inserted() RETURNS trigger AS $$
               DECLARE BEGIN PERFORM pg_notify(TG_TABLE_NAME, ''); RETURN NEW; END $$ LANGUAGE plpgsql""",
            f"""CREATE TRIGGER tr_notify_inserted_{self.table} AFTER INSERT ON {self.table}
                FOR EACH ROW EXECUTE FUNCTION fn_notify_inserted()""")

    def insert(self, params):
        now = "timezone('UTC', clock_timestamp())"
        return f"""INSERT INTO {self.table} (attempt, params, priority, schedule, state, inserted_at, updated_at)
                   VALUES (0, {params}, 0, {now}, 'AVAILABLE', {now}, {now}) RETURNING id"""

    def add(self, server, jobs, size, priority, kind):
        state = "SCHEDULED" if kind == "scheduled" else "AVAILABLE"
        server.execute(f"""INSERT INTO {self.table} (params, priority, schedule, state, inserted_at, updated_at)
                           SELECT jsonb_build_object('{number(priority)}', n, 'f', '{filler(size)}'), {priority},
                                  timezone('UTC', {KINDS[kind]}), '{state}', now(), now()
                           FROM generate_series(1, {jobs}) AS n""")

    _now = "timezone('UTC', clock_timestamp())"
    _columns = """id, attempt, params, expires, inserted_at, max_attempts, notify, priority, schedule, state,
                  updated_at"""

    def reserve(self, demand):
        columns = ", ".join(f"j.{column.strip()}" for column in self._columns.split(","))
        return f"""WITH available_jobs AS (
                       SELECT id FROM {self.table} WHERE state = 'AVAILABLE' ORDER BY priority, schedule, id
                       LIMIT {demand} FOR UPDATE SKIP LOCKED)
                   UPDATE {self.table} j
                   SET state = 'RESERVED', expires = {self._now} + interval '60 s', updated_at = {self._now}
                   FROM available_jobs a WHERE j.id = a.id RETURNING {columns}"""

    def progress(self):
        return f"""UPDATE {self.table}
                   SET attempt = $2::int + 1, state = 'IN_PROGRESS',
                       expires = {self._now} + interval '300 s' * ($2::int + 1), updated_at = {self._now}
                   WHERE id = $1::bigint AND attempt = $2::int AND state = 'RESERVED' AND expires >= {self._now}
                   RETURNING {self._columns}"""

    def delete(self):
        return f"DELETE FROM {self.table} WHERE attempt = $2::int + 1 AND id = $1::bigint"


def ours(**changes):
    return EctoJob(**({"name": "ecto_job", "table": "jobs", "channel": "jobs"} | changes))


def handwritten():
    return Handwritten("handwritten", True, "handwritten")


def handwritten_notify():
    return HandwrittenNotify("handwritten + NOTIFY", True, "handwritten_notify", "handwritten_notify")


def elixir():
    return ElixirTable("EctoJob 3.1", True, "elixir_jobs", "elixir_jobs")


def enqueuers():
    return [
        ours(name="ecto_job, INSERT"),
        EnqueueFunction("ecto_job, enqueue()", False, "jobs", "jobs"),
        WithoutTriggers("ecto_job's table, no trigger", True, "bare_jobs"),
        handwritten(),
        handwritten_notify(),
        elixir(),
    ]
