"""A producer enqueues jobs in every way, and records for each whether its COMMIT was acknowledged.

Each job has a token, unique in the run. A token is `acknowledged` (COMMIT has returned), `aborted` (an error, or a
ROLLBACK of the producer) or `unknown` (the connection broke when the job might have been committed)."""
import psycopg

from client import RUN, Client, lost

# The name of each way, and how it writes a row
STATEMENTS = {
    "enqueue": "SELECT ecto_job.enqueue('jobs', jsonb_build_object('token', %(token)s::text),"
               " max_attempts => %(max_attempts)s, priority => %(priority)s, notify => %(notify)s)",
    "scheduled": "SELECT ecto_job.enqueue('jobs', jsonb_build_object('token', %(token)s::text),"
                 " schedule => clock_timestamp() + make_interval(secs => %(delay)s),"
                 " max_attempts => %(max_attempts)s, priority => %(priority)s)",
    "insert": "INSERT INTO jobs (params, max_attempts, priority, notify) VALUES"
              " (jsonb_build_object('token', %(token)s::text), %(max_attempts)s, %(priority)s, %(notify)s)",
}
ENDINGS = ["autocommit"] * 6 + ["commit"] * 6 + ["savepoint"] * 2 + ["rollback", "prepare", "prepare"]


class Producer(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "producer")
        self.name = name
        self.count = 0

    def token(self):
        self.count += 1
        return f"{self.name}-{self.count}"

    def insert(self, token):
        way = self.random.choice(list(STATEMENTS))
        self.connection.execute(STATEMENTS[way], {
            "token": token, "max_attempts": self.random.choice([1, 2, 3, 5]),
            "priority": self.random.choice([0, 0, 0, -1, 1, self.random.randrange(-50, 50)]),
            "delay": self.random.random() * 1.5, "notify": self.random.choice([None, "done"])})

    def insert_all(self, ending, tokens):
        """Enqueues within a transaction; returns the tokens that a savepoint rolls back."""
        for token in tokens:
            self.insert(token)
        if ending != "savepoint":
            return []
        extra = self.token()
        self.history.note("invoke", tokens=[extra])
        self.connection.execute("SAVEPOINT inner_one")
        self.insert(extra)
        self.connection.execute("ROLLBACK TO inner_one")
        return [extra]

    def end(self, ending, tokens):
        """Ends the transaction, by COMMIT or another command; returns the outcome of the tokens."""
        if ending == "rollback":
            self.connection.execute("ROLLBACK")
            return "aborted"
        if ending != "prepare":
            self.connection.execute("COMMIT")
            return "acknowledged"
        self.connection.execute(f"PREPARE TRANSACTION '{tokens[0]}'")
        self.pause(0.05)
        self.connection.execute(f"COMMIT PREPARED '{tokens[0]}'")
        return "acknowledged"

    def transaction(self, ending, tokens):
        if ending == "autocommit":
            self.insert(tokens[0])
            return "acknowledged"
        self.connection.execute("BEGIN")
        undone = self.insert_all(ending, tokens)
        if undone:
            self.history.note("aborted", tokens=undone)
        if self.random.random() < 0.1:
            self.pause(0.2)
        return self.end(ending, tokens)

    def round(self):
        if self.phase != RUN:
            self.pause(0.2)
            return
        ending = self.random.choice(ENDINGS)
        tokens = [self.token() for _ in range(1 if ending == "autocommit" else self.random.choice([1, 2, 5]))]
        self.history.note("invoke", tokens=tokens)
        try:
            became = self.transaction(ending, tokens)
        except psycopg.Error as error:
            # upkeep commits or rolls back a prepared transaction whose session has ended
            known = not lost(error) and not self.connection.closed and ending != "prepare"
            self.history.note("aborted" if known else "unknown", tokens=tokens)
            if not self.connection.closed:
                self.connection.execute("ROLLBACK")
            raise
        self.acknowledge(became, tokens)
        self.pause(self.shared.producer_pause)

    def acknowledge(self, became, tokens):
        """Records an acknowledged commit with a WAL position behind it, which tells whether a failover may lose the
        commit. Without a position a failover may always lose it."""
        position = None
        if self.shared.notes_positions and became == "acknowledged":
            try:
                position = self.rows("SELECT pg_current_wal_lsn() - '0/0'")[0][0]
            except psycopg.Error:
                self.connection.close()
        self.history.note(became, tokens=tokens, position=position and int(position))


def produce(shared, name):
    producer = Producer(shared, name)
    producer.run(producer.round)
