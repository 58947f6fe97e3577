"""Checks that a key loses no event. A client writes an event under a key and enqueues a job of the key in one
transaction; a job, when it is performed, handles all events of its key that it sees. When all jobs are done, each event
must have been handled: had a job begun before the event was visible, and no other job followed, the event would be
left. The clients count the jobs that were kept and those that gave way to another, so that the run shows both.

In most acts each process does the work of enqueuers and consumers in turn. In the act keys, enqueuers and consumers are
processes of their own. Most of these enqueuers only keep jobs, and the server's log must have no ERROR of theirs. A
consumer sometimes enqueues the key of its job beside the transaction that completes the job, from a second connection.
The enqueue must not wait for that transaction, which ends only afterwards. A poller sees who waits for whom, and reads
all rows past the unique index: no two jobs may wait under one key, and an event that was not handled must have a job
under its key."""
import time

import psycopg

from client import CALM, RUN, Client

FEW_KEYS = 8  # so that few clients often meet at a key
KEYS = 50
LOCK_SECONDS = 10  # the longest wait of an enqueue for a lock; without a fault it waits some milliseconds
SETUP = """
    SELECT ecto_job.create_queue('unique_jobs', 'public');
    SELECT ecto_job.configure_queue('unique_jobs', '60 s', '0.5 s', '0.5 s', '0.05 s', 1000);
    CREATE TABLE public.events (id bigint GENERATED ALWAYS AS IDENTITY, key text, handled bool DEFAULT false);
    CREATE INDEX ON public.events (key) WHERE NOT handled;
"""
ENQUEUE = "SELECT ecto_job.enqueue('unique_jobs', '{}', key => %(key)s, on_conflict => %(on_conflict)s)"
MERGE = ("INSERT INTO unique_jobs (params, key) VALUES ('{}', %(key)s) ON CONFLICT (waiting_key)"
         " WHERE waiting_key IS NOT NULL DO UPDATE SET params = excluded.params RETURNING id")


KEEPER = "keeper"  # the application_name of enqueuers that only keep jobs
# The state is read by an expression, for which there is no index
TWO_WAIT = ("SELECT key, count(*) FROM unique_jobs WHERE state || '' IN ('SCHEDULED', 'AVAILABLE', 'RETRY')"
            " GROUP BY key HAVING count(*) > 1")
# Enqueues that wait for a session that has completed a job in its open transaction
BLOCKED = ("SELECT k.pid, c.pid, c.xact_start::text FROM pg_stat_activity AS k, unnest(pg_blocking_pids(k.pid)) AS b,"
           " pg_stat_activity AS c WHERE k.application_name = 'keeper' AND k.wait_event_type = 'Lock' AND c.pid = b"
           " AND c.application_name = 'unique' AND starts_with(c.query, 'UPDATE events SET handled')")
LOST = ("SELECT id, key FROM events AS e WHERE NOT handled AND NOT EXISTS (SELECT FROM unique_jobs AS j"
        " WHERE j.key = e.key AND state <> 'FAILED') LIMIT 10")


class UniqueClient(Client):
    def __init__(self, shared, name, program="unique", keys=FEW_KEYS):
        super().__init__(shared, name, program)
        self.keys = keys
        self.work = 0.02  # longest time of a job in seconds
        self.ways = ["keep"] if program == KEEPER else ["keep", "keep", "keep", "replace", "merge"]

    def produce(self):
        key = f"key {self.random.randrange(self.keys)}"
        way = self.random.choice(self.ways)
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
        self.history.note("came under a key")
        if job <= last:
            self.history.note("kept", key=key)

    def perform(self):
        jobs = self.rows("SELECT id, lease, key FROM ecto_job.start_available_jobs('unique_jobs', 1)")
        for job, lease, key in jobs:
            self.pause(self.work)
            if self.phase == RUN and self.random.random() < 0.1:
                continue  # forgotten, until the lease ends
            if self.phase == RUN and self.random.random() < 0.2:
                self.come_before_failure(key)
                failed = self.rows("SELECT state FROM ecto_job.fail_job('unique_jobs', %(job)s, %(lease)s)",
                                   job=job, lease=lease)
                if failed == [("IN_PROGRESS",)]:
                    self.history.note("superseded", key=key)
                continue
            if self.phase == RUN and self.random.random() < 0.1:
                self.come_before_failure(key)
                self.snooze(job, lease, key)
                continue
            self.complete(job, lease, key)
        return bool(jobs)

    def snooze(self, job, lease, key):
        """Puts the job back, at once or for later; it gives way, too, if another job of its key waits."""
        states = self.rows("SELECT state FROM ecto_job.snooze_job('unique_jobs', %(job)s, %(lease)s,"
                           " make_interval(secs => %(delay)s))",
                           job=job, lease=lease, delay=self.random.choice([0, 0.2]))
        for (state,) in states:
            self.history.note("superseded by snooze" if state == "IN_PROGRESS" else "snoozed under a key", key=key)

    def complete(self, job, lease, key):
        self.connection.execute("BEGIN")
        try:
            self.rows("SELECT ecto_job.complete_job('unique_jobs', %(job)s, %(lease)s)", job=job, lease=lease)
            self.rows("UPDATE events SET handled = true WHERE key = %(key)s AND NOT handled", key=key)
            self.beside(key)
            self.pause(0.01)
        except psycopg.Error as error:
            if error.sqlstate != "JQ001":
                raise
            self.connection.execute("ROLLBACK")
            return
        self.connection.execute("COMMIT")

    def come_before_failure(self, key):
        """Does nothing else before a job of the key fails."""

    def beside(self, key):
        """Does nothing else while the transaction that completes a job of the key is open."""

    def end_open_transaction(self):
        if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.connection.execute("ROLLBACK")

    def round(self):
        self.end_open_transaction()
        if self.phase == RUN and self.random.random() < 0.5:
            self.produce()
        elif not self.perform() and self.phase >= CALM:
            self.pause(0.2)
        self.pause(0.02)


class Enqueuer(UniqueClient):
    def round(self):
        self.end_open_transaction()
        if self.phase == RUN:
            self.produce()
        self.pause(0.02 if self.phase == RUN else 0.2)


class Consumer(UniqueClient):
    def __init__(self, shared, name):
        super().__init__(shared, name)
        self.work = 0.1  # so that other jobs of the key come meanwhile
        self.second = Client(shared, f"{name}-second", KEEPER)

    def come_before_failure(self, key):
        """Sometimes enqueues the key, so that the job which fails gives way to another."""
        if self.random.random() < 0.3:
            self.enqueue_second(key)

    def beside(self, key):
        """Sometimes enqueues the key while the transaction that completes its job is open. If the enqueue waited for
        that transaction, lock_timeout would end it."""
        if self.phase == RUN and self.random.random() < 0.1 and self.enqueue_second(key):
            self.history.note("beside")

    def enqueue_second(self, key):
        """Enqueues the key from the second connection; returns whether it did."""
        try:
            if self.second.connection is None:
                self.second.connection = self.second.connect()
                if self.second.connection is None:
                    return False
                self.second.rows(f"SET lock_timeout = '{LOCK_SECONDS} s'")
            with self.second.connection.transaction():
                self.second.rows("INSERT INTO events (key) VALUES (%(key)s)", key=key)
                self.second.rows(ENQUEUE, key=key, on_conflict="keep")
        except psycopg.Error as error:
            if error.sqlstate == "55P03":
                self.history.note("waited beside", pair=key)
            self.second.connection.close()
            self.second.connection = None
            return False
        self.history.note("came under a key")
        return True

    def round(self):
        self.end_open_transaction()
        if not self.perform():
            self.pause(0.2 if self.phase >= CALM else 0.02)


class Poller(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "poller")
        self.blocked = set()

    def connect(self, database="chaos", user="postgres"):
        """Connects as a superuser, who sees the statements of others."""
        return super().connect(database, user)

    def round(self):
        blocked = set(self.rows(BLOCKED))
        # One observation may mix the states of two moments
        for pair in blocked & self.blocked:
            self.history.note("waited beside", pair=pair)
        self.blocked = blocked
        for key, count in self.rows(TWO_WAIT):
            self.history.note("two wait", key=key, count=count)
        for number, key in self.rows(LOST):
            self.history.note("lost event", number=number, key=key)
        self.history.note("polled")
        time.sleep(0.05)


def work(shared, name):
    client = UniqueClient(shared, name)
    client.run(client.round)


def enqueue(shared, name, program):
    client = Enqueuer(shared, name, program, KEYS)
    client.run(client.round)


def consume(shared, name):
    client = Consumer(shared, name)
    client.run(client.round)


def poll(shared, name):
    client = Poller(shared, name)
    client.run(client.round)


def unhandled(connection):
    """Returns the events that no job has handled."""
    return [f"event {number} of {key}" for number, key in connection.execute(
        "SELECT id, key FROM events WHERE NOT handled ORDER BY id").fetchall()]
