"""The benchmark: measures, one after the other, in one private server. See run.

Every round measures each side, and each round begins with another side. Sides that are compared are in one table.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile
import time

import report
import server

MEASURES = ["enqueue", "drain", "steps", "latency", "lateness", "snapshot", "storage", "idle", "death", "long"]
USUAL = [name for name in MEASURES if name != "long"]
BY_REQUEST = ["versions"]


def numbers(text):
    return [int(number) for number in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(prog="make bench", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE",
                        help=f"of {', '.join(MEASURES + BY_REQUEST)}; all but long, which takes long_seconds for each side, "
                             "and versions")
    parser.add_argument("--quick", action="store_true", help="does everything once, small: times mean nothing")
    parser.add_argument("--full", action="store_true", help="every number of waiting jobs with every size of params")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--waiting", type=numbers, default=[0, 10_000, 1_000_000], help="jobs that wait behind")
    parser.add_argument("--params", type=numbers, default=[100, 1000, 4000], help="bytes of a job's params")
    parser.add_argument("--clients", type=numbers, default=[1, 8, 32], help="that enqueue")
    parser.add_argument("--seconds", type=int, default=4, help="of each turn of enqueuing")
    parser.add_argument("--jobs", type=int, default=50_000, help="that are drained")
    parser.add_argument("--finished", type=int, default=500_000, help="jobs completed under the old snapshot")
    parser.add_argument("--lives", type=int, default=20_000, help="jobs of which the bytes of WAL are counted")
    parser.add_argument("--samples", type=int, default=500, help="jobs of which times are taken")
    parser.add_argument("--queues", type=numbers, default=[1, 100, 1000], help="of the idle server")
    parser.add_argument("--idle-seconds", type=int, default=120)
    parser.add_argument("--long-seconds", type=int, default=600)
    parser.add_argument("--output", type=pathlib.Path, help="the results as JSON", default="bench.json")
    parser.add_argument("--against", metavar="DIRECTORY",
                        help="the programs of a PostgreSQL with another version of the extension, for versions")
    parser.add_argument("--client", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.measures) - set(MEASURES + BY_REQUEST)
    if unknown:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    if "versions" in options.measures and not options.against:
        parser.error("versions needs --against; make bench AGAINST=COMMIT builds the other version")
    if options.against and options.measures and "versions" not in options.measures:
        parser.error("--against is for the measure versions")
    if options.quick:
        vars(options).update(rounds=1, waiting=[0, 100], params=[100], clients=[2], seconds=1, jobs=200,
                             finished=500, samples=5, lives=400, queues=[3], idle_seconds=1, long_seconds=3)
    options.settings = {"fsync": "off"} if options.quick else {}
    if not options.measures:
        options.measures = ["versions"] if options.against else MEASURES if options.quick else USUAL
    # Another side begins in every round
    options.turn = lambda sides, turn: sides[turn % len(sides):] + sides[: turn % len(sides)]
    return options


def main():
    options = arguments()
    results = report.Report()
    with tempfile.TemporaryDirectory() as directory:
        postgres = server.Server(directory, options.client.absolute(), **options.settings)
        try:
            postgres.start()
            results.description = postgres.description()
            for name in options.measures:
                start = time.monotonic()
                importlib.import_module(f"measures.{name}").run(postgres, results, options)
                if postgres.changed:
                    postgres.start()
                print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        except Exception:
            log = pathlib.Path(directory) / "server.log"
            sys.stderr.write("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-20:]))
            raise
        finally:
            results.write(options.output)  # also the results so far of an interrupted measure
            postgres.stop()
            print(results.text())


main()
