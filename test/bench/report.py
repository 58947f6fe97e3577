"""The results: records, bounds, tables in Markdown, a file in JSON.

As a program it prints the tables of the files that are its arguments, as if they were of one run."""

import dataclasses
import json
import statistics
import sys


@dataclasses.dataclass
class Record:
    measure: str
    case: str
    side: str
    unit: str
    values: list
    peer: bool
    more_is_better: bool | None  # None: neither is better

    @property
    def median(self):
        return statistics.median(self.values)


@dataclasses.dataclass
class Bound:
    text: str
    measured: str
    holds: bool


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def rounded(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


class Report:
    def __init__(self):
        self.records = {}
        self.bounds = []
        self.notes = []
        self.description = {}

    def add(self, measure, case, side, value, unit, peer=False, more_is_better=None):
        """Adds a round's value; the sides of a case are compared with each other."""
        key = (measure, case, side, unit)
        if key not in self.records:
            self.records[key] = Record(measure, case, side, unit, [], peer, more_is_better)
        self.records[key].values.append(value)

    def median(self, measure, case, side, unit):
        record = self.records.get((measure, case, side, unit))
        return record.median if record else None

    def bound(self, text, measured, limit, at_least=False, unit=""):
        """Returns a line of a table; None if the case was not measured."""
        if measured is None:
            return
        holds = measured >= limit if at_least else measured <= limit
        self.bounds.append(Bound(text, rounded(measured) + (f" {unit}" if unit else ""), holds))

    def note(self, text):
        """Records a measure that was not possible, and why; the text is printed with the tables."""
        if text not in self.notes:
            self.notes.append(text)

    def tables(self, measure):
        """Returns a table for each unit: cases down, sides across."""
        lines = [f"### {measure[:1].upper()}{measure[1:]}", ""]
        records = [r for r in self.records.values() if r.measure == measure]
        for unit in dict.fromkeys(r.unit for r in records):
            cells = {(r.case, r.side): r for r in records if r.unit == unit}
            side_names = list(dict.fromkeys(side for _, side in cells))
            lines += ["| " + " | ".join([unit, *side_names]) + " |", "|---" * (1 + len(side_names)) + "|"]
            for case in dict.fromkeys(case for case, _ in cells):
                row = [cell_of(cells.get((case, side))) for side in side_names]
                lines.append("| " + " | ".join([case, *row]) + " |")
            lines.append("")
        return lines

    def verdicts(self):
        """Compares each path of ours with each peer in its case, in units that have a better direction."""
        worse, better = [], []
        for record in self.records.values():
            if record.peer or record.more_is_better is None:
                continue
            found = {True: [], False: []}
            for peer in self.peers(record):
                factor = record.median / peer.median
                good = factor == 1 or (factor > 1) == record.more_is_better
                found[good].append(f"{factor:.2f} of {peer.side} ({rounded(peer.median)})")
            for good, list_ in ((False, worse), (True, better)):
                if found[good]:
                    list_.append(f"- {record.measure}, {record.case}: {record.side}, {rounded(record.median)} "
                                 f"{record.unit}: {', '.join(found[good])}")
        return ["### Worse than a peer", "", *worse, "", "### Better, or the same", "", *better, ""]

    def peers(self, record):
        """Returns the records of peers with which this record is compared."""
        case = (record.measure, record.case, record.unit)
        return [r for r in self.records.values()
                if r.peer and r is not record and (r.measure, r.case, r.unit) == case and r.median]

    def text(self):
        lines = ["### Machine and settings", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.description.items()]
        lines.append("")
        for measure in dict.fromkeys(r.measure for r in self.records.values()):
            lines += self.tables(measure)
        lines += self.verdicts()
        if self.bounds:
            lines += ["### Bounds", "", "| bound | measured | |", "|---|---|---|"]
            lines += [f"| {b.text} | {b.measured} | {'holds' if b.holds else '**does not hold**'} |"
                      for b in self.bounds]
            lines.append("")
        lines += [f"Not measured: {note}" for note in self.notes]
        return "\n".join(lines)

    def read(self, path):
        """Adds the records that another run has written."""
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        self.description |= {name: text for name, text in content["description"].items() if name != "load"}
        for record in content["records"]:
            for value in record["values"]:
                self.add(*(record[key] for key in ("measure", "case", "side")), value,
                         *(record[key] for key in ("unit", "peer", "more_is_better")))
        self.bounds += [Bound(**bound) for bound in content["bounds"]]
        for note in content["not_measured"]:
            self.note(note)

    def write(self, path):
        content = {
            "description": self.description,
            "records": [dataclasses.asdict(r) | {"median": r.median} for r in self.records.values()],
            "bounds": [dataclasses.asdict(b) for b in self.bounds],
            "not_measured": self.notes,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)


def cell_of(record):
    """Returns the median, and if there were several rounds the least and the greatest value."""
    if record is None:
        return ""
    if len(record.values) == 1:
        return rounded(record.median)
    return f"{rounded(record.median)} ({rounded(min(record.values))} to {rounded(max(record.values))})"


if __name__ == "__main__":
    everything = Report()
    for name in sys.argv[1:]:
        everything.read(name)
    print(everything.text())
