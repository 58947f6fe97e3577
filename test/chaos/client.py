"""The base of every client process: its random numbers, history and connection, and the phase of the run."""
import random
import time

import psycopg

from history import History

RUN, CALM, STOP = 0, 1, 2  # phases: under the nemesis, healed and draining, over


class Stale(Exception):
    """The client no longer holds the job."""


def lost(error):
    """Returns whether the error means a lost connection, whose last statement may have been committed or not."""
    return isinstance(error, psycopg.InterfaceError) or error.sqlstate is None or \
        error.sqlstate.startswith(("57P", "08", "XX"))


class Client:
    """The client of one process. `shared` is the Shared object of main.py, which all processes use."""

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
        """Returns a connection in autocommit, as soon as a server accepts one; None if the run ends before."""
        while self.phase != STOP:
            try:
                return psycopg.connect(self.shared.server, dbname=database, user=user, autocommit=True,
                                       application_name=self.program, connect_timeout=5)
            except psycopg.OperationalError:
                time.sleep(0.05)
        return None

    def greet(self):
        """Prepares each new connection."""

    def run(self, rounds):
        """Calls rounds() with a connection until the run is over. Errors of statements are expected under the nemesis;
        the checker finds those that must not occur."""
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
