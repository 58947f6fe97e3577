"""Starts, kills, replaces and stops the client processes of a run. Each generation of a client has a name, a history
and random numbers of its own."""
import multiprocessing
import os
import signal
import subprocess

# The programs decide at random which of their jobs fail; --exec also which fail for good (65), and which put themselves
# back (75)
PERFORM = r"""chance=$(od -An -N1 -tu1 /dev/urandom)
[ "$chance" -gt 5 ] || exit 65
[ "$chance" -gt 10 ] || exit 75
[ "$chance" -gt 35 ] || exit 1
printf '%s %s %s\n' "$ECTO_JOB_ID" "$ECTO_JOB_ATTEMPT" "$(cat)" >>"$OUTSIDE" """
PROGRAMS = {"exec": ["--exec", PERFORM, "--snooze", "1"], "sql": ["--sql", "SELECT chaos.perform($1, $2)"]}


def make_context():
    """Returns a context whose children are forked from a process without connections and threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["consumers", "order", "producers", "quiet_queue", "unique_jobs", "upkeep",
                                    "waiting"])
    return context


class Crew:
    def __init__(self, shared, context):
        self.shared = shared
        self.context = context
        self.members = {}  # name: (function that starts the process, process, is it a consumer)
        self.generation = 0

    def add(self, name, target, *arguments, consumer=False):
        def start(generation):
            process = self.context.Process(target=target, args=(self.shared, generation, *arguments), daemon=True)
            process.start()
            return process
        self.enter(name, start, consumer)

    def add_program(self, name):
        """Starts an ecto_job_consumer, whose log is its history."""
        def start(_):
            with open(f"{self.shared.histories}/{name}.log", "a") as log:
                return subprocess.Popen(
                    ["ecto_job_consumer", "--queue", "jobs", *PROGRAMS[name], "-j", "2", "--log-level", "warning"],
                    stderr=log, stdin=subprocess.DEVNULL,
                    env=dict(os.environ, PGAPPNAME=name, PGUSER="app", PGDATABASE="chaos", PGHOST=self.shared.hosts,
                             PGTARGETSESSIONATTRS="read-write", OUTSIDE=f"{self.shared.histories}/outside.log"))
        self.enter(name, start, True)

    def enter(self, name, start, consumer):
        self.generation += 1
        self.members[name] = (start, start(f"{name}.{self.generation}"), consumer)

    def replace(self, name):
        start, process, consumer = self.members[name]
        wait(process)
        self.enter(name, start, consumer)

    def some_consumer(self, random):
        return random.choice(sorted(name for name, (_, _, consumer) in self.members.items() if consumer))

    def some_pid(self, random):
        return self.members[self.some_consumer(random)][1].pid

    def kill(self, random):
        name = self.some_consumer(random)
        os.kill(self.members[name][1].pid, signal.SIGKILL)
        self.replace(name)

    def tend(self):
        """Restarts consumer programs that have ended, since a program ends if it finds no server at its start."""
        for name, (_, process, _) in list(self.members.items()):
            if isinstance(process, subprocess.Popen) and process.poll() is not None:
                self.replace(name)

    def stop(self):
        for _, process, _ in self.members.values():
            if isinstance(process, subprocess.Popen):
                process.terminate()
        return [name for name, (_, process, _) in self.members.items() if not wait(process)]


def wait(process):
    """Returns whether the process ended by itself, without being killed."""
    if isinstance(process, subprocess.Popen):
        try:
            process.wait(20)
            return True
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
    process.join(20)
    if process.exitcode is None:
        process.kill()
        process.join()
        return False
    return True
