#!/usr/bin/env python3
"""./test cluster: brings a cluster up, runs the lanes on it, takes it down, whatever happens in between.

    run.py [--full] [--keep] [LANE…]      run.py --down

--keep leaves the cluster up with the mesh installed and nothing else in it; with lanes, after those. --full adds the lanes that are
too long for every day (FULL = True), and the long form of others (CLUSTER_FULL=yes in their environment).

RUNTIME=debian in the environment: with Debian's containerd, whatever the lanes need.

Lanes that need the control plane alone run beside the others, on a cluster of their own ($CLUSTER_DIR-api), by a second process of
this program; what it says comes when the others are done.

Each program is started in a session of its own, so that Ctrl-C reaches this process alone, which then ends what runs and
takes the cluster down. One run at a time for each CLUSTER_DIR.
"""
import contextlib
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LANES = HERE / "lanes"
CLUSTER_DIR = pathlib.Path(os.environ.get("CLUSTER_DIR", "/var/tmp/fairlead-cluster"))
LOG = CLUSTER_DIR / "log"
LEVELS = {"api": "the control plane", "node": "the node too", "mesh": "the mesh on it", "debian": "all of it, with Debian's containerd"}
NEEDS = re.compile(rf'^NEEDS = "({"|".join(LEVELS)})"$', re.MULTILINE)
MINUTES = re.compile(r"^MINUTES = (\d+)$", re.MULTILINE)
BUILD = re.compile(r'^BUILD = "(\S+)"', re.MULTILINE)  # a command in tests/ that makes what a lane runs, as `build` does
FULL = re.compile(r"^FULL = True$", re.MULTILINE)
LANE_MINUTES = 10
BESIDE = {"CLUSTER_DIR": f"{CLUSTER_DIR}-api", "CLUSTER_NAME": os.environ.get("CLUSTER_NAME", "fairlead")[:4] + "-api",
          "CLUSTER_BIN": os.environ.get("CLUSTER_BIN", f"{CLUSTER_DIR}/bin")}  # of the second process
LOST = 77                # the exit code of what cannot run here
NO_DEBIAN = 78           # of build where Debian's packages cannot be fetched
GRACE = 30               # seconds that a lane gets to clean up after Ctrl-C
TAIL = 15
SKIPPED = "skipped"


class Ended(Exception):
    """By a signal."""


class Failed(Exception):
    """Told already, or told by this."""


def say(text):
    print(text, flush=True)


class Lane:
    def __init__(self, name):
        path = LANES / f"{name}.py"
        if not path.exists():
            raise Failed(f"no such lane: {name}; there are: {' '.join(all_lanes())}")
        text = path.read_text()
        needs, minutes = NEEDS.search(text), MINUTES.search(text)
        if needs is None:
            raise Failed(f'{path} does not say NEEDS = "api", "node", "mesh" or "debian"')
        self.name, self.level = name, needs[1]
        self.minutes = int(minutes[1]) if minutes else LANE_MINUTES
        self.builds = BUILD.search(text)
        self.full = bool(FULL.search(text))  # runs with --full, or by its name
        self.result, self.seconds = "not run", 0


def all_lanes():
    return sorted(path.stem for path in LANES.glob("*.py"))


# -- processes --------------------------------------------------------------------------------------------------------

def command(*words, log=None, limit=None, gently=False):
    """Its exit code. With log, what it says goes there too. gently: SIGINT first, so that it may clean up."""
    pipe = subprocess.PIPE if log else None
    child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=pipe,
                             stderr=subprocess.STDOUT if log else None, start_new_session=True)
    reader = threading.Thread(target=copy, args=(child.stdout, log)) if log else None
    try:
        if reader:
            reader.start()
        signal.alarm(limit or 0)
        return child.wait()
    finally:
        signal.alarm(0)
        if child.poll() is None:
            end(child, gently)
        if reader:
            reader.join()
            child.stdout.close()


def copy(lines, log):
    with log.open("wb") as file:
        for line in lines:
            for to in (sys.stdout.buffer, file):
                to.write(line)
                to.flush()


def end(child, gently):
    """The whole session of a child; gently: the child first, so that it ends the others itself."""
    if gently:
        child.send_signal(signal.SIGINT)
    else:
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE if gently else 10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def must(what, *words):
    code = command(*words)
    if code != 0:
        raise Failed(f"{what} failed ({words[0].name}: exit code {code})")


def output(*words):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, check=False, timeout=60).stdout


# -- what a failure leaves to read ------------------------------------------------------------------------------------

def tail(path):
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(line[:400] for line in lines[-TAIL:])


def tell_cluster():
    """The ends of the components' logs, and how the pods are."""
    for path in sorted(LOG.glob("*.log")):
        if path.name != "audit.log" and path.stat().st_size:
            say(f"--- the end of {path}:\n{tail(path)}")
    for words in (("get", "pods", "-A", "-o", "wide"), ("get", "events", "-A", "--sort-by=.lastTimestamp")):
        try:
            lines = output(HERE / "kubectl", *words).splitlines()
        except subprocess.TimeoutExpired:
            lines = ["no answer"]
        say(f"--- kubectl {' '.join(words)}:\n" + "\n".join(lines[-40:]))


# -- the run ----------------------------------------------------------------------------------------------------------

def bring_up(level):
    began = time.monotonic()
    if command(HERE / "up", *(["--api-only"] if level == "api" else [])) != 0:
        tell_cluster()
        raise Failed("the cluster did not come up")
    if level == "mesh" and command(HERE / "install") != 0:
        tell_cluster()
        raise Failed("the mesh was not installed")
    say(f"== cluster: {LEVELS[level]} in {time.monotonic() - began:.0f} s")


def change_runtime():
    """Another cluster, whose node has Debian's containerd. False where that cannot be had."""
    if os.environ.get("RUNTIME") == "debian":
        return True
    must("taking the cluster down", HERE / "down")
    os.environ["RUNTIME"] = "debian"
    if command(HERE / "build") != NO_DEBIAN:
        return True
    del os.environ["RUNTIME"]
    return False


def run_lane(lane):
    say(f"== lane {lane.name}")
    (LOG / "lanes").mkdir(exist_ok=True)
    log = LOG / "lanes" / f"{lane.name}.log"
    began = time.monotonic()
    try:
        code = command(HERE / "lane", lane.name, log=log, limit=60 * lane.minutes, gently=True)
        lane.result = "passed" if code == 0 else f"FAILED (exit code {code})"
    except TimeoutError:
        lane.result = f"FAILED (not done after {lane.minutes} minutes)"
    lane.seconds = time.monotonic() - began
    say(f"== lane {lane.name}: {lane.result} in {lane.seconds:.0f} s")
    if lane.result != "passed":
        tell_cluster()
        say(f"--- its own log: {log}")


def run_lanes(lanes):
    """The lanes that need the control plane alone come first: nothing runs their pods. Then the node joins. Those that want
    Debian's containerd have a cluster of their own."""
    for level in LEVELS:
        chosen = [lane for lane in lanes if lane.level == level and lane.result != SKIPPED]
        if chosen and level == "debian" and not change_runtime():
            for lane in chosen:
                lane.result = SKIPPED
            say("== Debian's containerd cannot be fetched: its lanes are skipped")
            continue
        if chosen:
            bring_up(level)
        for lane in chosen:
            run_lane(lane)
            if lane.result != "passed" and os.environ.get("CI") == "true":
                say("== CI's machine may be busy with others: once more, and that counts")
                run_lane(lane)


class Beside:
    """Lanes on a cluster of their own, meanwhile. Used with `with`: whatever happens, it is over afterwards."""

    def __init__(self, lanes, full):
        self.log = tempfile.TemporaryFile()
        say(f"== beside the others, on a cluster of their own: {' '.join(lane.name for lane in lanes)}")
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "INT", "--", sys.executable, "-B", __file__, *(["--full"] if full else []), *(lane.name for lane in lanes)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **BESIDE})

    def __enter__(self):
        return self

    def join(self):
        """What they said, and whether all is well."""
        code = self.child.wait()
        self.log.seek(0)
        say("== what ran beside them")
        sys.stdout.buffer.write(self.log.read())
        sys.stdout.flush()
        return code == 0

    def __exit__(self, *error):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            self.child.wait()
        self.log.close()


def build():
    missing = output(HERE / "build", "--missing").split()
    if missing:
        say(f"== building {len(missing)} programs of Kubernetes from Go modules: about 11 minutes on 2 cores the first "
            "time, seconds where Go has them cached")
    code = command(HERE / "build")
    if code == LOST:
        skip("Go modules are missing and cannot be fetched")
    if code == NO_DEBIAN:
        skip("Debian's containerd cannot be fetched")
    if code != 0:
        raise Failed("the cluster's programs could not be built")


def build_for(lanes):
    """What a lane needs beside the cluster's programs; without modules the lane is skipped."""
    for lane in [lane for lane in lanes if lane.builds]:
        code = command(HERE.parent / lane.builds[1])
        if code == LOST:
            lane.result = SKIPPED
            say(f"== lane {lane.name} is skipped: Go modules are missing and cannot be fetched")
        elif code != 0:
            raise Failed(f"what the lane {lane.name} needs could not be built")


def skip(why):
    say(f"./test cluster is skipped: {why}")
    sys.exit(0)


def lock():
    """Held until this process ends; children do not inherit it."""
    CLUSTER_DIR.mkdir(parents=True, exist_ok=True)
    file = (CLUSTER_DIR / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(f"another ./test cluster uses {CLUSTER_DIR}") from None
    return file


def by_signal(number, frame):
    del frame
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # what follows is the cleaning up
    raise Ended(signal.Signals(number).name)


def by_alarm(number, frame):
    raise TimeoutError


def run(keep, full, names):
    lanes = [Lane(name) for name in names or ([] if keep else all_lanes())]
    if not names:
        lanes = [lane for lane in lanes if full or not lane.full]
    if full:
        os.environ["CLUSTER_FULL"] = "yes"
    build()
    build_for(lanes)
    apart = [lane for lane in lanes if lane.level == "api" and lane.result != SKIPPED]
    if len(apart) == len(lanes):
        return run_here(lanes, keep)
    lanes = [lane for lane in lanes if lane not in apart]
    with Beside(apart, full) if apart else contextlib.nullcontext() as beside:
        code = run_here(lanes, keep)
        if beside is not None and not beside.join():
            code = 1
    return code


def run_here(lanes, keep):
    """0 where all passed."""
    try:
        must("taking down what was left", HERE / "down")
        run_lanes(lanes)
        if keep:
            bring_up("mesh")
    except BaseException:
        command(HERE / "down")
        raise
    if not keep:
        must("taking the cluster down", HERE / "down")
    for lane in lanes:
        say(f"{lane.name:20} {lane.level:6} {lane.result} ({lane.seconds:.0f} s)")
    if keep:
        say("the cluster is up, and the mesh is installed; ./test cluster --down ends it\n"
            f"kubeconfig: {CLUSTER_DIR / 'kubeconfig'}\n"
            f"kubectl, helm and fairlead for it, in the node's network: PATH={HERE}:$PATH")
    return 0 if all(lane.result in ("passed", SKIPPED) for lane in lanes) else 1


def main(arguments):
    options = [word for word in arguments if word.startswith("-")]
    names = [word for word in arguments if not word.startswith("-")]
    if set(options) - {"--keep", "--full", "--down"} or (("--down" in options) and len(arguments) > 1):
        print("usage: ./test cluster [--full] [--keep] [LANE…] | --down", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, by_signal)
    signal.signal(signal.SIGALRM, by_alarm)
    try:
        held = lock()
        if "--down" in options:
            must("taking the cluster down", HERE / "down")
            os.environ.update(BESIDE)
            must("taking the one beside it down", HERE / "down")
            return 0
        done = run("--keep" in options, "--full" in options, names)
        held.close()
        return done
    except Failed as reason:
        print(f"./test cluster: {reason}", file=sys.stderr)
        return 1
    except Ended as reason:
        print(f"./test cluster: ended by {reason}; the cluster is down", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
