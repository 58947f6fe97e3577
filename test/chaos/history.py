"""The histories of the clients: a file for each process, with one JSON object a line.

A line is one write, so it survives whatever happens to the process afterwards. Times are of the monotonic
clock, which all processes of the machine share and which is never stepped."""
import json
import os
import pathlib
import time


class History:
    def __init__(self, directory, name):
        path = pathlib.Path(directory, f"{name}.jsonl")
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, event, **what):
        os.write(self.file, (json.dumps({"event": event, "at": time.monotonic(), **what}) + "\n").encode())


def read(directory):
    """Returns all events by name: {"held": [...], ...}. An incomplete last line is skipped."""
    events = {}
    for path in pathlib.Path(directory).glob("*.jsonl"):
        for line in path.read_text().splitlines():
            if line.endswith("}"):
                event = json.loads(line)
                events.setdefault(event["event"], []).append(event)
    return events
