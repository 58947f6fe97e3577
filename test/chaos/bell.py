"""A consumer of a quiet queue in a database of its own, where nothing else wakes the scheduler: is each job
announced when it is there to be taken? It waits for a notification and then takes, as the documentation says
that consumers do; it never polls.

While the nemesis disturbs the server there is no promise. So a job may be late until `patience` after the last
disturbance; after a step of the clock one that waits for its time may take a minute, as documented."""
import time

import psycopg

from client import CALM, Client

PATIENCE = 5  # seconds; an announcement takes some milliseconds
PATIENCE_AFTER_STEP = 65  # a due time was computed from the clock that was stepped since
INSERT = "INSERT INTO bell (params) VALUES ('{\"n\": 1}')"


class Bell(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "bell")
        self.other = None  # who enqueues, on a connection of his own
        self.count = 0

    def connect_both(self):
        self.connection.execute("LISTEN bell")
        self.other = self.connect("quiet", "postgres")  # a superuser, for commit_delay
        self.rows("DELETE FROM bell")

    def connect(self, database="quiet", user="app"):
        self.other = None
        return super().connect(database, user)

    # The ways to enqueue; each returns how long the job has to wait for its time

    def plainly(self):
        self.other.execute(INSERT)
        return 0

    def with_a_slow_commit(self):
        """What is done before the commit is done long before the job can be seen."""
        self.other.execute("SET commit_siblings = 0; SET commit_delay = 30000")
        self.other.execute(INSERT)
        self.other.execute("RESET commit_delay; RESET commit_siblings")
        return 0

    def in_a_savepoint(self):
        self.other.execute("BEGIN; SAVEPOINT a; " + INSERT + "; ROLLBACK TO a; SAVEPOINT b; " + INSERT +
                           "; RELEASE b; COMMIT")
        return 0

    def prepared(self):
        self.count += 1
        name = f"bell-{self.count}-{self.random.random()}"
        self.other.execute(f"BEGIN; {INSERT}; PREPARE TRANSACTION '{name}'")
        self.other.execute(f"COMMIT PREPARED '{name}'")
        return 0

    def later(self):
        delay = 0.2 + self.random.random()
        self.other.execute("SELECT ecto_job.enqueue('bell', '{}', schedule => clock_timestamp() +"
                           f" make_interval(secs => {delay}))")
        return delay

    def wait(self, seconds):
        """True if notified."""
        self.connection.pgconn.consume_input()
        deadline = time.monotonic() + seconds
        while not self.connection.pgconn.notifies():
            if time.monotonic() > deadline or self.connection.closed:
                return False
            time.sleep(0.002)
            self.connection.pgconn.consume_input()
        return True

    def take(self):
        found = self.rows("SELECT id, lease FROM ecto_job.start_available_jobs('bell', 10)")
        for job, lease in found:
            self.rows("SELECT ecto_job.complete_job('bell', %(job)s, %(lease)s)", job=job, lease=lease)
        return bool(found)

    def deadline(self, enqueued, delay):
        quiet_since = max(enqueued, self.shared.disturbed_until())
        stepped = delay and enqueued - self.shared.stepped_at[0] < PATIENCE_AFTER_STEP
        return quiet_since + delay + (PATIENCE_AFTER_STEP if stepped else PATIENCE)

    def round(self):
        if self.other is None:
            self.connect_both()
            if self.other is None:
                return
        way = self.random.choice([self.plainly, self.with_a_slow_commit, self.with_a_slow_commit,
                                  self.in_a_savepoint, self.prepared, self.later])
        delay = way()
        enqueued = time.monotonic()
        while self.phase <= CALM:
            if self.wait(0.2):
                if self.take():
                    self.history.note("announced", way=way.__name__, after=time.monotonic() - enqueued - delay)
                    break
            elif time.monotonic() > self.deadline(enqueued, delay):
                if self.rows("SELECT FROM bell WHERE state IN ('AVAILABLE', 'SCHEDULED')"):
                    self.history.note("late", way=way.__name__, waited=time.monotonic() - enqueued - delay)
                self.rows("DELETE FROM bell")
                break
        self.pause(0.1)

    def close(self):
        if self.other:
            self.other.close()


def listen(shared, name):
    bell = Bell(shared, name)

    def round_or_reconnect():
        try:
            bell.round()
        except psycopg.Error:
            bell.close()
            bell.connection.close()
            raise
    bell.run(round_or_reconnect)
