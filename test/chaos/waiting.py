"""Checks that no wake-up is lost. Sessions wait by ecto_job.wait or wait_any, for one or both of two queues whose
poll_interval is an hour. So a job is found by a wake-up, or by the search at the beginning of a wait.

The referee alternates storms and calms. In a storm jobs are enqueued in every way, sessions wait, claim and roll claims
back, and the referee cancels and terminates sessions, pauses queues, and stops and starts the scheduler; the nemesis
kills clients and server processes. In a calm no job is enqueued and no wait begins, since its search would find a job
whose wake-up was lost. Sessions that wait go on, and one that returns claims at once, so each wake-up is used or passed
on. Then no job may stay AVAILABLE beside a session that sleeps, nor when the referee has undone a claim of its own.
PATIENCE is the time in which the referee has observed both, in steps of a limited length, so that a machine that stands
still does not resemble a lost wake-up. Meanwhile the nemesis pauses, or it would end the sessions that sleep."""
import time

import psycopg

from client import RUN, Client

QUEUES = ["wait_a", "wait_b"]
DATABASE = "waits"
SETUP = "".join(f"""
    SELECT ecto_job.create_queue('{queue}', 'public');
    SELECT ecto_job.configure_queue('{queue}', '1 h', '0.5 s', '0.5 s', '0.05 s', 1000);
""" for queue in QUEUES)
# How a claim is undone: how its transaction begins, and the statements that undo it
UNDOING = [("BEGIN", ["ROLLBACK"]), ("BEGIN; SAVEPOINT a", ["ROLLBACK TO a; COMMIT"]),
           ("BEGIN", ["PREPARE TRANSACTION 'held'", "ROLLBACK PREPARED 'held'"])]
PATIENCE = 10  # seconds; a wake-up takes some milliseconds
LONG = 60  # seconds of a wait that only a wake-up ends
RESTLESS = 20  # seconds after which a calm ends although sessions are busy
IS_WAIT = ("application_name = 'waiter' AND datname = 'waits' AND state = 'active'"
           " AND starts_with(query, 'CALL ecto_job.wait')")
SLEEPERS = ("SELECT pid, query_start, query FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND " + IS_WAIT)
BUSY = ("SELECT count(*) FROM pg_stat_activity WHERE datname = 'waits' AND application_name IN ('waiter', 'enqueuer')"
        " AND backend_type = 'client backend' AND state <> 'idle'"
        " AND NOT (COALESCE(wait_event_type, '') = 'Extension' AND " + IS_WAIT + ")")


class Member(Client):
    """A client that works in storms. Its transactions are short, since a calm waits for their ends."""

    def __init__(self, shared, name, program):
        super().__init__(shared, name, program)
        self.name = name
        self.count = 0

    def connect(self, database=DATABASE, user="app"):
        return super().connect(database, user)

    def is_storm(self):
        return self.phase == RUN and self.shared.storm.value

    def round(self):
        if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.connection.execute("ROLLBACK")
        if self.is_storm():
            self.act()
        else:
            time.sleep(0.01)

    def start(self, queue):
        return self.rows(f"SELECT id, lease FROM ecto_job.start_available_jobs('{queue}',"
                         f" {self.random.choice([1, 1, 1, 3])})")

    def end(self):
        """Ends the transaction: by COMMIT or ROLLBACK, prepared or not."""
        end = self.random.choice(["COMMIT", "ROLLBACK"])
        if self.random.random() < 0.6:
            self.connection.execute(end)
            return
        self.count += 1
        gid = f"{self.name}-{self.count}"
        self.connection.execute(f"PREPARE TRANSACTION '{gid}'")
        self.pause(0.01)
        self.connection.execute(f"{end} PREPARED '{gid}'")
        self.history.note("prepared", program=self.program, end=end)


class Enqueuer(Member):
    def insert(self):
        self.connection.execute(f"INSERT INTO {self.random.choice(QUEUES)} (params) SELECT '{{}}' FROM"
                                f" generate_series(1, {self.random.choice([1, 1, 2])})")

    def in_autocommit(self):
        self.insert()

    def by_function(self):
        self.connection.execute(f"SELECT ecto_job.enqueue('{self.random.choice(QUEUES)}', '{{}}')")

    def in_a_transaction(self):
        self.connection.execute("BEGIN")
        for _ in range(self.random.randrange(3) + 1):
            self.insert()
            self.pause(0.01)
        self.end()

    def in_savepoints(self):
        self.connection.execute("BEGIN; SAVEPOINT a")
        self.insert()
        self.connection.execute(f"{self.random.choice(['ROLLBACK TO', 'RELEASE'])} a; SAVEPOINT b")
        self.insert()
        self.connection.execute("RELEASE b")
        self.end()

    def later(self):
        self.connection.execute(f"SELECT ecto_job.enqueue('{self.random.choice(QUEUES)}', '{{}}', schedule =>"
                                f" clock_timestamp() + make_interval(secs => {self.random.random() * 0.3}))")

    def act(self):
        self.random.choice([self.in_autocommit, self.in_autocommit, self.by_function, self.in_a_transaction,
                            self.in_savepoints, self.later])()
        self.history.note("came")
        self.pause(self.shared.storm_pause.value)


class Waiter(Member):
    def wait(self, queues, seconds):
        """Waits for one queue or for several; returns the queue that has a job, or null."""
        began = time.monotonic()
        if len(queues) == 1:
            available = self.rows(f"CALL ecto_job.wait('{queues[0]}', '{seconds:.3f} s')")[0][0]
            found = queues[0] if available else None
        else:
            found = self.rows(f"CALL ecto_job.wait_any('{{{','.join(queues)}}}', '{seconds:.3f} s')")[0][0]
        timed_out = time.monotonic() - began >= seconds
        self.history.note("waited", available=found is not None, timed_out=timed_out, several=len(queues) > 1)
        if timed_out and not self.is_storm():
            # Its last search may have found a job whose wake-up was lost
            self.connection.execute("SELECT 1")
            return None
        return found

    def act(self):
        queues = self.random.choice([QUEUES[:1], QUEUES[1:], QUEUES])
        queue = self.wait(queues, self.random.choice([LONG, LONG, self.random.random() * 0.3]))
        if queue:
            # In calms few claims, so that a wake-up is passed on from session to session
            use = self.random.choice([self.claim] * (8 if self.is_storm() else 2) + [self.undo_claim] * 4 +
                                     [self.undo_savepoint, self.forget] * 2 +
                                     [self.leave, self.claim_elsewhere, self.wait_again])
            use(queue)

    # What a session does that was woken; each begins with a statement at once

    def claim(self, queue):
        jobs = self.start(queue)
        self.pause(0.01)
        for job, lease in jobs:
            self.rows(f"SELECT ecto_job.complete_job('{queue}', %(job)s, %(lease)s)", job=job, lease=lease)
        self.history.note("used", jobs=len(jobs))

    def undo_claim(self, queue):
        self.connection.execute("BEGIN")
        self.start(queue)
        self.pause(0.01)
        self.end()
        self.history.note("undone")

    def undo_savepoint(self, queue):
        self.connection.execute("BEGIN; SAVEPOINT a")
        self.start(queue)
        self.connection.execute("ROLLBACK TO a; COMMIT")
        self.history.note("undone")

    def forget(self, _):
        self.connection.execute("SELECT 1")

    def leave(self, _):
        self.connection.close()
        self.connection = None

    def claim_elsewhere(self, queue):
        self.claim(QUEUES[1 - QUEUES.index(queue)])

    def wait_again(self, queue):
        self.wait([queue], 0.05)
        self.connection.execute("SELECT 1")


class Referee(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "referee")
        self.suspects = {}  # prepared transactions, and when each was first seen
        self.sleepers = {queue: 0 for queue in QUEUES}
        self.holder = None  # a connection that claims a job without a wait
        self.held = set()  # this job, as a pair of its queue and id, until the claim is undone
        self.undoing = []  # the statements that undo the claim

    def connect(self, database=DATABASE, user="postgres"):
        return super().connect(database, user)

    def greet(self):
        if self.holder:
            self.holder.close()
        self.holder, self.held = self.connect(), set()

    # Harm

    def end_session(self, how):
        found = self.rows("SELECT pid FROM pg_stat_activity WHERE datname = 'waits' AND application_name IN ('waiter',"
                          " 'enqueuer') AND state <> 'idle'")
        if found:
            self.rows(f"SELECT pg_{how}_backend(%(pid)s)", pid=self.random.choice(found)[0])
            self.history.note(how)

    def cancel(self):
        self.end_session("cancel")

    def terminate(self):
        self.end_session("terminate")

    def pause_and_resume(self):
        queue = self.random.choice(QUEUES)
        self.rows(f"SELECT ecto_job.pause_queue('{queue}')")
        self.pause(0.1)
        self.rows(f"SELECT ecto_job.resume_queue('{queue}')")
        self.history.note("queue paused")

    def switch_scheduler(self):
        self.rows(f"SELECT ecto_job.{self.random.choice(['stop', 'start', 'start'])}_scheduler()")
        self.history.note("scheduler switched")

    def storm(self):
        self.end_prepared()
        for queue in QUEUES:
            # So that sessions sleep in most calms
            self.rows(f"DELETE FROM {queue} WHERE id IN (SELECT id FROM {queue} FOR UPDATE SKIP LOCKED)")
        self.shared.storm_pause.value = self.random.choice([0.05, 0.2, 0.5])
        # Seldom, since a scheduler that starts wakes all sessions, also in the next calm
        if self.random.random() < 0.2:
            self.switch_scheduler()
        ends = time.monotonic() + self.random.random() * 0.8
        self.shared.storm.value = 1
        try:
            while time.monotonic() < ends and self.phase == RUN:
                self.random.choice([self.cancel] * 5 + [self.terminate, self.pause_and_resume])()
                self.pause(0.1)
        finally:
            self.shared.storm.value = 0

    # Observation

    def end_prepared(self):
        """Ends prepared transactions that were there a second ago, too: their sessions are gone, and they lock jobs."""
        now = time.monotonic()
        found = {name for (name,) in self.rows("SELECT gid FROM pg_prepared_xacts WHERE database = 'waits'")}
        self.suspects = {name: self.suspects.get(name, now) for name in found}
        for name in [name for name, since in self.suspects.items() if now - since > 1]:
            self.connection.execute(f"{self.random.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{name}'")

    def missed(self):
        """Returns the pairs of a job that is AVAILABLE and a session that sleeps, and whether any session is busy."""
        sleepers = self.rows(SLEEPERS)
        busy = self.rows(BUSY)[0][0] > 0
        pairs = set()
        for queue in QUEUES:
            here = [(pid, since) for pid, since, query in sleepers if queue in query]
            self.sleepers[queue] = len(here)
            jobs = self.rows(f"SELECT id FROM {queue} WHERE state = 'AVAILABLE' ORDER BY id LIMIT 20") if here else []
            pairs |= {(queue, job, *sleeper) for (job,) in jobs if (queue, job) not in self.held for sleeper in here}
        return pairs, busy

    def calm(self):
        """Waits until all is quiet; reports a job that stays beside a session that sleeps."""
        try:
            self.observe()
        finally:
            self.shared.suspects.value = 0

    def observe(self):
        began = last = looked = time.monotonic()
        lasting, observed, quiet = set(), 0, 0
        while self.phase == RUN and quiet < 2 and last - began < RESTLESS + PATIENCE:
            pairs, busy = self.missed()
            now = time.monotonic()
            observed = observed + min(now - last, 0.3) if lasting & pairs else 0
            lasting = lasting & pairs or pairs
            last = now
            self.shared.suspects.value = int(observed > 0.5)
            if observed > PATIENCE:
                queue, job, pid, since = min(lasting)
                self.history.note("slept on", queue=queue, job=job, pid=pid, since=str(since), jobs=len(lasting))
                return
            quiet = 0 if pairs or busy else quiet + 1
            if now - looked > 0.3:
                looked = now
                self.end_prepared()
            time.sleep(0.02)
        if quiet == 2:
            self.history.note("calm", sleepers=sum(self.sleepers.values()))

    # What happens in a calm

    def add_job(self):
        """Adds one job to a queue on which several sessions sleep, among whom its wake-up may be passed on. Returns
        whether there is such a queue."""
        queues = [queue for queue, count in self.sleepers.items() if count > 1]
        if queues:
            self.random.choice([self.add, self.add_and_hold])(self.random.choice(queues))
            self.history.note("one job")
        return bool(queues)

    def add(self, queue):
        self.rows(f"INSERT INTO {queue} (params) VALUES ('{{}}')")

    def add_and_hold(self, queue):
        """Adds a job and claims it in the next transaction, by one message, so that the session that was woken for the
        job comes too late."""
        if self.holder.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.holder.execute("ROLLBACK")  # after an error, or when another session had the job
        # The end of a transaction first ends its savepoints, so a savepoint is made only where it is used
        begin, self.undoing = self.random.choice(UNDOING)
        cursor = self.holder.execute(f"BEGIN; INSERT INTO {queue} (params) VALUES ('{{}}'); COMMIT; {begin};"
                                     f" SELECT id FROM ecto_job.start_available_jobs('{queue}')")
        while cursor.nextset():
            pass
        self.held = {(queue, job) for (job,) in cursor.fetchall()}

    def undo(self):
        """Undoes the claim that is held. Its job is then found only if this wakes a session, since the holder has no
        wake-up that can be passed on. Returns whether a claim was held."""
        held, self.held = self.held, set()
        for queue, _ in held:
            for statement in self.undoing:
                self.holder.execute(statement)
            self.history.note("undone without a wait", sleepers=self.sleepers[queue])
        return bool(held)

    def round(self):
        if self.phase != RUN:
            time.sleep(0.1)
            return
        self.storm()
        for queue in QUEUES:
            self.rows(f"SELECT ecto_job.resume_queue('{queue}')")  # which wakes all sessions that wait for the queue
        self.calm()
        while self.phase == RUN and (self.undo() or self.add_job()):
            self.calm()


def enqueue(shared, name):
    client = Enqueuer(shared, name, "enqueuer")
    client.run(client.round)


def wait(shared, name):
    client = Waiter(shared, name, "waiter")
    client.run(client.round)


def referee(shared, name):
    client = Referee(shared, name)
    client.run(client.round)


def end_waits(server):
    """Terminates the sessions that wait; returns whether there was none."""
    return not server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + IS_WAIT)
