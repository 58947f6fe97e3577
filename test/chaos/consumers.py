"""Consumers, one for each path of the protocol. Some work longer than their leases, some lose their connection and
continue with the jobs that they held: their calls must then change nothing.

A consumer's history has the server's results: `held` (a reservation or start returned the job), `started` (the second
step returned the job), `failed`, `snoozed`, `done` (the COMMIT of the effect has returned), `stale` (the call was
refused)."""
import datetime
import time
from dataclasses import dataclass

import psycopg

from client import RUN, Client, Stale, lost

COLUMNS = "id, attempt, lease, params ->> 'token' AS token"


@dataclass(frozen=True)
class Path:
    """The statements of one path. A stale completion is an error, or changes no row."""
    take: str
    complete: str
    fail: str
    start: str = None
    batch: bool = False  # all jobs of a claim are completed at once
    leased: bool = True  # the lease names the job, so the path can snooze jobs and extend leases


def ours(function):
    return f"SELECT {COLUMNS} FROM ecto_job.{function}"


SNOOZED = ours("snooze_job('jobs', %(id)s, %(lease)s, make_interval(secs => %(delay)s))")
EXTENDED = "SELECT ecto_job.extend_lease('jobs', %(id)s, %(lease)s, make_interval(secs => %(seconds)s))"

TWO_STEP = Path(
    take=ours("reserve_available_jobs('jobs', %(demand)s)"),
    start=ours("update_job_in_progress('jobs', %(id)s, %(attempt)s, lease => %(lease)s)"),
    complete="SELECT ecto_job.initial_multi('jobs', %(id)s, %(attempt)s, %(lease)s)",
    fail=ours("job_failed('jobs', %(id)s, %(attempt)s, lease => %(lease)s, error => 'failed')"))
STARTED = ours("start_available_jobs('jobs', %(demand)s)")
# audit.sql reads the error, which says how the job must go on
FAILED = ours("fail_job('jobs', %(id)s, %(lease)s, error => %(error)s, retry => %(retry)s,"
              " delay => make_interval(secs => %(delay)s))")

PATHS = {
    "two_step": TWO_STEP,
    # These paths name the attempt alone, as EctoJob does
    "attempt": Path(
        take=TWO_STEP.take,
        start=ours("update_job_in_progress('jobs', %(id)s, %(attempt)s)"),
        complete="SELECT ecto_job.initial_multi('jobs', %(id)s, %(attempt)s)",
        fail=ours("job_failed('jobs', %(id)s, %(attempt)s)"), leased=False),
    "start": Path(take=STARTED, complete="SELECT ecto_job.complete_job('jobs', %(id)s, %(lease)s)", fail=FAILED),
    "batch": Path(take=STARTED, complete="SELECT ecto_job.complete_jobs('jobs', %(ids)s, %(leases)s)", fail=FAILED,
                  batch=True),
    # The statements of EctoJob 3.1, which gets `now` from its node's clock; here the node has the server's clock
    "ectojob": Path(
        take=f"""WITH available_jobs AS (
                     SELECT id FROM jobs WHERE state = 'AVAILABLE' ORDER BY priority, schedule, id
                     LIMIT %(demand)s FOR UPDATE SKIP LOCKED)
                 UPDATE jobs j SET state = 'RESERVED', expires = %(reserved_until)s, updated_at = %(now)s
                 FROM available_jobs a WHERE j.id = a.id RETURNING j.{COLUMNS}""",
        start=f"""UPDATE jobs SET attempt = %(attempt)s + 1, state = 'IN_PROGRESS', expires = %(started_until)s,
                      updated_at = %(now)s
                  WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'RESERVED' AND expires >= %(now)s
                  RETURNING {COLUMNS}""",
        complete="DELETE FROM jobs WHERE attempt = %(attempt)s AND id = %(id)s",
        # The library sends one of two texts, depending on the attempts that are left
        fail=f"""UPDATE jobs SET state = CASE WHEN attempt < max_attempts THEN 'RETRY' ELSE 'FAILED' END,
                     schedule = CASE WHEN attempt < max_attempts THEN %(retry_at)s ELSE schedule END,
                     expires = CASE WHEN attempt < max_attempts THEN expires END
                 WHERE id = %(id)s AND state = 'IN_PROGRESS' AND attempt = %(attempt)s RETURNING {COLUMNS}""",
        leased=False),
}


class Consumer(Client):
    def __init__(self, shared, name, path_name):
        super().__init__(shared, name, path_name)
        self.path_name = path_name
        self.path = PATHS[path_name]
        self.listens = self.random.random() < 0.7
        self.leases_end_with_session = self.random.random() < 0.4
        self.held = []  # jobs that were held when the connection broke

    def greet(self):
        if self.listens:
            self.connection.execute("LISTEN jobs")
        if self.leases_end_with_session:
            self.connection.execute("SET ecto_job.session_leases = on")

    def times(self, job):
        """Returns the time as EctoJob has it, in whole seconds."""
        if self.path_name != "ectojob":
            return {}
        now = self.rows("SELECT clock_timestamp()")[0][0]

        def later(seconds):
            return (now + datetime.timedelta(seconds=seconds)).replace(microsecond=0)
        attempt = job["attempt"] + 1 if job else 1
        return {"now": now, "reserved_until": later(1.5), "started_until": later(1.5 * attempt),
                "retry_at": later(0.2 * attempt)}

    def call(self, text, job=None, **parameters):
        """Returns the jobs of a statement, as dictionaries."""
        parameters |= (job or {}) | self.times(job)
        return [dict(zip(("id", "attempt", "lease", "token"), row)) for row in self.rows(text, **parameters)]

    def note(self, event, job):
        self.history.note(event, path=self.path_name, **job)

    def take(self):
        jobs = self.call(self.path.take, demand=self.random.choice([1, 2, 5, 10]))
        for job in jobs:
            self.note("held", job)
        return jobs

    def is_slow(self):
        return self.phase == RUN and self.random.random() < self.shared.slowness

    def start(self, job):
        """Starts a reserved job, possibly too late; returns the job's row after the start."""
        if self.path.start is None:
            return job
        self.pause(self.shared.work)
        if self.is_slow():
            self.pause(2 * self.shared.lease)
        for started in self.call(self.path.start, job):
            self.note("started", started | {"given": job["lease"]})
            return started
        self.note("stale", job)
        return None

    def work(self, jobs):
        self.pause(self.shared.work)
        if self.path.leased and self.random.random() < 0.1:
            for job in jobs:
                self.rows(EXTENDED, id=job["id"], lease=job["lease"], seconds=self.shared.lease)
        if self.is_slow():
            self.pause(3 * self.shared.lease * max(job["attempt"] for job in jobs))

    def effect(self, job):
        self.rows("INSERT INTO chaos.effects (path, token, job, attempt, lease)"
                  " VALUES (%(path)s, %(token)s, %(id)s, %(attempt)s, %(lease)s)", path=self.path_name, **job)

    def delete(self, jobs):
        """Executes the first statement of the completing transaction."""
        if self.path.batch:
            self.connection.execute(self.path.complete, {"ids": [job["id"] for job in jobs],
                                                         "leases": [job["lease"] for job in jobs]})
            return
        cursor = self.connection.execute(self.path.complete, jobs[0])
        if cursor.rowcount != 1:
            raise Stale

    def complete(self, jobs):
        self.connection.execute("BEGIN")
        try:
            self.delete(jobs)
            for job in jobs:
                self.effect(job)
            if self.is_slow():
                self.pause(self.shared.lease)
            if self.random.random() < 0.03:
                raise psycopg.errors.RaiseException("the job's own writes fail")
            self.connection.execute("COMMIT")
        except (psycopg.Error, Stale) as error:
            if self.connection.closed:
                raise
            self.connection.execute("ROLLBACK")
            if not isinstance(error, Stale) and error.sqlstate != "JQ001":
                raise
            for job in jobs:
                self.note("stale", job)
            return
        for job in jobs:
            self.note("done", job)

    def fate(self):
        """Returns how a job fails: for good, with a delay, or as the queue's settings have it."""
        chance = self.random.random()
        if chance < 0.05:
            return {"error": "given up", "retry": False, "delay": None}
        if chance < 0.4:
            delay = self.random.choice([0, 0.05, 0.3])
            return {"error": f"delayed by {delay} s", "retry": True, "delay": delay}
        return {"error": "failed", "retry": True, "delay": None}

    def fail(self, job):
        for failed in self.call(self.path.fail, job, **self.fate()):
            self.note("failed", job)
            return
        self.note("stale", job)

    def snooze(self, job):
        for snoozed in self.call(SNOOZED, job, delay=self.random.choice([0, 0.2])):
            self.note("snoozed", job)
            return
        self.note("stale", job)

    def perform(self, jobs):
        """Performs jobs that are started, to their end."""
        try:
            if self.random.random() < self.shared.failures:
                raise psycopg.errors.RaiseException("it fails before it has begun")
            if self.path.leased and self.random.random() < 0.05:
                for job in jobs:
                    self.snooze(job)
                return
            self.complete(jobs)
        except psycopg.Error as error:
            # The next connection continues with these jobs, whose state the consumer does not know
            if lost(error) or self.connection.closed:
                self.held = jobs
                raise
            for job in jobs:
                self.fail(job)

    def perform_all(self, jobs):
        jobs = [started for started in map(self.start, jobs) if started]
        if not jobs:
            return
        self.work(jobs)
        for some in [jobs] if self.path.batch else [[job] for job in jobs]:
            self.perform(some)

    def wait(self):
        """Waits for a notification; consumers that do not listen poll."""
        if not self.listens:
            self.pause(0.1)
            return
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            self.connection.pgconn.consume_input()
            if self.connection.pgconn.notifies():
                return
            time.sleep(0.005)

    def round(self):
        if self.held:
            held, self.held = self.held, []
            self.perform(held)
        jobs = self.take()
        if jobs:
            self.perform_all(jobs)
        else:
            self.wait()


def consume(shared, name, path_name):
    consumer = Consumer(shared, name, path_name)
    consumer.run(consumer.round)
