"""Builds and starts tests/xds-go, the xDS server over go-control-plane.

    program = xds_go.build(build_folder)     # raises xds_go.Missing with the reason: skip the test with its text
    with xds_go.Server(program, resources) as server:
        server.address                       # "127.0.0.1:…"
        server.wait("ack", type=…)           # the next event that fits, in their order; the ones before it are kept
        server.update(resources)             # the next version, when it is served
"""
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "xds-go"
GO_MINIMUM = (1, 26, 6)
TYPE = "type.googleapis.com/envoy.config."
LISTENER, ROUTE = TYPE + "listener.v3.Listener", TYPE + "route.v3.RouteConfiguration"
CLUSTER, ENDPOINT = TYPE + "cluster.v3.Cluster", TYPE + "endpoint.v3.ClusterLoadAssignment"
WAIT_S = 20


class Missing(Exception):
    """What it takes is not here."""


def find_go():
    for path in filter(None, (shutil.which("go"), "/usr/local/go/bin/go")):
        if os.access(path, os.X_OK):
            text = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, check=False,
                                  env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
            version = tuple(map(int, re.findall(r"\d+", text)[:3]))
            if version >= GO_MINIMUM:
                return path
    raise Missing("Go 1.26.6 or newer is not here")


def build(folder):
    """The program's path. Go keeps what it has compiled; the first time takes a minute."""
    go = find_go()
    program = pathlib.Path(folder).resolve() / "xds-go"  # Go runs in another folder
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([go, "build", "-buildvcs=false", "-o", str(program), "."], cwd=SOURCE, capture_output=True,
                          text=True, check=False, env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"})
    if done.returncode == 0:
        return program
    if re.search(r"dial tcp|no such host|GOPROXY|i/o timeout|proxyconnect|module lookup disabled", done.stderr):
        raise Missing("the modules of tests/xds-go cannot be fetched")
    raise RuntimeError(done.stderr)


class Server:
    def __init__(self, program, resources, *options):
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "resources.json"
        self.file.write_text(json.dumps(resources))
        self.events, self.kept = queue.Queue(), []
        self.process = subprocess.Popen([str(program), *options, str(self.file)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        try:
            self.address = self.wait("listening")["address"]
        except AssertionError:
            self.close()
            raise

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    @staticmethod
    def _fits(event, kind, members):
        return event["event"] == kind and all(event.get(name) == value for name, value in members.items())

    def wait(self, kind, **members):
        """The first event that fits, of those that nobody has taken yet; AssertionError after WAIT_S."""
        for i, event in enumerate(self.kept):
            if self._fits(event, kind, members):
                return self.kept.pop(i)
        end = time.monotonic() + WAIT_S
        while True:
            try:
                event = self.events.get(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no event {kind} {members}; others: {self.kept}") from None
            if event is None:
                raise AssertionError(f"xds-go ended: {self.process.stderr.read()}")
            if self._fits(event, kind, members):
                return event
            self.kept.append(event)

    def update(self, resources):
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(resources))
        new.rename(self.file)
        self.process.send_signal(signal.SIGHUP)
        return self.wait("loaded")["version"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
