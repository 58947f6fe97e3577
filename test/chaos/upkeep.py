"""The work of operators and of a node of EctoJob's library on the queue: sweeps by the SQL functions and by EctoJob's
statements, requeues, cancellations, changes of settings, and the end of prepared transactions whose session has
ended."""
from client import RUN, Client

OURS = [
    "SELECT ecto_job.sweep('jobs')",
    "SELECT ecto_job.activate_scheduled_jobs('jobs')",
    "SELECT ecto_job.activate_expired_jobs('jobs')",
    "SELECT ecto_job.fail_expired_jobs_at_max_attempts('jobs')",
]
# These statements wait for locks, so a deadlock with a consumer of many jobs is possible, and is an error
ECTOJOBS = [
    "UPDATE jobs SET state = 'AVAILABLE', updated_at = %(now)s"
    " WHERE state IN ('SCHEDULED', 'RETRY') AND schedule <= %(now)s",
    "UPDATE jobs SET state = 'AVAILABLE', expires = NULL, updated_at = %(now)s"
    " WHERE state IN ('RESERVED', 'IN_PROGRESS') AND attempt < max_attempts AND expires < %(now)s",
    "UPDATE jobs SET state = 'FAILED', expires = NULL, updated_at = %(now)s"
    " WHERE state IN ('IN_PROGRESS') AND attempt >= max_attempts AND expires < %(now)s",
]


class Upkeep(Client):
    def __init__(self, shared, name):
        super().__init__(shared, name, "upkeep")
        self.suspects = set()

    def sweep(self):
        sweeps = OURS + (ECTOJOBS if self.shared.has_library else [])
        self.rows(self.random.choice(sweeps), now=self.rows("SELECT clock_timestamp()")[0][0])

    def requeue(self):
        for (job,) in self.rows("SELECT id FROM jobs WHERE state = 'FAILED' LIMIT 20"):
            self.rows("SELECT FROM ecto_job.requeue('jobs', %(job)s)", job=job)

    def cancel(self):
        for (job,) in self.rows("SELECT id FROM jobs OFFSET %(skipped)s LIMIT 1", skipped=self.random.randrange(20)):
            self.rows("SELECT FROM ecto_job.cancel_job('jobs', %(job)s)", job=job)

    def configure(self):
        if self.phase != RUN:
            return
        lease = self.shared.lease
        self.rows("SELECT ecto_job.configure_queue('jobs', reservation_timeout => make_interval(secs => %(reserved)s),"
                  " execution_timeout => make_interval(secs => %(started)s), retry_timeout => make_interval(secs =>"
                  " %(retry)s), max_attempts => %(attempts)s)",
                  reserved=lease * self.random.uniform(0.2, 1), started=lease * self.random.uniform(0.3, 1),
                  retry=self.random.uniform(0, 0.2), attempts=self.random.choice([1, 2, 3, 5]))

    def end_prepared(self):
        """Ends prepared transactions that existed at the previous call, too."""
        found = {name for (name,) in self.rows("SELECT gid FROM pg_prepared_xacts WHERE database = 'chaos'")}
        for name in found & self.suspects:
            self.connection.execute(f"{self.random.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{name}'")
        self.suspects = found

    def round(self):
        action = self.random.choice([self.sweep] * 6 + [self.requeue, self.configure, self.cancel])
        try:
            action()
        finally:
            if self.random.random() < 0.1 and not self.connection.closed:
                self.end_prepared()
        self.pause(0.3)


def keep_up(shared, name):
    upkeep = Upkeep(shared, name)
    upkeep.run(upkeep.round)
