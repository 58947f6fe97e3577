"""Compares the histories of the clients with the records of the table's auditor.

Jepsen's terms, of jobs: *lost*, acknowledged and neither done nor in the queue; *duplicated*, done twice;
*unexpected*, in the queue though its transaction was aborted; *recovered*, unknown to the producer, but there."""
import pathlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import history
import unique_jobs
from cluster import errors_of

LEASED = {"two_step", "start", "batch", "sql", "exec"}  # paths that name the lease, not only the attempt
EDGE_COLUMNS = ("number", "xact", "program", "job", "token", "old_state", "new_state", "old_attempt", "new_attempt",
                "old_lease", "new_lease", "old_expires", "now", "given_up", "fault")
EFFECT_COLUMNS = ("xact", "path", "token", "job", "attempt", "lease")
SHOWN = 5


@dataclass
class Check:
    name: str
    what: str
    faults: list = field(default_factory=list)


@dataclass
class Failover:
    """A failover: commits that the former primary acknowledged before `at` and wrote after `position` may be lost."""
    at: float
    position: int
    may_lose: bool


def rows(connection, table, columns):
    names = ", ".join(columns).replace("xact", "xact::text")
    return [dict(zip(columns, row)) for row in connection.execute(f"SELECT {names} FROM {table} ORDER BY 1").fetchall()]


class Checker:
    """While the run continues, the results that clients have received are read before the committed edges, and the calls
    that clients have tried are read after them."""

    def __init__(self, server, histories, failover=None):
        self.failover = failover if failover and failover.may_lose else None
        self.errors_of_keepers = errors_of(server, unique_jobs.KEEPER)
        self.events = history.read(histories)
        with server.connect("chaos", "checker") as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            self.edges = rows(connection, "chaos.edges", EDGE_COLUMNS)
            self.effects = rows(connection, "chaos.effects", EFFECT_COLUMNS)
            self.unhandled = unique_jobs.unhandled(connection)
            self.queued = {job["params ->> 'token'"] for job in rows(connection, "jobs", ("params ->> 'token'",))}
        tried = history.read(histories)
        self.tokens = {name: {token: event for event in tried.get(name, []) for token in event["tokens"]}
                       for name in ("invoke", "acknowledged", "aborted", "unknown")}
        self.outside = outside_effects(pathlib.Path(histories, "outside.log"))
        self.inserted = [edge for edge in self.edges if edge["old_state"] is None]
        self.completed = [edge for edge in self.edges if edge["new_state"] is None]

    def of(self, name):
        """Returns the events that the surviving server must have."""
        return [event for event in self.events.get(name, []) if not self.failover or event["at"] > self.failover.at]

    def must_survive(self, event):
        failover = self.failover
        if not failover or event["at"] > failover.at:
            return True
        return event["position"] is not None and event["position"] <= failover.position

    def run(self, at_end):
        checks = [self.duplicated(), self.unexpected(), self.edges_allowed(), self.atomic(), self.fencing(),
                  self.given_back(), self.reserved(), self.acknowledged(), self.identity(), self.announced(), self.ordered(),
                  self.handled(at_end), self.keys(), self.beside(), self.errors(), self.waits()]
        if at_end:
            checks += [self.lost(), self.left_over(), self.performed_outside()]
        return checks

    # Jepsen's

    def lost(self):
        there = {edge["token"] for edge in self.inserted}
        gone = {edge["token"] for edge in self.completed}
        return Check("lost", "I1: an acknowledged job is in the queue or was completed", [
            f"{token} ({event})" for token, event in self.tokens["acknowledged"].items()
            if self.must_survive(event) and not (token in there and (token in gone or token in self.queued))])

    def duplicated(self):
        counts = Counter(edge["token"] for edge in self.completed)
        effects = Counter(effect["token"] for effect in self.effects)
        return Check("duplicated", "I3: a job is completed at most once, and has its effect at most once", [
            f"{token}: completed {counts[token]} times, {effects[token]} effects"
            for token in counts | effects if counts[token] > 1 or effects[token] > 1])

    def unexpected(self):
        invoked, aborted = self.tokens["invoke"], self.tokens["aborted"]
        return Check("unexpected", "I2: a job whose transaction was aborted is nowhere", [
            edge["token"] for edge in self.inserted if edge["token"] in aborted or edge["token"] not in invoked])

    def recovered(self):
        there = {edge["token"] for edge in self.inserted}
        return len(self.tokens["unknown"].keys() & there)

    def left_over(self):
        return Check("left over", "I10, I11: when the world is healed every job is done", sorted(self.queued))

    # Checks of the table's history

    def edges_allowed(self):
        return Check("edges", "I7, I8, I9: every edge is one that the state machine allows", [
            f"{edge['fault']}: {edge}" for edge in self.edges if edge["fault"]])

    def atomic(self):
        """An effect is visible if and only if its job is gone, and was not cancelled."""
        done = {(effect["xact"], effect["job"]) for effect in self.effects}
        gone = {(edge["xact"], edge["job"]) for edge in self.completed}
        inside = {(edge["xact"], edge["job"]) for edge in self.completed if edge["program"] not in ("exec", "upkeep")}
        return Check("atomic", "I3: effect and completion are one", [
            f"an effect of {job} in {xact} whose job stayed" for xact, job in done - gone] + [
            f"{job} completed in {xact} without its effect" for xact, job in inside - done])

    def fencing(self):
        """A client that completed or failed a job held it: under that lease, or at that attempt."""
        held = {(edge["xact"], edge["job"]): edge for edge in self.completed}
        faults = []
        for effect in self.effects:
            edge = held.get((effect["xact"], effect["job"]))
            if edge is None:
                continue
            leased = effect["path"] in LEASED
            same = edge["old_lease"] == effect["lease"] if leased else edge["old_attempt"] == effect["attempt"]
            # After an asynchronous failover an id may be another job's, which the attempt does not tell apart
            if not same or edge["token"] != effect["token"] and (leased or not self.failover):
                faults.append(f"completed by a stale holder: {effect} of {edge}")
        faults += [f"started under another's lease: {event}" for event in self.of("started")
                   if event["path"] == "two_step" and event["given"] != event["lease"]]
        failed = Counter((edge["job"], edge["old_attempt"], edge["old_lease"]) for edge in self.edges
                         if edge["new_state"] in ("RETRY", "FAILED"))
        snoozed = Counter((edge["job"], edge["old_attempt"], edge["old_lease"]) for edge in self.edges
                          if edge["old_state"] == "IN_PROGRESS" and edge["new_state"] in ("SCHEDULED", "AVAILABLE"))
        faults += [f"snoozed by a stale holder: {event}" for event in map(renamed, self.of("snoozed"))
                   if not snoozed[event["job"], event["attempt"], event["lease"]]]
        by_attempt = Counter()
        for (job, attempt, _), count in failed.items():
            by_attempt[job, attempt] += count
        returned = Counter((event["path"] in LEASED, event["job"], event["attempt"], event["lease"])
                       for event in map(renamed, self.of("failed")))
        faults += [f"failed by a stale holder: job {job}, attempt {attempt}, lease {lease}"
                   for (leased, job, attempt, lease), count in returned.items()
                   if count > (failed[job, attempt, lease] if leased else by_attempt[job, attempt])]
        return Check("fencing", "I6: a stale holder changes nothing", faults)

    def given_back(self):
        """Jobs of a session lease are given back early only when the session has ended: afterwards no lease with the
        session's number is given."""
        ended, faults = set(), []
        for edge in self.edges:
            old, new = edge["old_lease"] or 0, edge["new_lease"] or 0
            is_sweep = edge["program"] in ("ecto_job scheduler", "upkeep")
            if old & 1 and is_sweep and edge["now"] and edge["old_expires"] > edge["now"]:
                ended.add(old >> 21)
            if new & 1 and new != old and new >> 21 in ended:
                faults.append(f"its session went on: {edge}")
        return Check("given-back", "I7: a session's jobs come back when it has ended", faults)

    # Checks of the results that clients have received

    def reserved(self):
        """Each lease of a job is returned to one caller, and so is each start of an attempt."""
        edges = Counter((edge["job"], edge["new_lease"], edge["new_attempt"]) for edge in self.edges
                        if edge["old_state"] == "AVAILABLE" and edge["new_state"])
        returned = Counter((event["job"], event["lease"], event["attempt"]) for event in map(renamed, self.of("held")))
        starts = Counter((edge["job"], edge["new_attempt"]) for edge in self.edges
                         if edge["old_state"] == "RESERVED" and edge["new_state"] == "IN_PROGRESS")
        returned_starts = Counter((event["job"], event["attempt"]) for event in map(renamed, self.of("started")))
        return Check("reserved", "I4, I5: a job is given to one, and an attempt started by one", [
            f"{what} {key} returned {count} times, committed {known[key]} times"
            for what, seen, known in (("reservation", returned, edges), ("start", returned_starts, starts))
            for key, count in seen.items() if count > known[key]])

    def acknowledged(self):
        gone = {(edge["job"], edge["old_attempt"]) for edge in self.completed}
        return Check("acknowledged", "I1: a completion that was acknowledged stays", [
            str(event) for event in map(renamed, self.of("done")) if (event["job"], event["attempt"]) not in gone])

    def identity(self):
        ids = Counter(edge["job"] for edge in self.inserted)
        tokens = Counter(edge["token"] for edge in self.inserted)
        return Check("identity", "I23: no id and no job comes twice", [
            f"{what} {key}: {count} times" for what, counts in (("id", ids), ("token", tokens))
            for key, count in counts.items() if count > 1])

    def performed_outside(self):
        return Check("outside", "what --exec completed it has performed at least once", [
            str(edge) for edge in self.completed if edge["program"] == "exec"
            and (edge["job"], edge["token"]) not in self.outside])

    # Results of the probes

    def observed(self, fault):
        """Returns the events by which clients have recorded a fault."""
        return [str(event) for event in self.events.get(fault, [])]

    def announced(self):
        return Check("announced", "I11, I22: a job is announced when it can be taken, and not before",
                     self.observed("late"))

    def ordered(self):
        return Check("order", "I12: no job is hidden from a claim",
                     self.observed("hidden"))

    # Unique jobs, and sessions that wait

    def handled(self, at_end):
        return Check("handled", "I29: an event under a key is handled by a job that sees it",
                     self.observed("lost event") + (self.unhandled if at_end else []))

    def keys(self):
        return Check("keys", "I29: never two jobs wait under one key",
                     self.observed("two wait"))

    def beside(self):
        return Check("beside", "I29: an enqueue does not wait for the transaction that completes its key's job",
                     self.observed("waited beside"))

    def errors(self):
        return Check("errors", "I29: an enqueue that keeps a job raises no error", self.errors_of_keepers)

    def waits(self):
        return Check("waits", "I31: no job stays AVAILABLE beside a session that waits",
                     self.observed("slept on"))

    def numbers_of_keys_and_waits(self):
        """Returns the numbers of the act that has clients of unique jobs and sessions that wait."""
        def count(name, **values):
            return sum(all(event[key] == value for key, value in values.items()) for event in self.events.get(name, []))
        calms = self.events.get("calm", [])
        return {
            "events": count("came under a key"), "kept": count("kept"), "superseded": count("superseded"),
            "snoozed under a key": count("snoozed under a key"), "superseded by snooze": count("superseded by snooze"),
            "enqueued beside": count("beside"), "polls": count("polled"),
            "transactions": count("came"), "waits": len(self.events.get("waited", [])),
            "woken": count("waited", available=True), "for several": count("waited", several=True),
            "timed out": count("waited", timed_out=True),
            "used": count("used"), "undone": count("undone"),
            "undone beside a sleeper": sum(event["sleepers"] > 0 for event in self.events.get("undone without a wait", [])),
            "prepared": len(self.events.get("prepared", [])),
            "cancelled": count("cancel"), "terminated": count("terminate"), "pauses": count("queue paused"),
            "scheduler switched": count("scheduler switched"), "calms": len(calms),
            "single jobs": count("one job"), "calms with sleepers": sum(event["sleepers"] > 0 for event in calms)}

    def numbers(self):
        paths = Counter(edge["program"] for edge in self.completed)
        return {
            "enqueued": len(self.tokens["acknowledged"]), "unknown": len(self.tokens["unknown"]),
            "recovered": self.recovered(), "completed": len(self.completed), "edges": len(self.edges),
            "snoozed": len(self.events.get("snoozed", [])),
            "snoozed by exec": sum(edge["program"] == "exec" and edge["new_state"] == "SCHEDULED" for edge in self.edges),
            "given up": sum(edge["given_up"] or False for edge in self.edges), "refused": len(self.events.get("stale", [])),
            "kept": len(self.events.get("kept", [])), "superseded": len(self.events.get("superseded", [])),
            "announced": len(self.events.get("announced", [])),
            "claims in order": len(self.events.get("claimed", [])),
            "lost as allowed": sum(not self.must_survive(event) and token not in {edge["token"] for edge in
                                                                                   self.inserted}
                                   for token, event in self.tokens["acknowledged"].items()),
            **{f"by {path}": paths[path] for path in sorted(paths)}}


def renamed(event):
    return event | {"job": event["id"]}


def outside_effects(path):
    """Returns id, attempt and params of the jobs whose programs --exec ran."""
    found = defaultdict(int)
    if path.exists():
        for line in path.read_text().splitlines():
            job, _, params = line.split(" ", 2)
            if '"token"' in params and params.endswith("}"):
                found[int(job), params.split('"')[3]] += 1
    return found
