"""The cost of a job on disk: bytes of WAL from its start to its deletion, dead rows, heap of the waiting jobs.

20,000 jobs are performed in batches of 100, each step with its commit, while half as many again wait behind them. A
CHECKPOINT comes before the fill, so that no full-page images are written."""

import sides
from measures.drain import BATCH, each, trip

MEASURE = "storage"
WAITING = 1.5  # waiting jobs for each job that is performed


def one_step(side):
    return [trip((side.start(BATCH), "claim")), trip((side.complete_all(), "jobs"))]


def two_steps(side):
    reserve = f"SELECT id, attempt, lease FROM ecto_job.reserve_available_jobs('{side.table}', {BATCH})"
    progress = f"""SELECT id FROM ecto_job.update_job_in_progress('{side.table}', $1::bigint, $2::int,
                                                                  lease => $3::bigint)"""
    delete = f"SELECT ecto_job.delete_job_changeset('{side.table}', $1::bigint, $2::int + 1, $3::bigint)"
    begin, commit = trip(("BEGIN", "")), trip(("COMMIT", ""))
    return [trip((reserve, "claim")), begin, each([(progress, "job")]), commit, begin, each([(delete, "job")]), commit]


def handwritten(side):
    return [trip((side.claim(BATCH), "claim"))]


def elixir(side):
    begin, commit = trip(("BEGIN", "")), trip(("COMMIT", ""))
    return [trip((side.reserve(BATCH), "claim")), begin, each([(side.progress(), "job")]), commit,
            begin, each([(side.delete(), "job")]), commit]


def ways():
    found = []
    for fillfactor in (45, 70, 90):
        found.append((f"ecto_job, fillfactor {fillfactor}", sides.ours(), one_step, fillfactor))
    found.append(("ecto_job, reserve, progress, delete", sides.ours(), two_steps, None))
    found.append(("handwritten", sides.handwritten(), handwritten, None))
    found.append(("EctoJob 3.1", sides.elixir(), elixir, None))
    return found


def run(server, report, options):
    for size in options.params if options.full else options.params[:1]:
        for name, side, steps, fillfactor in ways():
            for _ in range(options.rounds):
                side.make(server)
                if fillfactor:
                    server.execute(f"ALTER TABLE {side.table} SET (fillfactor = {fillfactor})")
                side.fill(server, options.lives, size, int(WAITING * options.lives))
                server.scheduler_at_rest()
                measure(server, report, name, side, steps(side), size, options.lives)
                side.drop(server)
    size = options.params[0]
    wal = report.median(MEASURE, f"{size} B params, WAL from start to gone", "ecto_job, fillfactor 45", "bytes a job")
    hot = report.median(MEASURE, f"{size} B params, HOT updates", "ecto_job, fillfactor 45", "%")
    report.bound("WAL from start to gone: at most 260 bytes a job", wal, 260, unit="bytes")
    report.bound("updates that are HOT: all", hot, 100, at_least=True, unit="%")


def measure(server, report, name, side, steps, size, lives):
    def add(what, value, unit, more_is_better=False):
        report.add(MEASURE, f"{size} B params, {what}", name, value, unit, side.peer, more_is_better)

    jobs = lives + int(WAITING * lives)
    before = server.statistics(side.table)
    add("heap, and TOAST, of a waiting job", before["table"] / jobs, "bytes a job")
    add("indexes of a waiting job", before["indexes"] / jobs, "bytes a job")
    start = server.wal_position()
    server.run_client("drain", {"limit": lives, "steps": steps})
    end = server.wal_position()
    after = server.statistics(side.table)
    add("WAL from start to gone", server.bytes_of_wal(start, end) / lives, "bytes a job")
    updates = after["updates"] - before["updates"]
    if updates:
        add("HOT updates", 100 * (after["hot"] - before["hot"]) / updates, "%", True)
    add("dead rows", after["dead"] / lives, "a job")
    kinds = server.rows("""SELECT "resource_manager/record_type", record_size::float8, fpi_size::float8
                           FROM pg_get_wal_stats(%s, %s, true) WHERE count > 0 ORDER BY 2 DESC""", [start, end])
    if sum(fpi for _, _, fpi in kinds) > 0:
        report.note(f"storage, {name}: a checkpoint came between, its full-page images are counted")
    for kind, size_of_kind, _ in kinds[:5]:
        report.add("WAL by kind of record", f"{size} B params, {name}", kind, size_of_kind / lives, "bytes a job")
