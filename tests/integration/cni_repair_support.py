"""Pods, sidecars and the repair for cni_repair_test.py and tests/bench/cni-repair.py.

A pod is a network namespace with an address on an interface that leads nowhere; a sidecar is any program that is called fairlead-proxy
(a copy of sleep, a Python script, or the proxy itself) with the environment that the webhook gives it.
"""
import atexit
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cni_support as cni
from waiting import PATIENCE

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-repair-"))
NAMESPACE = cni.unique("")  # of this run's pods: others run on the same machine
FOLDER.chmod(0o755)
NAMED = FOLDER / "fairlead-proxy"  # a copy of sleep
SCRIPT = FOLDER / "script" / "fairlead-proxy"
shutil.copy(shutil.which("sleep"), NAMED)
SCRIPT.parent.mkdir()
processes = []


def own(process):
    processes.append(process)
    return process


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


atexit.register(clean_up)


def as_user(netns, uid, gid):
    """For preexec_fn: into the namespace first, for that needs root."""
    def become():
        if netns is not None:
            cni.enter(netns)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    return become


class Pod:
    """A network namespace as a CNI chain leaves it, with `address`; captured by nobody yet."""
    count = 0

    def __init__(self, ipv6=True):
        Pod.count += 1
        self.number = Pod.count
        self.name = f"pod-{self.number}"
        self.uid = f"{self.number:08x}-1111-4222-8333-444455556666"
        self.addresses = [f"10.77.{self.number // 250}.{self.number % 250 + 1}"]
        self.netns = cni.Namespace(f"p{self.number}")
        self.netns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
        self.netns.ip("link", "set", "eth0", "up")
        self.netns.ip("link", "set", "lo", "up")
        self.netns.ip("addr", "add", f"{self.addresses[0]}/24", "dev", "eth0")
        if ipv6:
            self.addresses.append(f"fd77::{self.number:x}")
            self.netns.ip("addr", "add", f"{self.addresses[1]}/64", "dev", "eth0", "nodad")
        self.processes = []

    @property
    def path(self):
        return self.netns.path

    @property
    def inode(self):
        return os.stat(self.path).st_ino

    def environment(self, **changes):
        environment = {"PATH": os.environ["PATH"], "FAIRLEAD_CAPTURE": cni.spec(), "POD_NAME": self.name,
                       "POD_NAMESPACE": NAMESPACE, "POD_UID": self.uid, "POD_IPS": ",".join(self.addresses), **changes}
        return {name: value for name, value in environment.items() if value is not None}

    def start(self, command=(NAMED, "600"), uid=1337, gid=1337, environment=None, netns=None, before=(), **changes):
        process = own(subprocess.Popen([*before, *command], env=environment or self.environment(**changes),
                                       preexec_fn=as_user(netns or self.path, uid, gid) if not before else None,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        self.processes.append(process)
        return process

    def table(self):
        return self.netns.table()

    def is_captured(self):
        return "table inet fairlead" in self.table() and "::6/128" in self.netns.ip("addr", "show", "lo")

    def remove(self):
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self.netns.remove()


HOLDER = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
assert libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
print("users", flush=True)
sys.stdin.read()
assert libc.unshare(0x40000000) == 0  # CLONE_NEWNET
print("ready", flush=True)
time.sleep(600)
"""


class UserPod(Pod):
    """A pod whose network namespace a user namespace of its own owns; ids there are 100000 less than outside."""

    def __init__(self):
        super().__init__()
        self.holder = own(subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert self.holder.stdout.readline() == b"users\n"
        for name in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{self.holder.pid}/{name}").write_text("0 100000 65536")
        self.holder.stdin.close()
        assert self.holder.stdout.readline() == b"ready\n"
        self.own_path = f"/proc/{self.holder.pid}/ns/net"
        for command in ("link set lo up", "link add eth0 type veth peer name peer0", "link set eth0 up",
                        f"addr add {self.addresses[0]}/24 dev eth0"):
            cni.run("nsenter", f"--net={self.own_path}", "ip", *command.split())

    def start_inside(self, uid=1337, gid=1337, **changes):
        return self.start(before=["nsenter", "-t", str(self.holder.pid), "--user", "--net",
                                  "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"], **changes)

    def table(self):
        return cni.run("nsenter", f"--net={self.own_path}", "nft", "list", "ruleset")

    def is_captured(self):
        return "table inet fairlead" in self.table()

    def remove(self):
        super().remove()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Repair:
    """The driver, or whatever prints reports as it does. Ready when the constructor returns."""

    def __init__(self, program, mode, proc="/proc", before=()):
        self.process = own(subprocess.Popen([*before, program, proc, mode, NAMESPACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True))
        self.lines = queue.Queue()
        self.reports = []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()
        self.reason = self.line()["ready"]

    def follow(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def line(self, patience=PATIENCE):
        line = self.lines.get(timeout=patience)
        assert line is not None, f"the repair ended: {self.process.wait()}"
        return line

    def wait(self, kind, patience=PATIENCE, **members):
        """The first report of that kind with these members that was not waited for before."""
        end = time.monotonic() + patience
        while True:
            for report in self.reports:
                if report["kind"] == kind and all(report[name] == value for name, value in members.items()):
                    self.reports.remove(report)
                    return report
            try:
                self.reports.append(self.line(max(0.0, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no report {kind} {members} but " + "\n".join(map(str, self.reports[-8:]))) from None

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def counts(self):
        self.ask("c")
        while "sidecars" not in (line := self.line()):
            self.reports.append(line)
        return line

    def look(self):
        self.ask("l")

    def told_of(self, pod):
        """Reports about it that nobody has waited for."""
        self.counts()
        return [report for report in self.reports if report["pod"] == pod.name]

    def end(self, number=None):
        if number:
            self.process.send_signal(number)
        else:
            self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        self.thread.join()
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()
        assert status in (0, -signal.SIGKILL), status


def write_script(text):
    SCRIPT.write_text("#!/usr/bin/python3 -BI\n" + text)
    SCRIPT.chmod(0o755)
    return SCRIPT
