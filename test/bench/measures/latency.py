"""The latency of a job in an idle queue: from the acknowledgement of the enqueuer's COMMIT to the start of the job."""

import time

import server as servers
import sides
from measures import streams

MEASURE = "latency"


def by_client(postgres, side, insert, options, **script):
    script = {"listen": side.channel, "count": options.samples} | script
    with streams.waiting_client(postgres, **script) as consumer:
        committed = servers.result_of(streams.produce(postgres, insert, options.samples))["committed"]
        started = servers.result_of(consumer)["started"]
    commits = dict(committed)
    return [(start[2] - commits[start[0]]) / 1000 for start in started]


def ours(postgres, side, size, options, **script):
    insert = f"INSERT INTO jobs (params) VALUES ({streams.params(size)})"
    script = {"claim": streams.claim(side)} | script
    return by_client(postgres, side, insert, options, first=side.complete_one(), **script)


def ours_waiting(postgres, side, size, options, **script):
    """Measures a client that waits in the server, and sends wait and the claim together."""
    return ours(postgres, side, size, options, wait=f"CALL ecto_job.wait('{side.table}')", **script)


def ours_asynchronous(postgres, side, size, options):
    """Measures such a client whose claim does not wait for the disk; docs/consumers.md has the statement."""
    claim = streams.claim(side) + " WHERE (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL"
    return ours_waiting(postgres, side, size, options, claim=claim)


def ours_notifying(postgres, side, size, options):
    """Measures a side without a scheduler, where the trigger notifies."""
    postgres.execute("ALTER SYSTEM SET ecto_job.enabled = off", "SELECT pg_reload_conf()")
    time.sleep(0.5)
    try:
        return ours(postgres, side, size, options)
    finally:
        postgres.execute("ALTER SYSTEM RESET ecto_job.enabled", "SELECT pg_reload_conf()")
        time.sleep(0.5)


def handwritten(postgres, side, size, options):
    # This side has no priority, so the measured jobs are older than the waiting ones
    insert = f"INSERT INTO {side.table} (payload, run_at) VALUES ({streams.params(size)}, 'epoch')"
    columns = streams.columns("t.", "payload", "t.run_at", "t.attempts", "NULL::timestamptz", "0")
    return by_client(postgres, side, insert, options, claim=side.claim(1, columns))


def elixir(postgres, side, size, options):
    insert = side.insert(streams.params(size)).replace("RETURNING id", "")
    columns = streams.columns(lease="attempt")
    reserve = f"WITH jobs AS ({side.reserve(1)}) SELECT {columns} FROM jobs"
    return by_client(postgres, side, insert, options, claim=reserve, begin=side.progress(), first=side.delete())


def consumer(*arguments, from_file=False):
    """Measures ecto_job_consumer: the job writes the time of its start into a table or a file."""

    def latencies(postgres, side, size, options):
        insert = f"INSERT INTO jobs (params) VALUES ({streams.params(size)})"
        stamps = postgres.directory / "stamps"
        stamps.write_text("")
        postgres.execute("DROP TABLE IF EXISTS stamps", "CREATE TABLE stamps (n int, at timestamptz)")
        command = [argument.replace("CLIENT", str(postgres.client)) for argument in arguments]
        with streams.waiting_consumer(postgres, side, *command, STAMPS=str(stamps)):
            commits = dict(servers.result_of(streams.produce(postgres, insert, options.samples))["committed"])
            limit = time.monotonic() + 60
            starts = []
            while len(starts) < options.samples and time.monotonic() < limit:
                time.sleep(0.1)
                starts = ([tuple(map(int, line.split())) for line in stamps.read_text().splitlines()] if from_file
                          else postgres.rows("SELECT n, (extract(epoch FROM at) * 1e6)::bigint FROM stamps"))
        return [(at - commits[n]) / 1000 for n, at in starts if n in commits]

    return latencies


NOTE = "INSERT INTO stamps SELECT ($1 ->> 'n')::int, clock_timestamp() WHERE $1 ? 'n'"
WAYS = [
    ("ecto_job, libpq: LISTEN", sides.ours, ours),
    ("ecto_job, libpq: wait", sides.ours, ours_waiting),
    ("ecto_job, libpq: wait, start not flushed", sides.ours, ours_asynchronous),
    ("ecto_job, libpq, no scheduler: NOTIFY", sides.ours, ours_notifying),
    ("ecto_job_consumer --sql", sides.ours, consumer("--sql", NOTE)),
    ("ecto_job_consumer --sql --no-flush", sides.ours, consumer("--sql", NOTE, "--no-flush")),
    ("ecto_job_consumer --exec", sides.ours, consumer("--exec", "CLIENT stamp", from_file=True)),
    ("handwritten + NOTIFY", sides.handwritten_notify, handwritten),
    ("EctoJob 3.1", sides.elixir, elixir),
]


def run(postgres, report, options):
    sizes = options.params if options.full else options.params[:1]
    for waiting in options.waiting:
        for size in sizes:
            for turn in range(options.rounds):
                for name, make, way in options.turn(WAYS, turn):
                    if waiting and "consumer" in name:
                        continue  # the consumer would perform the waiting jobs next
                    side = make()
                    side.make(postgres)
                    side.fill(postgres, 0, size, waiting)
                    postgres.scheduler_at_rest()
                    case = f"{size} B params, {waiting:,} waiting"
                    streams.add_percentiles(report, MEASURE, case, name, way(postgres, side, size, options),
                                            side.peer)
                    side.drop(postgres)
