"""What every client process has: its own random numbers, history and connection, and the phase of the run."""
import random
import time

import psycopg

from history import History

RUN, CALM, STOP = 0, 1, 2  # phases: under the nemesis, healed and draining, over


class Stale(Exception):
    """The job is no longer ours."""


def lost(error):
    """True: the connection is gone, and whether its last statement was committed is not known."""
    return isinstance(error, psycopg.InterfaceError) or error.sqlstate is None or \
        error.sqlstate.startswith(("57P", "08", "XX"))


class Client:
    """One process's. `shared` is what main.py hands to all of them, see there."""

    def __init__(self, shared, name, program):
        self.shared = shared
        self.program = program
        self.random = random.Random(f"{shared.seed} {name}")
        self.history = History(shared.histories, name)
        self.connection = None

    @property
    def phase(self):
        return self.shared.phase.value

    def connect(self, database="chaos", user="app"):
        """A connection in autocommit, as soon as there is a server; None when the run ends before."""
        while self.phase != STOP:
            try:
                return psycopg.connect(self.shared.server, dbname=database, user=user, autocommit=True,
                                       application_name=self.program, connect_timeout=5)
            except psycopg.OperationalError:
                time.sleep(0.05)
        return None

    def greet(self):
        """On each new connection."""

    def run(self, rounds):
        """Calls rounds() until the run is over, each time with a connection. Errors of statements are what
        a hostile world does; what must not happen is found by the checker."""
        is_new = True
        while self.phase != STOP:
            if self.connection is None:
                self.connection = self.connect()
                is_new = True
                continue
            try:
                if is_new:
                    self.greet()
                is_new = False
                rounds()
            except psycopg.Error as error:
                if lost(error) or self.connection.closed:
                    self.connection.close()
                    self.connection = None
                self.history.note("error", sqlstate=error.sqlstate, message=str(error).strip()[:200])
                time.sleep(0.02)

    def rows(self, text, **parameters):
        cursor = self.connection.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []

    def pause(self, longest):
        time.sleep(self.random.random() * longest)
