"""Checks that claims take the first jobs of the queue's order. Two claimers, whose transactions stay open for a
while, and a producer, whose jobs often precede all waiting jobs, work on a queue of their own. If the COMMIT of a job
had returned before a claim began, and the job precedes the last one that the claim took, another claim must have
locked the job by then. A job that is claimed only later was hidden from that claim.

The clients are threads of one process, so that one lock orders their events. After an error the events so far are
discarded, since the claim that failed may have held any jobs."""
import threading
import time

import psycopg

from client import RUN, Client


class Board:
    """The events of the threads. A job is identified by its key (priority, schedule, id)."""

    def __init__(self, history):
        self.lock = threading.Lock()
        self.history = history
        self.forget()

    def forget(self):
        self.waiting = {}  # key: time at which its COMMIT had returned
        self.passed_by = {}  # key: ends of claims that should have taken the job
        self.hidden = []  # reported unless an error explains the job
        self.generation = getattr(self, "generation", 0) + 1

    def enqueued(self, key, generation):
        with self.lock:
            if generation == self.generation:
                self.waiting[key] = time.monotonic()

    def claimed(self, keys, demand, began, generation):
        with self.lock:
            if generation != self.generation:
                return
            now = time.monotonic()
            for key in keys:
                self.waiting.pop(key, None)
                hidden_from = [end for end in self.passed_by.pop(key, []) if end < began]
                if hidden_from:
                    self.hidden.append((now, f"{key}, from {len(hidden_from)} claims"))
            for key, since in self.waiting.items():
                if since < began and (len(keys) < demand or key < max(keys)):
                    self.passed_by.setdefault(key, []).append(now)
            self.history.note("claimed", jobs=len(keys))
            for at, key in [hidden for hidden in self.hidden if now - hidden[0] > 1]:
                self.history.note("hidden", key=key)
                self.hidden.remove((at, key))


class Worker(Client):
    def __init__(self, shared, name, board):
        super().__init__(shared, name, "order")
        self.board = board

    def run(self, rounds):
        def round_or_forget():
            try:
                rounds()
            except psycopg.Error:
                with self.board.lock:
                    self.board.forget()
                if not self.connection.closed:
                    self.connection.close()
                raise
        super().run(round_or_forget)

    def produce(self):
        generation = self.board.generation
        with self.connection.transaction():
            row = self.rows("INSERT INTO ordered (params, priority) VALUES ('{}', %(priority)s)"
                            " RETURNING state, priority, schedule, id", priority=self.random.randrange(-1000, 1000))[0]
            if self.random.random() < 0.3:
                self.pause(0.01)
        if row[0] == "AVAILABLE":
            self.board.enqueued(row[1:], generation)
        self.pause(0.01)

    def claim(self):
        generation = self.board.generation
        demand = self.random.choice([1, 2])
        with self.connection.transaction():
            began = time.monotonic()
            jobs = self.rows("SELECT priority, schedule, id, lease FROM ecto_job.start_available_jobs('ordered',"
                             " %(demand)s, timeout => '1 h')", demand=demand)
            self.board.claimed([job[:3] for job in jobs], demand, began, generation)
            self.pause(0.01)
        self.rows("SELECT ecto_job.complete_jobs('ordered', %(ids)s, %(leases)s)",
                  ids=[job[2] for job in jobs], leases=[job[3] for job in jobs])


def keep_order(shared, name):
    board = Board(Client(shared, name, "order").history)
    threads = []
    for number, action in enumerate(("produce", "claim", "claim")):
        worker = Worker(shared, f"{name}-{number}", board)

        def rounds(worker=worker, action=action):
            if worker.phase == RUN:
                getattr(worker, action)()
            else:
                worker.pause(0.2)
        threads.append(threading.Thread(target=worker.run, args=(rounds,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
