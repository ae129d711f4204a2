#!/usr/bin/env python3
"""What a sidecar keeps in memory in a cluster with very many Services, of which its app uses a few: on Kubernetes, as it is installed.

    tests/cluster/lane ../../bench/many_services [--services 1000] [--endpoints 10] [--used 5] [--callers 3]

on a cluster with the mesh installed (./test cluster --keep). Most Services have endpoints that nobody answers at; those that are
used, in another namespace than their callers, have a meshed server each. Memory is Private_Clean + Private_Dirty of smaps_rollup once
the sidecar is quiet: when it is ready and nothing was used, after one request to each of the used, and after a hundred each. What the
sidecars of a node share (programs, libraries) is nobody's own, which is why there is more than one caller. A line for each caller
at once; nothing is left behind, also when it is told to stop.
"""
import argparse
import os
import pathlib
import re
import signal
import statistics
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/cluster"))

from support import place  # noqa: E402
from support.api import Api, is_ready  # noqa: E402
from support.mesh import Client  # noqa: E402
from support.place import on_node  # noqa: E402

CALLERS, SERVERS = "many-callers", "many-servers"
CROWD = [f"many-{number}" for number in range(20)]
PATIENCE = 300
QUIET = 5  # seconds without CPU to speak of: what trims the heap comes with some delay
STEPS = ("nothing used", "one request to each", "a hundred to each")


def service(name, space, selector=None):
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], **({"selector": selector} if selector else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": spec}


def endpoints(name, space, addresses):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": space, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}


def pod(name, space, *command):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": place.BUSYBOX_IMAGE, "command": list(command)}]}}


def make(api, options):
    for space in (CALLERS, SERVERS, *CROWD):
        labels = {"fairlead.io/inject": "enabled"} if space in (CALLERS, SERVERS) else {}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}})
    for space in (CALLERS, SERVERS):
        api.wait("v1", "ConfigMap", "fairlead-root", space, lambda thing: thing is not None, PATIENCE)
        api.wait("v1", "ServiceAccount", "default", space, lambda account: account is not None, PATIENCE)
    for number in range(options.used):
        name = f"server-{number}"
        api.create(service(name, SERVERS, {"app": name}))
        api.create(pod(name, SERVERS, "sh", "-c", "mkdir /tmp/w && echo ok > /tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w"))
    for number in range(options.services - options.used):
        name, space = f"service-{number}", CROWD[number % len(CROWD)]
        first = number * options.endpoints
        addresses = [f"198.18.{(first + i) // 250 % 256}.{(first + i) % 250 + 1}" for i in range(options.endpoints)]
        api.create(service(name, space))
        api.create(endpoints(name, space, addresses))
    for number in range(options.callers):
        api.create(pod(f"caller-{number}", CALLERS, "sleep", "86400"))
    for space, count in ((SERVERS, options.used), (CALLERS, options.callers)):
        for number in range(count):
            api.wait("v1", "Pod", ("server" if space == SERVERS else "caller") + f"-{number}", space, is_ready, PATIENCE)


def process(one):
    """The sidecar's id, as this machine counts."""
    row = next(row for row in one["status"]["initContainerStatuses"] if row["name"] == "fairlead-proxy")
    container = row["containerID"].partition("//")[2]
    tasks = on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines()
    return int(next(line.split()[1] for line in tasks if line.startswith(container)))


def cpu_ms(pid):
    tasks = on_node("sh", "-c", f"cat /proc/{pid}/task/*/schedstat").splitlines()
    return sum(int(line.split()[0]) for line in tasks) / 1e6


def settled(pid):
    """Private KiB once it does nothing any more, or after a minute."""
    end = time.monotonic() + 60
    quiet, seen = time.monotonic(), cpu_ms(pid)
    while time.monotonic() < min(end, quiet + QUIET):
        time.sleep(0.5)
        if (now := cpu_ms(pid)) - seen > 5:
            quiet, seen = time.monotonic(), now
    text = on_node("cat", f"/proc/{pid}/smaps_rollup")
    return sum(int(kib) for kib in re.findall(r"Private_(?:Clean|Dirty): +(\d+)", text))


def use(client, used, times):
    urls = " ".join(f"http://server-{number}.{SERVERS}/" for number in range(used))
    script = f"for i in $(seq {times}); do for url in {urls}; do timeout 20 wget -qO- $url || exit 1; done; done"
    said = client.run("sh", "-c", script, check=True)
    if said.split() != ["ok"] * (used * times):
        raise SystemExit(f"not what the servers say: {said[-500:]}")


def measure(api, options, rows):
    for number in range(options.callers):
        name = f"caller-{number}"
        pid, client = process(api.get("v1", "Pod", name, CALLERS)), Client(name, CALLERS)
        row = [settled(pid)]
        for times in (1, 100):
            use(client, options.used, times)
            row.append(settled(pid))
        rows.append(row)
        print(f"{name}: " + ", ".join(f"{step} {kib} KiB" for step, kib in zip(STEPS, row)), file=sys.stderr, flush=True)


def tell(options, rows):
    print(f"| sidecar, {options.services} Services of {options.endpoints} endpoints, {options.used} used | private memory, median of"
          f" {len(rows)} |\n|---|---|")
    for place_of, step in enumerate(STEPS):
        print(f"| {step} | {statistics.median(row[place_of] for row in rows) / 1024:.2f} MiB |")
    print(f"\nmost: {max(max(row) for row in rows) / 1024:.2f} MiB (aim: 3); load average {os.getloadavg()[0]:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10, help="of each Service that nobody uses")
    parser.add_argument("--used", type=int, default=5)
    parser.add_argument("--callers", type=int, default=3)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    api, rows = Api(), []
    spaces = (CALLERS, SERVERS, *CROWD)
    for space in spaces:  # of a run that was killed
        api.delete("v1", "Namespace", space, missing_ok=True)
    for space in spaces:
        api.wait_gone("v1", "Namespace", space, PATIENCE)
    try:
        make(api, options)
        measure(api, options, rows)
    finally:
        for space in spaces:
            Api().delete("v1", "Namespace", space, missing_ok=True)
        if rows:
            tell(options, rows)


if __name__ == "__main__":
    main()
