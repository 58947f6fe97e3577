"""Ten minutes at 1,000 jobs a second with autovacuum; in the middle third another session holds an old
snapshot. A consumer starts up to 100 jobs at a time, and polls again after 10 ms when it finds none."""

import statistics
import time

import report as reports
import server as servers
import sides
from measures.drain import BATCH, handwritten, ours_in_two_steps

MEASURE = "ten minutes"
JOBS_A_TRANSACTION = 20
JOBS_A_SECOND = 1000


def insert(side, size):
    column = "payload" if side.peer else "params"
    return f"""INSERT INTO {side.table} ({column})
               SELECT jsonb_build_object('n', $1::int, 'f', '{sides.filler(size)}')
               FROM generate_series(1, {JOBS_A_TRANSACTION})"""


def run(server, report, options):
    server.start(autovacuum="on")
    for side, steps in ((sides.ours(), ours_in_two_steps), (sides.handwritten(), handwritten)):
        side.make(server)
        side.fill(server, 0, options.params[0])
        seconds = options.long_seconds
        gap_us = 1_000_000 * JOBS_A_TRANSACTION // JOBS_A_SECOND
        consumer = server.start_client("drain", {"steps": steps(side, BATCH, False), "times": True,
                                                 "seconds": seconds})
        producer = server.start_client("produce", {"sql": insert(side, options.params[0]), "gap_us": gap_us,
                                                   "count": seconds * 1_000_000 // gap_us})
        states = []
        for third in ("before", "old snapshot", "after"):
            if third == "old snapshot":
                with server.old_snapshot():
                    time.sleep(seconds / 3)
                    states.append((third, server.statistics(side.table)))
            else:
                time.sleep(seconds / 3)
                states.append((third, server.statistics(side.table)))
        servers.result_of(producer)
        times = servers.result_of(consumer)["times"]
        for number, (third, state) in enumerate(states):
            part = [us / 1000 for at, us in times if number <= 3 * at / seconds < number + 1]
            if not part:
                report.note(f"{MEASURE}, {side.name}: no claim in the part {third}")
                continue
            case = f"{third}, claim"
            report.add(MEASURE, f"{case}, median", side.name, statistics.median(part), "ms", side.peer, False)
            report.add(MEASURE, f"{case}, p99", side.name, reports.percentile(part, 99), "ms", side.peer, False)
            report.add(MEASURE, f"{third}, at the end, heap", side.name, state["heap"] / 1e6, "MB", side.peer, False)
            report.add(MEASURE, f"{third}, at the end, indexes", side.name, state["indexes"] / 1e6, "MB", side.peer,
                       False)
            report.add(MEASURE, f"{third}, at the end, dead rows", side.name, state["dead"], "rows", side.peer, False)
        side.drop(server)
