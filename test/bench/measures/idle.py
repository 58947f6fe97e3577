"""The cost of an idle server: queries, wake-ups and processor time of the extension's processes, with one scheduled
job, due tomorrow, in each queue."""

import time

import server as servers
import sides

MEASURE = "idle"
KINDS = ("ecto_job scheduler", "ecto_job launcher")


def last_query(server):
    """Returns a time that changes whenever the scheduler reads the registry or sweeps a queue."""
    return server.value("""SELECT query_start FROM pg_stat_activity
                           WHERE backend_type = 'ecto_job scheduler' AND datname = 'bench'""", dbname="postgres")


def transactions(server):
    return server.value("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'bench'",
                        dbname="postgres")


def run(server, report, options):
    made = []
    for count in options.queues:
        while len(made) < count:
            side = sides.ours(table=f"idle_{len(made)}")
            made.append(side)
            with server.connect() as connection:
                connection.execute(f"SELECT ecto_job.create_queue('{side.table}')")
                connection.execute(f"INSERT INTO {side.table} (params, schedule) VALUES ('{{}}', now() + '1 day')")
        time.sleep(1)
        server.scheduler_at_rest()
        time.sleep(2)
        pids = server.processes(*KINDS)
        query, began = last_query(server), transactions(server)
        before = {kind: (servers.wake_ups(pid), servers.cpu_ms(pid)) for kind, pid in pids.items()}
        time.sleep(options.idle_seconds)
        after = {kind: (servers.wake_ups(pid), servers.cpu_ms(pid)) for kind, pid in pids.items()}
        minutes = options.idle_seconds / 60
        case = f"{count:,} queues, {options.idle_seconds} s"
        for kind in pids:
            report.add(MEASURE, case, f"wake-ups, {kind}", (after[kind][0] - before[kind][0]) / minutes, "a minute")
            report.add(MEASURE, case, f"processor, {kind}", (after[kind][1] - before[kind][1]) / minutes,
                       "ms a minute")
        # The observer's queries are in another database, and are not counted
        ran = transactions(server) - began
        queries = ran if last_query(server) == query else max(ran, 1)
        report.add(MEASURE, case, "transactions in the database", queries, "in all")
        if count == options.queues[-1]:
            woken = max(report.median(MEASURE, case, f"wake-ups, {kind}", "a minute") for kind in pids)
            report.bound(f"idle, {count:,} queues: no query between safety sweeps", queries, 0)
            report.bound(f"idle, {count:,} queues: each process wakes at most once a minute", woken, 1,
                         unit="a minute")
    for side in made:
        side.drop(server)
