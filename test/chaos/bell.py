"""A consumer of a quiet queue in a database of its own, where nothing else wakes the scheduler: is each job
announced when it is there to be taken? It takes when it has begun to listen, and then whenever it is notified, at
once, as the documentation says that consumers do; it never polls.

While the nemesis disturbs the server there is no promise. So a job may be late until `patience` after the last
disturbance; after a step of the clock one that waits for its time may take a minute, as documented."""
import threading
import time

from client import CALM, Client

PATIENCE = 5  # seconds; an announcement takes some milliseconds
PATIENCE_AFTER_STEP = 65  # a due time was computed from the clock that was stepped since
INSERT = "INSERT INTO bell (params) VALUES ('{\"n\": 1}')"


class Listener(Client):
    """Completes what it takes."""

    def __init__(self, shared, name):
        super().__init__(shared, f"{name}-listener", "bell")
        self.notified = False

    def connect(self, database="quiet", user="app"):
        return super().connect(database, user)

    def take(self):
        for job, lease in self.rows("SELECT id, lease FROM ecto_job.start_available_jobs('bell', 10)"):
            self.rows("SELECT ecto_job.complete_job('bell', %(job)s, %(lease)s)", job=job, lease=lease)

    def hear(self, _):
        self.notified = True

    def greet(self):
        # For those that come while a statement is executed; the others are asked for below
        self.connection.add_notify_handler(self.hear)
        self.connection.execute("LISTEN bell")
        self.notified = True

    def round(self):
        self.connection.pgconn.consume_input()
        while self.connection.pgconn.notifies():
            self.notified = True
        if self.notified:
            self.notified = False
            self.take()
        time.sleep(0.002)


class Bell(Client):
    """Enqueues, and sees whether the job goes."""

    def __init__(self, shared, name):
        super().__init__(shared, name, "bell")
        self.count = 0

    def connect(self, database="quiet", user="postgres"):
        """A superuser, for commit_delay."""
        return super().connect(database, user)

    # The ways to enqueue; each returns how long the job has to wait for its time

    def plainly(self):
        self.connection.execute(INSERT)
        return 0

    def with_a_slow_commit(self):
        """What is done before the commit is done long before the job can be seen."""
        self.connection.execute("SET commit_siblings = 0; SET commit_delay = 30000")
        self.connection.execute(INSERT)
        self.connection.execute("RESET commit_delay; RESET commit_siblings")
        return 0

    def in_a_savepoint(self):
        self.connection.execute("BEGIN; SAVEPOINT a; " + INSERT + "; ROLLBACK TO a; SAVEPOINT b; " + INSERT +
                           "; RELEASE b; COMMIT")
        return 0

    def prepared(self):
        self.count += 1
        name = f"bell-{self.count}-{self.random.random()}"
        self.connection.execute(f"BEGIN; {INSERT}; PREPARE TRANSACTION '{name}'")
        self.connection.execute(f"COMMIT PREPARED '{name}'")
        return 0

    def later(self):
        delay = 0.2 + self.random.random()
        self.connection.execute("SELECT ecto_job.enqueue('bell', '{}', schedule => clock_timestamp() +"
                           f" make_interval(secs => {delay}))")
        return delay

    def deadline(self, enqueued, delay):
        quiet_since = max(enqueued, self.shared.disturbed_until())
        stepped = delay and enqueued - self.shared.stepped_at[0] < PATIENCE_AFTER_STEP
        return quiet_since + delay + (PATIENCE_AFTER_STEP if stepped else PATIENCE)

    def round(self):
        self.rows("DELETE FROM bell")
        way = self.random.choice([self.plainly, self.with_a_slow_commit, self.with_a_slow_commit,
                                  self.in_a_savepoint, self.prepared, self.later])
        delay = way()
        enqueued = time.monotonic()
        while self.phase <= CALM:
            jobs = self.rows("SELECT state FROM bell")
            waited = time.monotonic() - enqueued - delay
            if not jobs:
                self.history.note("announced", way=way.__name__, after=waited)
                break
            # A listener that was killed may have one for longer
            if time.monotonic() > self.deadline(enqueued, delay):
                if jobs != [("IN_PROGRESS",)]:
                    self.history.note("late", way=way.__name__, after=waited, states=jobs)
                break
            time.sleep(0.02)
        self.pause(0.1)


def ring(shared, name):
    listener = Listener(shared, name)
    thread = threading.Thread(target=listener.run, args=(listener.round,))
    thread.start()
    bell = Bell(shared, name)
    bell.run(bell.round)
    thread.join()
