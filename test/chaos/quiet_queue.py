"""Checks that each job is announced when it can be claimed, on a quiet queue in a database of its own, where no other
work wakes the scheduler. The consumer claims when it has begun to listen, and then at each notification, as the
documentation demands of consumers; it never polls.

While the nemesis disturbs the server, jobs may be late: until PATIENCE seconds after the last disturbance, and, for a
job that waits for its time, until PATIENCE_AFTER_STEP seconds after a step of the clock, as documented."""
import threading
import time

from client import CALM, Client

PATIENCE = 5  # seconds; an announcement takes some milliseconds
PATIENCE_AFTER_STEP = 65  # the scheduler's wait may have begun before the clock was stepped
INSERT = "INSERT INTO quiet_jobs (params) VALUES ('{\"n\": 1}')"


class Listener(Client):
    """The consumer: completes the jobs that it takes."""

    def __init__(self, shared, name):
        super().__init__(shared, f"{name}-listener", "quiet")
        self.notified = False

    def connect(self, database="quiet", user="app"):
        return super().connect(database, user)

    def take(self):
        for job, lease in self.rows("SELECT id, lease FROM ecto_job.start_available_jobs('quiet_jobs', 10)"):
            self.rows("SELECT ecto_job.complete_job('quiet_jobs', %(job)s, %(lease)s)", job=job, lease=lease)

    def on_notify(self, _):
        self.notified = True

    def greet(self):
        # The handler gets notifications that arrive during a statement; round() reads the others
        self.connection.add_notify_handler(self.on_notify)
        self.connection.execute("LISTEN quiet_jobs")
        self.notified = True

    def round(self):
        self.connection.pgconn.consume_input()
        while self.connection.pgconn.notifies():
            self.notified = True
        if self.notified:
            self.notified = False
            self.take()
        time.sleep(0.002)


class QuietProducer(Client):
    """The producer: enqueues a job, and waits until the job is gone."""

    def __init__(self, shared, name):
        super().__init__(shared, name, "quiet")
        self.count = 0

    def connect(self, database="quiet", user="postgres"):
        """Connects as a superuser, who may set commit_delay."""
        return super().connect(database, user)

    # The ways to enqueue; each returns the time until the job is due

    def plainly(self):
        self.connection.execute(INSERT)
        return 0

    def with_a_slow_commit(self):
        """Commits in 30 ms, so that an announcement before the commit would arrive long before the job is visible."""
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
        name = f"quiet-{self.count}-{self.random.random()}"
        self.connection.execute(f"BEGIN; {INSERT}; PREPARE TRANSACTION '{name}'")
        self.connection.execute(f"COMMIT PREPARED '{name}'")
        return 0

    def later(self):
        delay = 0.2 + self.random.random()
        self.connection.execute("SELECT ecto_job.enqueue('quiet_jobs', '{}', schedule => clock_timestamp() +"
                           f" make_interval(secs => {delay}))")
        return delay

    def deadline(self, enqueued, delay):
        quiet_since = max(enqueued, self.shared.disturbed_until())
        stepped = delay and enqueued - self.shared.stepped_at[0] < PATIENCE_AFTER_STEP
        return quiet_since + delay + (PATIENCE_AFTER_STEP if stepped else PATIENCE)

    def round(self):
        self.rows("DELETE FROM quiet_jobs")
        way = self.random.choice([self.plainly, self.with_a_slow_commit, self.with_a_slow_commit,
                                  self.in_a_savepoint, self.prepared, self.later])
        delay = way()
        enqueued = time.monotonic()
        while self.phase <= CALM:
            jobs = self.rows("SELECT state FROM quiet_jobs")
            waited = time.monotonic() - enqueued - delay
            if not jobs:
                self.history.note("announced", way=way.__name__, after=waited)
                break
            # A consumer that was killed may hold a job for longer
            if time.monotonic() > self.deadline(enqueued, delay):
                if jobs != [("IN_PROGRESS",)]:
                    self.history.note("late", way=way.__name__, after=waited, states=jobs)
                break
            time.sleep(0.02)
        self.pause(0.1)


def watch(shared, name):
    listener = Listener(shared, name)
    thread = threading.Thread(target=listener.run, args=(listener.round,))
    thread.start()
    producer = QuietProducer(shared, name)
    producer.run(producer.round)
    thread.join()
