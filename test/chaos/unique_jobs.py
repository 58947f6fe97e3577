"""Checks that a key loses no event. A client writes an event under a key and enqueues a job of the key in one
transaction; a job, when it is performed, handles all events of its key that it sees. When all jobs are done, each event
must have been handled: had a job begun before the event was visible, and no other job followed, the event would be left.
Two jobs that wait under one key would break the unique index; the clients count the jobs that were kept and those that
gave way to another, so that the run shows both.

Each process does the work of producers and consumers in turn."""
import psycopg

from client import CALM, RUN, Client

KEYS = 8  # few, so that the clients often meet at a key
SETUP = """
    SELECT ecto_job.create_queue('unique_jobs', 'public');
    SELECT ecto_job.configure_queue('unique_jobs', '60 s', '0.5 s', '0.5 s', '0.05 s', 1000);
    CREATE TABLE public.events (id bigint GENERATED ALWAYS AS IDENTITY, key text, handled bool DEFAULT false);
    CREATE INDEX ON public.events (key) WHERE NOT handled;
"""
ENQUEUE = "SELECT ecto_job.enqueue('unique_jobs', '{}', key => %(key)s, on_conflict => %(on_conflict)s)"
MERGE = ("INSERT INTO unique_jobs (params, key) VALUES ('{}', %(key)s) ON CONFLICT (waiting_key)"
         " WHERE waiting_key IS NOT NULL DO UPDATE SET params = excluded.params RETURNING id")


class UniqueClient(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "unique")

    def produce(self):
        key = f"key {self.random.randrange(KEYS)}"
        way = self.random.choice(["keep", "keep", "keep", "replace", "merge"])
        self.connection.execute("BEGIN")
        before = self.random.random() < 0.5
        if before:
            self.rows("INSERT INTO events (key) VALUES (%(key)s)", key=key)
        last = self.rows("SELECT max(id) FROM unique_jobs")[0][0] or 0
        job = self.rows(MERGE if way == "merge" else ENQUEUE, key=key, on_conflict=way)[0][0]
        if not before:
            self.rows("INSERT INTO events (key) VALUES (%(key)s)", key=key)
        self.pause(0.02)
        self.connection.execute("COMMIT" if self.random.random() < 0.9 else "ROLLBACK")
        if job <= last:
            self.history.note("kept", key=key)

    def perform(self):
        jobs = self.rows("SELECT id, lease, key FROM ecto_job.start_available_jobs('unique_jobs', 1)")
        for job, lease, key in jobs:
            self.pause(0.02)
            if self.phase == RUN and self.random.random() < 0.1:
                continue  # forgotten, until the lease ends
            if self.phase == RUN and self.random.random() < 0.2:
                failed = self.rows("SELECT state FROM ecto_job.fail_job('unique_jobs', %(job)s, %(lease)s)",
                                   job=job, lease=lease)
                if failed == [("IN_PROGRESS",)]:
                    self.history.note("superseded", key=key)
                continue
            self.complete(job, lease, key)
        return bool(jobs)

    def complete(self, job, lease, key):
        self.connection.execute("BEGIN")
        try:
            self.rows("SELECT ecto_job.complete_job('unique_jobs', %(job)s, %(lease)s)", job=job, lease=lease)
            self.rows("UPDATE events SET handled = true WHERE key = %(key)s AND NOT handled", key=key)
            self.pause(0.01)
        except psycopg.Error as error:
            if error.sqlstate != "JQ001":
                raise
            self.connection.execute("ROLLBACK")
            return
        self.connection.execute("COMMIT")

    def round(self):
        if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.connection.execute("ROLLBACK")
        if self.phase == RUN and self.random.random() < 0.5:
            self.produce()
        elif not self.perform() and self.phase >= CALM:
            self.pause(0.2)
        self.pause(0.02)


def work(shared, name):
    client = UniqueClient(shared, name)
    client.run(client.round)


def unhandled(connection):
    """Returns the events that no job has handled."""
    return [f"event {number} of {key}" for number, key in connection.execute(
        "SELECT id, key FROM events WHERE NOT handled ORDER BY id").fetchall()]
