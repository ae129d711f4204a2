#!/usr/bin/env python3
"""What fairlead-agent costs a node, and how fast it is: memory and idle CPU with 200 pods, a rewritten conflist, a missed pod.

usage: agent.py [--pods N] [--rounds N] PATH-OF-fairlead-agent PATH-OF-the-payload      (root; build the release preset first)

A pod is a network namespace with one process that is called fairlead-proxy and has a sidecar's environment; the agent runs beside
them as on a node. Printed are medians; there is no pass and no fail here. Other agents on the machine spoil every figure.

 - private memory: Private_* of smaps_rollup, with no pod, with all pods captured by the agent, after Events were posted over TLS
 - CPU: time on a CPU (schedstat) over a minute in which no pod comes; each process that anybody starts costs an exec event
 - conflist: from the rename that takes the plugin out until a read finds it in the chain again
 - missed pod: from the start of the sidecar's process until the agent says that it is captured
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "integration"))
sys.dont_write_bytecode = True
import cni_repair_support as repair  # noqa: E402
import events_api  # noqa: E402
from agent_support import Agent  # noqa: E402

CONFLIST = {"cniVersion": "1.0.0", "name": "podnet", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}
IDLE_SECONDS = 60
CAPTURED = "captured a pod that had started uncaptured"


def on_cpu_ns(agent):
    return int(pathlib.Path(f"/proc/{agent.process.pid}/schedstat").read_text().split()[0])


def processes_started():
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    return 0


def largest_mappings(agent, count=6):
    sizes, name = {}, ""
    for line in pathlib.Path(f"/proc/{agent.process.pid}/smaps").read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            name = os.path.basename(fields[5]) if len(fields) > 5 else "anonymous"
        elif fields[0] in ("Private_Dirty:", "Private_Clean:"):
            sizes[name] = sizes.get(name, 0) + int(fields[1])
    return ", ".join(f"{name} {size}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:count])


def say(what, value):
    print(f"  {what:<52} {value}", flush=True)


def rewrite(folder):
    (folder / "new").write_text(json.dumps(CONFLIST))
    path = folder / "conf" / "10-podnet.conflist"
    start = time.perf_counter()
    (folder / "new").rename(path)
    while "fairlead-cni" not in path.read_text():
        pass
    return (time.perf_counter() - start) * 1e3


def missed_pod(agent):
    pod = repair.Pod()
    try:
        start = time.perf_counter()
        pod.start()
        agent.wait(CAPTURED, pod=pod.name)
        return (time.perf_counter() - start) * 1e3
    finally:
        pod.remove()


def measure(arguments, folder, api):
    for name in ("conf", "bin"):
        (folder / name).mkdir()
    (folder / "conf" / "10-podnet.conflist").write_text(json.dumps(CONFLIST))
    agent = Agent(arguments.agent, folder, "--payload", arguments.payload, "--node", "bench", "--service-account", api.account,
                  environment=api.environment())
    try:
        agent.wait_listening()
        agent.wait("installed")
        reason = agent.wait("repair is on").get("scans_because")
        say("sidecars are found by", f"a scan ({reason})" if reason else "exec events")
        say("private memory, no pod, KiB", agent.private_bytes() // 1024)
        pods = [repair.Pod() for _ in range(arguments.pods)]
        for pod in pods:
            pod.start()
        for pod in pods:
            agent.wait(CAPTURED, pod=pod.name)
        say(f"private memory, {arguments.pods} pods, KiB", agent.private_bytes() // 1024)
        restored = [rewrite(folder) for _ in range(arguments.rounds)]
        api.wait_for(lambda: api.requests, "an Event")
        time.sleep(1)  # TLS is let go of
        say("the same, after an Event over TLS, KiB", agent.private_bytes() // 1024)
        say("  where it is, KiB", largest_mappings(agent))
        start, started = on_cpu_ns(agent), processes_started()
        time.sleep(IDLE_SECONDS)
        say(f"CPU, idle with {arguments.pods} pods, % of a core", f"{(on_cpu_ns(agent) - start) / IDLE_SECONDS / 1e7:.3f}")
        say("  processes that the machine started meanwhile, a second", (processes_started() - started) // IDLE_SECONDS)
        say("rewritten conflist restored, ms (median, worst)", f"{statistics.median(restored):.2f} {max(restored):.2f}")
        missed = [missed_pod(agent) for _ in range(arguments.rounds)]
        say("missed pod captured, ms (median, worst)", f"{statistics.median(missed):.1f} {max(missed):.1f}")
    finally:
        agent.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("agent", type=pathlib.Path)
    parser.add_argument("payload", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.agent, arguments.payload = arguments.agent.resolve(), arguments.payload.resolve()
    api = events_api.Events()
    try:
        with tempfile.TemporaryDirectory(prefix="fl-agent-") as folder:
            measure(arguments, pathlib.Path(folder), api)
    finally:
        api.close()


main()
