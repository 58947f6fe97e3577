"""Enqueuing: one job in each transaction by 1, 8 and 32 clients of pgbench, and 10,000 jobs in one statement.

A session listens to each side's channel, as consumers do. No jobs are performed meanwhile: consumers cost
the enqueuers processor time, not locks.
"""

import json
import subprocess
import time

import sides

BULK = 10_000


def cases(options):
    """Returns the cases, as (waiting, size, clients): the whole matrix, or each dimension by itself."""
    if options.full:
        return [(w, s, c) for w in options.waiting for s in options.params for c in options.clients]
    first = [(options.waiting[0], options.params[0], clients) for clients in options.clients]
    others = [(waiting, options.params[0], options.clients[-1]) for waiting in options.waiting[1:]]
    others += [(options.waiting[0], size, options.clients[-1]) for size in options.params[1:]]
    return list(dict.fromkeys(first + others))


def transactions(server, side, size, clients, seconds):
    script = server.directory / "enqueue.sql"
    script.write_text(side.insert(":params") + ";\n")
    params = json.dumps({"n": 1, "f": sides.filler(size)})
    command = ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(2, clients)), "-T",
               str(seconds), "-f", str(script), "-D", f"params={params}"]
    with server.listener(side.channel):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = output.splitlines()
    speed = float(next(line for line in lines if line.startswith("tps")).split()[2])
    count = int(next(line for line in lines if "actually processed" in line).split()[5].split("/")[0])
    return speed, count


def bulk_jobs_per_second(server, side, size):
    params = f"jsonb_build_object('n', n, 'f', '{sides.filler(size)}')"
    insert = side.insert(params).replace("RETURNING id", "")
    if insert.startswith("SELECT"):
        statement = f"SELECT count({insert.removeprefix('SELECT ')}) FROM generate_series(1, {BULK}) AS n"
    else:
        statement = insert.replace("VALUES (", "SELECT ")
        statement = statement[: statement.rindex(")")] + f" FROM generate_series(1, {BULK}) AS n"
    with server.listener(side.channel), server.connect() as connection:
        start = time.monotonic()
        connection.execute(statement)
        return BULK / (time.monotonic() - start)


def run(server, report, options):
    waiting_now = None
    tables = {side.table: side for side in sides.enqueuers()}
    for waiting, size, clients in sorted(cases(options)):
        if (waiting, size) != waiting_now:
            for side in tables.values():
                side.make(server)
                side.fill(server, 0, size, waiting)
            waiting_now = (waiting, size)
        case = f"{clients} clients, {size} B params, {waiting:,} waiting"
        for turn in range(options.rounds):
            for side in options.turn(sides.enqueuers(), turn):
                server.scheduler_at_rest()
                with server.spending() as spent:
                    speed, count = transactions(server, side, size, clients, options.seconds)
                report.add("enqueue", case, side.name, speed, "tx/s", side.peer, True)
                report.add("enqueue", case, side.name, spent.cpu / count,
                           "µs of the sessions' processor a transaction", side.peer, False)
        if clients == options.clients[0]:
            case = f"{BULK:,} in one transaction, {size} B params, {waiting:,} waiting"
            for turn in range(options.rounds):
                for side in options.turn(sides.enqueuers(), turn):
                    speed = bulk_jobs_per_second(server, side, size)
                    report.add("enqueue", case, side.name, speed, "jobs/s", side.peer, True)
    for side in tables.values():
        side.drop(server)
    clients, size, waiting = options.clients[-1], options.params[0], options.waiting[0]
    case = f"{clients} clients, {size} B params, {waiting:,} waiting"
    ours = report.median("enqueue", case, "ecto_job, INSERT", "tx/s")
    bare = report.median("enqueue", case, "ecto_job's table, no trigger", "tx/s")
    report.bound(f"enqueue, {clients} clients: at least 0.85 of the table without triggers", ours / bare, 0.85,
                 at_least=True)
