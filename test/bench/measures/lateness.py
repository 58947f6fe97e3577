"""The delays from a job's time to its announcement and to its start, for a scheduled job, a failed job that is
retried, and a job whose consumer let its lease expire. The consumer waits for a notification
(poll_interval is 60 s), records its time, starts the job and reads the clock again; the start includes its commit,
and so a flush.

The peers have no scheduler, so their consumers poll, here every second.

When a lease ends, the scheduler reads the rows in play. The leases of this measure end a second apart on average,
the other times are 50 ms apart."""

import server as servers
import sides
from measures import streams

MEASURE = "lateness"
POLL_MS = 1000
RARE_GAP_US = 1_000_000
RARE_SHARE = 10  # divisor of the number of rare jobs


def scheduled(postgres, side, size, options):
    insert = f"""INSERT INTO jobs (params, schedule)
                 VALUES ({streams.params(size)}, clock_timestamp() + $2::float8 * interval '1 s')"""
    started = observe(postgres, insert, options, listen=side.channel, claim=streams.claim(side),
                      first=side.complete_one())
    return [late(start, start[3]) for start in started]


def retried(postgres, side, size, options):
    postgres.execute(f"SELECT ecto_job.configure_queue('{side.table}', retry_timeout => '100 ms')")
    insert = f"INSERT INTO jobs (params) VALUES ({streams.params(size)})"
    fail = f"SELECT id FROM ecto_job.fail_job('{side.table}', $1::bigint, $2::bigint)"
    started = observe(postgres, insert, options, listen=side.channel, claim=streams.claim(side), first=fail,
                      then=side.complete_one())
    return [late(start, start[3]) for start in started if start[1] > 1]


def expired(postgres, side, size, options):
    insert = f"INSERT INTO jobs (params) VALUES ({streams.params(size)})"
    started = observe(postgres, insert, options, rare=True, listen=side.channel,
                      claim=streams.claim(side, "'300 ms'"), then=side.complete_one())
    ends = {start[0]: start[4] for start in started if start[1] == 1}
    return [late(start, ends[start[0]]) for start in started if start[1] > 1]


def handwritten(postgres, side, size, options):
    insert = f"""INSERT INTO {side.table} (payload, run_at)
                 VALUES ({streams.params(size)}, clock_timestamp() + $2::float8 * interval '1 s')"""
    columns = streams.columns("t.", "payload", "t.run_at", "t.attempts", "NULL::timestamptz", "0")
    started = observe(postgres, insert, options, poll_ms=POLL_MS, claim=side.claim(1, columns))
    return [late(start, start[3]) for start in started]


def late(start, due):
    """Returns the ms from a job's time to its announcement, and to its start. A job that came due while the consumer
    performed another needs no announcement."""
    started, woken = start[2] / 1000 - due * 1000, start[5] / 1000 - due * 1000
    return (woken if woken >= 0 else started), started


def observe(postgres, insert, options, rare=False, **script):
    count = -(-options.samples // RARE_SHARE) if rare else options.samples
    with streams.waiting_client(postgres, count=count, **script) as consumer:
        servers.result_of(streams.produce(postgres, insert, count, RARE_GAP_US if rare else streams.GAP_US))
        return servers.result_of(consumer)["started"]


WAYS = [
    ("scheduled job", scheduled, sides.ours, "ecto_job"),
    ("scheduled job", handwritten, sides.handwritten, f"handwritten, polling every {POLL_MS // 1000} s"),
    ("retry", retried, sides.ours, "ecto_job"),
    ("expired lease", expired, sides.ours, "ecto_job"),
]


def run(postgres, report, options):
    sizes = options.params if options.full else options.params[:1]
    for what, way, make, name in WAYS:
        side = make()
        for waiting in options.waiting[:1] if side.peer else options.waiting:
            for size in sizes:
                case = f"{what}, {size} B params, {waiting:,} waiting"
                for _ in range(options.rounds):
                    side.make(postgres)
                    side.fill(postgres, 0, size, waiting)
                    side.add(postgres, waiting, size, sides.WAITING_PRIORITY, "scheduled")
                    postgres.scheduler_at_rest()
                    announced, started = zip(*way(postgres, side, size, options))
                    streams.add_percentiles(report, MEASURE, f"{case}, announced", name, announced, side.peer)
                    streams.add_percentiles(report, MEASURE, f"{case}, started", name, started, side.peer)
                    side.drop(postgres)
                if not side.peer:
                    report.bound(f"{what}, {size} B params, {waiting:,} waiting: announced within 10 ms of its time (p99)",
                                 report.median(MEASURE, f"{case}, announced, p99", name, "ms"), 10, unit="ms")
