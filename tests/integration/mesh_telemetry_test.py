"""What a Telemetry object turns on and off, live: access logs and traces, of the mesh, a namespace and a workload.

    mesh_telemetry_test.py <fairlead-proxy> <fairlead-control>
"""
import itertools
import json
import re
import socket
import threading
import time

import mesh_support as mesh
import proxy_support as support
from mesh_support import ROOT_NAMESPACE, Control, sidecar, status
from proxy_support import ADDRESS, NAME, Origin, eventually, inside, run

COLLECTOR = "10.88.0.4"  # nobody's pod, at the port of pod a that is not captured
SELECTOR = {"matchLabels": {"app": "server"}}
numbers = itertools.count()


class World:
    """What the tests share: they run in their order."""


class Collector:
    """Keeps what is posted to it."""

    def __init__(self):
        self.posted = []
        run("ip", "-n", NAME["a"], "addr", "add", COLLECTOR + "/32", "dev", "m0")
        with inside("a"):
            self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((COLLECTOR, mesh.PORT))
        self.listener.listen()
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            threading.Thread(target=self.one, args=(self.listener.accept()[0],), daemon=True).start()

    def one(self, sock):
        reader = support.Reader(sock)
        try:
            while True:
                self.posted.append(reader.body(reader.head()[1]))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (OSError, EOFError):
            pass

    def has(self, text):
        return any(text.encode() in body for body in self.posted)


def change(*objects):
    """Puts these Telemetry objects in the place of those of before."""
    World.control.put("telemetry", *(mesh.policy("Telemetry", name, space, spec) for name, space, spec in objects))


def listener(role):
    """The listener of a sidecar that our requests go through, as a text."""
    configs = json.loads(getattr(World, role).admin("/config_dump")[1])["configs"]
    name = "virtualInbound" if role == "b" else f"outbound|{mesh.SERVICE}:80"
    return next((json.dumps(one) for config in configs for one in config.get("dynamic_listeners", []) if one["name"] == name), "")


def await_setting(role, word, there):
    """Until the configuration that was taken has it, or has it no more; workers follow within a moment."""
    eventually(lambda: (f'"{word}"' in listener(role)) == there, f"{role}: {word} {there} is not in force")
    ask()


def logs_now(role):
    """Whether a request of now is logged. Lines wait some 20 ms for each other."""
    marker = ask()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        if logged(getattr(World, role), marker):
            return True
        time.sleep(0.02)
    return False


def ask():
    marker = f"request-number-{next(numbers)}-"
    assert status(path=f"/{marker}") == 200
    return marker


def logged(proxy, marker):
    return any(marker in entry.get("path", "") for entry in proxy.access_log())


def sampling(role):
    """Of every HTTP filter of a sidecar: per cent."""
    found = re.findall(r'"random_sampling": {(?:"value": ([0-9.]+))?', listener(role))
    return {float(value or 0) for value in found}


def traced_now():
    """Whether a request of now has a span; they are sent within a second."""
    marker = ask()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if World.collector.has(marker):
            return True
        time.sleep(0.05)
    return False


MESH, SPACE, WORKLOAD = ("mesh", ROOT_NAMESPACE), ("space", "demo"), ("workload", "demo")


# -- tests ------------------------------------------------------------------------------------------------------------

def test_access_logs():
    World.control = Control()
    World.control.put("telemetry", mesh.policy("Telemetry", *MESH, {"accessLogging": {"enabled": True}}))
    World.control.start()
    Origin(8080, mesh.serve_http)
    World.collector = Collector()
    World.b, World.a = sidecar("b"), sidecar("a")
    ask()
    on, off = {"accessLogging": {"enabled": True}}, {"accessLogging": {"enabled": False}}
    steps = [  # objects, and who logs
        ([(*MESH, on)], "ab"),
        ([(*MESH, on), (*SPACE, off)], "a"),
        ([(*MESH, on), (*SPACE, off), (*WORKLOAD, {"selector": SELECTOR, **on})], "ab"),
        ([(*MESH, off), (*WORKLOAD, {"selector": SELECTOR, **on})], "b"),
        ([(*MESH, off)], ""),
        ([(*MESH, on)], "ab"),
    ]
    markers = []
    for objects, who in steps:
        change(*objects)
        for role in "ab":
            await_setting(role, "access_log", role in who)
            eventually(lambda: logs_now(role) == (role in who), f"{role} logs, or does not, against {who}")
        markers.append((ask(), who))
    eventually(lambda: all(logged(proxy, markers[-1][0]) for proxy in (World.a, World.b)), "the last line is missing")
    for marker, who in markers:  # lines come in their order
        assert {role for role in "ab" if logged(getattr(World, role), marker)} == set(who), (marker, who)


def test_sampling():
    tracing = {"enabled": True, "endpoint": f"http://{COLLECTOR}:{mesh.PORT}/v1/traces"}
    for percent in (100, 0, 100):
        change((*MESH, {"tracing": {**tracing, "samplingPercent": percent}}))
        for role in "ab":
            eventually(lambda: sampling(role) == {percent}, f"{percent} % are not in force")
        eventually(lambda: traced_now() == (percent > 0), f"spans, or none, against {percent} %")
    change((*MESH, {"tracing": {**tracing, "samplingPercent": 100}}),
           (*SPACE, {"tracing": {"enabled": False}}))  # the server's alone
    await_setting("b", "random_sampling", False)
    eventually(traced_now, "no span of the client")
    for proxy in (World.a, World.b):
        proxy.stop()


def main():
    mesh.skip_unless_possible()
    mesh.make_pods()
    support.run_tests([test_access_logs, test_sampling])


if __name__ == "__main__":
    main()
