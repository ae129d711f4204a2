#!/usr/bin/env python3
"""What a mesh of 1,000 Services with 10,000 endpoints costs: the control plane over a folder of it, and real sidecars that
are told by it, with certificates of its CA and mutual TLS to the endpoints.

    scale.py [--changes N] [--swaps N] [--services N] [--endpoints N] [--ports 1|2] [--smaps] [PROGRAMS]

PROGRAMS is the folder of fairlead-control and fairlead-proxy (default: build/release/bin). Needs root: everything runs in
one network namespace of its own, which ends with the script; all endpoints' addresses are local there, Services' are captured.
In it one more fairlead-proxy stands for the endpoints of the Services that are used; it answers with the address that was
asked. A change is a file renamed into the folder that moves a Service to another endpoint; it is in force when a request
through the sidecar says so (one a millisecond). Memory is Private_Clean + Private_Dirty of smaps_rollup.
"""
import argparse
import contextlib
import ctypes
import http.client
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60
USED = 10
NEWNET = 0x40000000
TYPES = "type.googleapis.com/envoy.extensions."
ADMIN = 15000

spec = importlib.util.spec_from_file_location("mesh_yaml", pathlib.Path(__file__).with_name("mesh-yaml.py"))
mesh_yaml = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mesh_yaml)


def sh(*argv, text=None):
    return subprocess.run([str(word) for word in argv], input=text, check=True, capture_output=True, text=True).stdout


def memory(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return sum(int(kib) for kib in re.findall(r"Private_(?:Clean|Dirty): +(\d+)", text))


def cpu_ms(pid):
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e6


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Service:
    """One of the mesh: where it is, and the file that says which of its Pods are its endpoints."""

    def __init__(self, options, index):
        self.name, self.namespace = f"service-{index}", f"ns-{index % mesh_yaml.NAMESPACES}"
        self.address = f"10.96.{index // 250}.{index % 250 + 1}"
        per = options.endpoints // options.services
        self.pods = list(range(index * per, (index + 1) * per))
        self.index, self.ports = index, mesh_yaml.PORTS[:options.ports]

    def text(self, endpoints):
        return "---\n".join([mesh_yaml.service(self.index, self.name, self.namespace, self.ports),
                             mesh_yaml.slice_of(self.name, self.namespace, endpoints, self.ports),
                             *mesh_yaml.pods_of(self.name, self.namespace, self.pods)])


class Program:
    """A program of ours: started, ready by its log, ended by its id."""

    def __init__(self, name, folder, argv, **environment):
        self.log = folder / f"{name}.log"
        self.begun = time.monotonic()
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": os.environ["PATH"], **environment})
        self.pid = self.process.pid

    def ready(self):
        while '"message":"ready"' not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > self.begun + PATIENCE:
                raise SystemExit(f"not ready: {self.log.read_text()[-2000:]}")
            time.sleep(0.002)
        self.started = time.monotonic() - self.begun
        return self

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class World:
    def __init__(self, options, folder, stack):
        self.options, self.folder, self.stack = options, folder, stack
        # Of other namespaces than the caller's, far from each other.
        self.used = [Service(options, (1 + i * (options.services // USED)) % options.services) for i in range(USED)]
        self.capture()
        self.write()
        self.control = self.program("control", options.programs / "fairlead-control", "--source", f"directory:{folder}/objects",
                                    "--listen", "127.0.0.1:15012", "--http", "127.0.0.1:15014", "--ca-dir", folder / "ca",
                                    "--token-dir", folder / "tokens").ready()
        self.serve()

    def program(self, name, *argv, **environment):
        program = Program(name, self.folder, argv, **environment)
        self.stack.callback(program.stop)
        return program

    def capture(self):
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "route", "add", "local", "10.128.0.0/9", "dev", "lo")
        sh("ip", "route", "add", "local", "10.96.0.0/12", "dev", "lo")
        sh("nft", "-f", "-", text="table ip bench { chain output { type nat hook output priority -100;"
           " ip daddr 10.96.0.0/12 meta l4proto tcp redirect to :15001; }; }")

    def write(self):
        """The mesh as mesh-yaml writes it; the used Services and the callers in files of their own."""
        sh(sys.executable, pathlib.Path(__file__).with_name("mesh-yaml.py"), self.folder / "objects",
           "--services", self.options.services, "--endpoints", self.options.endpoints, "--ports", self.options.ports)
        for service in self.used:
            own = service.text(service.pods)
            for path in (self.folder / "objects").glob("mesh-*.yaml"):
                text = path.read_text()
                if own in text:
                    path.write_text(text.replace(own, f"# {service.name} has a file of its own\n", 1))
                    break
            else:
                raise SystemExit(f"{service.name} is not there")
            self.put(service, service.pods)
        (self.folder / "objects" / "caller.yaml").write_text(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: alone}\n---\n"
            + "---\n".join(next(mesh_yaml.pods_of("caller", namespace, [pod])) + "---\napiVersion: v1\nkind: ServiceAccount\n"
                           f"metadata: {{name: caller, namespace: {namespace}}}\n"
                           for namespace, pod in (("alone", self.options.endpoints), ("ns-0", self.options.endpoints + 1))))

    def put(self, service, endpoints):
        """Renamed into place, as an editor does. Returns when."""
        place = self.folder / "objects" / f"used-{service.name}.yaml"
        hidden = place.with_name(f".{place.name}")
        hidden.write_text(service.text(endpoints), encoding="utf-8")
        now = time.monotonic()
        hidden.rename(place)
        return now

    def serve(self):
        """The endpoints of the used Services: each address with the certificate of its Service, answering its address."""
        chains = []
        for service in self.used:
            cert = self.certificate(service)
            for pod in service.pods:
                address = mesh_yaml.address(pod)
                route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": address}}}
                chains.append({
                    "filter_chain_match": {"prefix_ranges": [{"address_prefix": address, "prefix_len": 32}]},
                    "transport_socket": {"name": "tls", "typed_config": {
                        "@type": TYPES + "transport_sockets.tls.v3.DownstreamTlsContext", "require_client_certificate": True,
                        "common_tls_context": {
                            "alpn_protocols": ["fairlead-tcp/1"],
                            "tls_certificates": [{"certificate_chain": {"filename": f"{cert}.crt"},
                                                  "private_key": {"filename": f"{cert}.key"}}],
                            "validation_context": {"trusted_ca": {"filename": str(self.folder / "ca/root-cert.pem")},
                                                   "match_typed_subject_alt_names": [
                                {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]}}}},
                    "filters": [{"name": "hcm", "typed_config": {
                        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "x", "http_filters": [{"name": "router", "typed_config": {
                            "@type": TYPES + "filters.http.router.v3.Router"}}],
                        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}}}]})
        (self.folder / "endpoints.json").write_text(json.dumps({"node": {"id": "endpoints", "cluster": "x"},
            "static_resources": {"listeners": [{"name": "l", "filter_chains": chains, "address": {
                "socket_address": {"address": "0.0.0.0", "port_value": 8080}}}]}}))
        self.program("endpoints", self.options.programs / "fairlead-proxy", "-c", self.folder / "endpoints.json",
                     "--concurrency", "1").ready()

    def certificate(self, service):
        """By the control plane's own root, as its issuer would."""
        name, root = self.folder / service.name, self.folder / "ca/root-1.pem"
        sh("openssl", "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/",
           "-addext", f"subjectAltName=critical,URI:spiffe://cluster.local/ns/{service.namespace}/sa/{service.name}",
           "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sh("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", root, "-CAkey", root, "-days", "1",
           "-copy_extensions", "copy", "-out", f"{name}.crt")
        return name

    def sidecar(self, discovery, namespace):
        pod = self.options.endpoints + (namespace != "alone")
        token = self.folder / f"token-{namespace}"
        sh(self.options.programs / "fairlead-control", "token", "create", "--token-dir", self.folder / "tokens",
           "--namespace", namespace, "--service-account", "caller", "--out", token)
        state = tempfile.mkdtemp(dir=self.folder)
        return self.program(
            f"sidecar-{discovery}-{namespace}", self.options.programs / "fairlead-proxy", "--concurrency", "1", "--state-dir", state,
            POD_NAME=f"caller-5d8f7c6b9-{pod:05}", POD_NAMESPACE=namespace, SERVICE_ACCOUNT="caller",
            POD_IPS=mesh_yaml.address(pod), NODE_NAME="node-0", FAIRLEAD_WORKLOAD="caller",
            FAIRLEAD_CONTROL_ADDRESS="127.0.0.1:15012", FAIRLEAD_CONTROL_NAME="localhost",
            FAIRLEAD_ROOT_FILE=str(self.folder / "ca/root-cert.pem"), FAIRLEAD_TOKEN_FILE=str(token),
            FAIRLEAD_DISCOVERY=discovery, FAIRLEAD_ADMIN_PORT=str(ADMIN)).ready()


def request(connection, service):
    connection.request("GET", "/", headers={"host": f"{service.name}.{service.namespace}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    return body if answer.status == 200 else f"{answer.status} {body}"


def connect(service):
    connection = http.client.HTTPConnection(service.address, 80, timeout=PATIENCE)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def use(world, requests):
    """So many requests to each of the ten through the sidecar; every answer must be one of the Service's own."""
    for service in world.used:
        with contextlib.closing(connect(service)) as connection:
            own = {mesh_yaml.address(pod) for pod in service.pods}
            for _ in range(requests):
                answer = request(connection, service)
                if answer not in own:
                    raise SystemExit(f"{service.name}: {answer}")


def change(world, changes):
    """How long each change takes to be in force, in ms."""
    service, took = world.used[0], []
    with contextlib.closing(connect(service)) as connection:
        for i in range(changes + 1):
            pod = service.pods[i % 2]
            begun = world.put(service, [pod])
            while (answer := request(connection, service)) != mesh_yaml.address(pod):
                if time.monotonic() > begun + PATIENCE:
                    raise SystemExit(f"the change is never in force: {answer}")
                time.sleep(0.001)
            took.append((time.monotonic() - begun) * 1e3)
            time.sleep(0.02 + (i * 7 % 50) / 1e3)    # not in step with any timer
    world.put(service, service.pods)
    return took[1:]


def policies(world, seconds):
    """A policy for each Service: every cluster changes at once. Renamed into place."""
    text = "---\n".join(
        "apiVersion: fairlead.io/v1alpha1\nkind: TrafficPolicy\n"
        f"metadata: {{name: all-{i}, namespace: ns-{i % mesh_yaml.NAMESPACES}}}\n"
        f'spec:\n  targetRefs: [{{group: "", kind: Service, name: service-{i}}}]\n  connectTimeout: {seconds}s\n'
        for i in range(world.options.services))
    hidden = world.folder / "objects" / ".policies.yaml"
    hidden.write_text(text, encoding="utf-8")
    hidden.rename(world.folder / "objects" / "policies.yaml")


def window(connection, service, begun, seconds):
    """Latencies in ms of requests one after the other for so long."""
    took = []
    while (now := time.perf_counter()) < begun + seconds:
        request(connection, service)
        took.append((time.perf_counter() - now) * 1e3)
    return took


def in_force(seconds):
    """How many clusters the sidecar has with this timeout."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/config_dump", timeout=PATIENCE) as answer:
        return answer.read().count(b'"connect_timeout":"%ds"' % seconds)


def swaps(world, rounds):
    """Windows of two seconds with nothing, and with a change of every cluster in each, in turn: p99 and worst of both."""
    service, seen = world.used[0], {"quiet": [], "swaps": []}
    with contextlib.closing(connect(service)) as connection:
        for i in range(2 * rounds):
            begun, kind = time.perf_counter(), ("quiet", "swaps")[i % 2]
            if kind == "swaps":
                policies(world, 6 + i // 2 % 2)
            took = window(connection, service, begun, 2)
            if kind == "swaps" and in_force(6 + i // 2 % 2) < world.options.services:
                raise SystemExit("the change is not in force after its window")
            if i >= 2:
                seen[kind].append((statistics.median(took), quantile(took, 0.99), quantile(took, 0.999), max(took)))
    return seen


def measure_swaps(world, rounds):
    seen = swaps(world, rounds)
    for place, name in enumerate(("p50", "p99", "p99.9", "worst")):
        quiet, swapped = ([row[place] for row in seen[kind]] for kind in ("quiet", "swaps"))
        row(f"sidecar wildcard: requests while all clusters change, {name}: quiet / with the change / difference (medians of"
            f" {len(quiet)} windows)", "" if place != 3 else "≤ 1 ms more",
            f"{statistics.median(quiet):.2f} / {statistics.median(swapped):.2f} /"
            f" {statistics.median(s - q for s, q in zip(swapped, quiet)):.2f} ms")


def settled(pid):
    """Memory once nothing moves any more: the process used no CPU to speak of for a while (4 s: what trims comes with delay)."""
    end = time.monotonic() + PATIENCE
    quiet, seen = time.monotonic(), cpu_ms(pid)
    while time.monotonic() < end and time.monotonic() < quiet + 4:
        time.sleep(0.25)
        if cpu_ms(pid) - seen > 5:
            quiet, seen = time.monotonic(), cpu_ms(pid)
    return memory(pid)


def row(what, aim, value):
    print(f"| {what} | {aim} | {value} |", flush=True)


def mib(kib):
    return f"{kib / 1024:.1f} MiB"


def measure_sidecar(world, discovery, namespace, aim):
    what = {"all": "wildcard", "on-demand": "on demand"}[discovery] + (", 50 Services in its namespace" if namespace != "alone" else "")
    sidecar = world.sidecar(discovery, namespace)
    row(f"sidecar {what}: exec to ready", "", f"{sidecar.started * 1e3:.0f} ms")
    row(f"sidecar {what}: nothing used, private memory", aim if discovery == "all" else "", mib(settled(sidecar.pid)))
    use(world, 1)
    row(f"sidecar {what}: {USED} Services used, a connection to each", aim, mib(settled(sidecar.pid)))
    pods = len(world.used[0].pods)
    use(world, 3 * pods)
    row(f"sidecar {what}: {USED} Services used, a connection to each of their {USED * pods} endpoints", "", mib(settled(sidecar.pid)))
    before = cpu_ms(sidecar.pid), cpu_ms(world.control.pid)
    took = change(world, world.options.changes)
    row(f"sidecar {what}: a changed endpoint in force, p50 / p99 / max of {len(took)}", "p99 ≤ 100 ms",
        f"{statistics.median(took):.0f} / {quantile(took, 0.99):.0f} / {max(took):.0f} ms")
    row(f"sidecar {what}: CPU a change (and its requests), proxy / control plane", "",
        f"{(cpu_ms(sidecar.pid) - before[0]) / len(took):.1f} / {(cpu_ms(world.control.pid) - before[1]) / len(took):.1f} ms")
    row(f"sidecar {what}: private memory after that", "", mib(settled(sidecar.pid)))
    if discovery == "all" and world.options.swaps > 0:
        measure_swaps(world, world.options.swaps + 1)
        row("sidecar wildcard: private memory after that", "", mib(settled(sidecar.pid)))
    if world.options.smaps:
        print(pathlib.Path(f"/proc/{sidecar.pid}/smaps").read_text(), file=sys.stderr)
    sidecar.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("programs", nargs="?", type=pathlib.Path, default=TOP / "build/release/bin")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--swaps", type=int, default=20, help="windows with a change of every cluster; 0: none")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10000)
    parser.add_argument("--ports", type=int, choices=(1, 2), default=1, help="of a Service: each is a cluster of its own")
    parser.add_argument("--only", default="", help="measure only sidecars whose discovery and namespace contain this")
    parser.add_argument("--smaps", action="store_true", help="print the sidecars' smaps on stderr")
    options = parser.parse_args()
    options.programs = options.programs.resolve()
    if ctypes.CDLL(None, use_errno=True).unshare(NEWNET) != 0:
        parser.error(f"needs root, for a network namespace: {os.strerror(ctypes.get_errno())}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        world = World(options, folder, stack)
        print(f"load average at the start: {os.getloadavg()[0]:.1f}\n")
        print("| what | aim | measured |\n|---|---|---|")
        row("control plane: exec to ready, everything loaded", "≤ 2 s",
            f"{world.control.started:.2f} s ({cpu_ms(world.control.pid) / 1e3:.2f} s of CPU)")
        row("control plane: private memory without proxies", "≤ 48 MiB", mib(settled(world.control.pid)))
        for discovery, namespace, aim in (("on-demand", "alone", "≤ 3 MiB"), ("on-demand", "ns-0", ""), ("all", "alone", "≤ 16 MiB")):
            if options.only in f"{discovery} {namespace}":
                measure_sidecar(world, discovery, namespace, aim)
        row("control plane: private memory after all", "", mib(settled(world.control.pid)))
        print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
