#!/usr/bin/env python3
"""1,000 connected proxies on one control plane that knows 1,000 Services with 10,000 endpoints: its memory, how long a changed
endpoint takes to all of them, and how long all of them take after it was restarted.

    streams.py [--proxies 1000] [--changes 40] [--restarts 3] [--services N] [--endpoints N] [BUILD]

BUILD is the release build with tests (default: build/release): cmake --preset release -DFL_TESTS=ON &&
cmake --build --preset release --target bench_streams fairlead-control. The streams are real ones (streams.c): each has its TLS
connection, the token of its Pod's account and a sidecar's subscriptions on demand: what every sidecar has, the Services of its own
namespace, and ten others. A change is a file renamed into the folder that the control plane follows; it is over when the last stream
has the endpoints. A restart is a kill -9 with a change right behind it; it is over when all streams have that. Memory is
Private_Clean + Private_Dirty of smaps_rollup, of the control plane without its issuer. On a machine that is busy with other work
run it with a real-time priority (chrt -r 1), which all that it starts inherits; else its times are those of the scheduler.
"""
import argparse
import contextlib
import importlib.util
import os
import pathlib
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 120
spec = importlib.util.spec_from_file_location("scale", pathlib.Path(__file__).with_name("scale.py"))
scale = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scale)
mesh_yaml, memory, cpu_ms, quantile, row, mib = (scale.mesh_yaml, scale.memory, scale.cpu_ms, scale.quantile, scale.row, scale.mib)


class Generator:
    """bench_streams: its lines as events, (what, name, time)."""

    def __init__(self, *argv):
        self.process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            words = line.split()
            self.lines.put((words[0], words[1] if len(words) > 2 else None, float(words[-1])))
        self.lines.put(("ended", None, 0))

    def wait(self, what, name=None, after=0):
        """When it was; events before it are dropped."""
        while True:
            seen, of, when = self.lines.get(timeout=PATIENCE)
            if seen == "ended":
                raise SystemExit("the streams ended")
            if seen == what and when > after and (name is None or of == name):
                return when

    def stop(self):
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self, options, folder, stack):
        self.options, self.folder, self.stack = options, folder, stack
        self.changed = scale.Service(options, 1)
        scale.sh(sys.executable, pathlib.Path(__file__).with_name("mesh-yaml.py"), folder / "objects",
                 "--services", options.services, "--endpoints", options.endpoints, "--ports", 1)
        self.own_file()
        self.argv = [options.build / "bin/fairlead-control", "--source", f"directory:{folder}/objects", "--listen", "127.0.0.1:15912",
                     "--http", "none", "--ca-dir", folder / "ca", "--token-dir", folder / "tokens", "--log-level", "warning"]
        self.start()
        scale.sh(self.argv[0], "token", "create", "--token-dir", folder / "tokens", "--namespace", "x", "--service-account", "x")
        self.plan()

    def connect(self):
        self.streams = Generator(self.options.build / "tests/bench_streams", "127.0.0.1:15912", self.folder / "ca/root-cert.pem",
                                 self.folder / "tokens", self.folder / "plan")
        self.stack.callback(self.streams.stop)

    def own_file(self):
        own = self.changed.text(self.changed.pods)
        for path in (self.folder / "objects").glob("mesh-*.yaml"):
            text = path.read_text()
            if own in text:
                path.write_text(text.replace(own, "# it has a file of its own\n", 1))
        self.put(0)

    def put(self, count):
        """Its endpoints are all but so many; renamed into place. When that was."""
        place = self.folder / "objects/changed.yaml"
        hidden = place.with_name(".changed.yaml")
        hidden.write_text(self.changed.text(self.changed.pods[count:]), encoding="utf-8")
        now = time.time()
        hidden.rename(place)
        return now

    def start(self):
        self.control = scale.Program("control", self.folder, [*self.argv[:-1], "info"])
        self.control.ready()
        self.stack.callback(self.control.stop)

    def plan(self):
        """All streams ask for the same names: those of one namespace, and ten others."""
        used = [scale.Service(self.options, 1 + i * 97 % self.options.services) for i in range(self.options.others)]
        if not self.options.alone:
            used += [scale.Service(self.options, index) for index in range(0, self.options.services, mesh_yaml.NAMESPACES)]
        lines = [f"ask LDS {name}" for name in ("virtualOutbound", "virtualInbound")]
        lines += [f"ask CDS {name}" for name in ("PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster", "inbound|8080||")]
        for service in used:
            host = f"{service.name}.{service.namespace}.svc.cluster.local"
            lines += [f"ask LDS outbound|{service.address}:80", f"ask RDS outbound|80|{host}",
                      f"ask CDS outbound|80||{host}", f"ask EDS outbound|80||{host}"]
        per = self.options.endpoints // self.options.services
        for i in range(self.options.proxies):
            service = scale.Service(self.options, i % self.options.services)
            pod = service.pods[i // self.options.services % per]
            lines.append(f"proxy sidecar~{mesh_yaml.address(pod)}~{service.name}-5d8f7c6b9-{pod:05}.{service.namespace}~"
                         f"{service.namespace}.svc.cluster.local {service.namespace} {service.name}")
        (self.folder / "plan").write_text("\n".join(lines) + "\n")
        self.name = f"outbound|80||{self.changed.name}.{self.changed.namespace}.svc.cluster.local"

    def change(self, count):
        begun = self.put(count)
        return (self.streams.wait("all", self.name, begun) - begun) * 1e3

    def restart(self, count):
        self.control.process.kill()
        self.control.process.wait()
        begun = self.put(count)
        self.start()
        return self.streams.wait("all", self.name, begun) - begun, self.control.started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=TOP / "build/release")
    parser.add_argument("--proxies", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--others", type=int, default=10, help="Services of other namespaces that each uses")
    parser.add_argument("--alone", action="store_true", help="its own namespace has no Services")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10000)
    options = parser.parse_args()
    options.ports, options.build = 1, options.build.resolve()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        world = World(options, folder, stack)
        print(f"load average at the start: {os.getloadavg()[0]:.1f}\n\n| what | aim | measured |\n|---|---|---|")
        row("control plane without proxies, private memory", "≤ 48 MiB", mib(scale.settled(world.control.pid)))
        begun = time.time()
        world.connect()
        connected = world.streams.wait("connected")
        synced = world.streams.wait("synced")
        row(f"{options.proxies} streams: connected, and told everything, from the first one on", "",
            f"{connected - begun:.1f} and {synced - begun:.1f} s")
        row(f"{options.proxies} streams: private memory", "≤ 96 MiB", mib(scale.settled(world.control.pid)))
        before, took = cpu_ms(world.control.pid), []
        for i in range(options.changes):
            took.append(world.change(1 + i % 2))
            time.sleep(0.05)
        row(f"a changed endpoint with all of them, p50 / p99 / max of {len(took)}", "≤ 1 s",
            f"{statistics.median(took):.0f} / {quantile(took, 0.99):.0f} / {max(took):.0f} ms")
        row("CPU of the control plane a change", "", f"{(cpu_ms(world.control.pid) - before) / len(took):.0f} ms")
        row("private memory after that", "≤ 96 MiB", mib(scale.settled(world.control.pid)))
        took = [world.restart(1 + i % 2) for i in range(options.restarts)]
        row(f"restarted: until all have what changed meanwhile (until it was ready), each of {len(took)}", "≤ 30 s",
            ", ".join(f"{seconds:.1f} ({ready:.1f})" for seconds, ready in took) + " s")
        row("private memory after that", "≤ 96 MiB", mib(scale.settled(world.control.pid)))
        print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
