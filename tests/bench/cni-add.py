#!/usr/bin/env python3
"""How long one exec of a CNI plugin takes, ADD by ADD: fairlead-cni beside Debian's plugins, in one run.

usage: cni-add.py [--rounds N] PATH-OF-fairlead-cni        (root; build the release preset first, with tests)

The first table has every plugin alone, fairlead-cni as a plain program and as it lies on a host (the launcher and its
folder, installed from the same build). The second is one chain, as a pod gets it: bridge, then portmap with a mapping,
tuning and fairlead-cni, each with bridge's result. Each round runs every plugin once, in turn, so that what else the machine does meets all of them alike. A plugin gets a
fresh netns for each of its ADDs (made and removed outside the clock), as in a runtime; wall time is from spawn to exit.
`true` is the floor: the same spawn of a program that does nothing. Printed are medians and the 90th percentile; there is
no pass and no fail here. (What the kernel's part of it costs: bench_capture.)
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "integration"))
sys.dont_write_bytecode = True
import cni_support as cni  # noqa: E402

STANDARD = "/usr/lib/cni"
RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}, {"address": "fd09::2/64"}]}


def config(kind, **members):
    return json.dumps(cni.config(type=kind, **members))


def golden(name):
    with open(os.path.join(cni.GOLDEN, name)) as handle:
        return json.dumps(cni.config(handle.read().strip()))


def bridge(folder):
    return {"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "flbench0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": folder, "subnet": "10.89.0.0/16"}}


def existing(rows):
    return [row for row in rows if row[1] is not None and os.path.exists(row[1])]


def contenders(fairlead, launcher, folder):
    """name, program, stdin"""
    default = json.dumps(cni.config(cni.spec()))
    return existing([
        ("true (the floor)", "/bin/true", ""),
        ("fairlead-cni, no annotation", fairlead, config("fairlead-cni")),
        ("fairlead-cni, default spec", fairlead, default),
        ("the same by the launcher", launcher, default),
        ("the same, its address compared", fairlead, json.dumps(cni.config(cni.spec(), prevResult=RESULT))),
        ("fairlead-cni, every list", fairlead, golden("every-list.json")),
        ("fairlead-cni, every setting", fairlead, golden("every-setting-ipv6.json")),
        ("tuning (nothing to tune)", f"{STANDARD}/tuning", config("tuning")),
        ("loopback", f"{STANDARD}/loopback", config("loopback")),
        ("bridge + host-local", f"{STANDARD}/bridge", json.dumps(bridge(folder))),
    ])


def chain(launcher):
    """What comes behind bridge: name, program, configuration without a result"""
    mapping = {"portMappings": [{"hostPort": 30080, "containerPort": 80, "protocol": "tcp"}]}
    return existing([
        ("portmap (one mapping)", f"{STANDARD}/portmap",
         {"type": "portmap", "capabilities": {"portMappings": True}, "runtimeConfig": mapping}),
        ("tuning (nothing to tune)", f"{STANDARD}/tuning", {"type": "tuning"}),
        ("fairlead-cni by the launcher", launcher, cni.config(cni.spec())),
    ])


def call(program, verb, stdin, pod, container):
    """Milliseconds, and what was answered."""
    environment = cni.Plugin(program).environment(verb, pod.path, CNI_PATH=STANDARD, CNI_CONTAINERID=container)
    start = time.perf_counter()
    process = subprocess.run([program], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment, check=False)
    took = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"{program}: {process.stdout.decode()}{process.stderr.decode()}")
    return took * 1000, process.stdout


def measure(rows, rounds):
    times = {name: [] for name, _, _ in rows}
    number = 0
    for _ in range(rounds):
        for name, program, stdin in rows:
            number += 1
            pod = cni.Namespace("bench")
            if program.endswith("fairlead-cni"):
                pod.ip("addr", "add", "10.9.0.2/24", "dev", "lo")
            times[name].append(call(program, "ADD", stdin, pod, f"alone{number}")[0])
            pod.remove()
    return times


def measure_chain(first, rows, rounds):
    times = {name: [] for name in ("bridge + host-local", *(name for name, _, _ in rows))}
    for number in range(rounds):
        pod = cni.Namespace("bench")
        took, result = call(f"{STANDARD}/bridge", "ADD", json.dumps(first), pod, f"chained{number}")
        times["bridge + host-local"].append(took)
        configs = [json.dumps({**members, "cniVersion": "1.0.0", "name": "bench", "prevResult": json.loads(result)})
                   for _, _, members in rows]
        for (name, program, _), stdin in zip(rows, configs):
            times[name].append(call(program, "ADD", stdin, pod, f"chained{number}")[0])
        for (_, program, _), stdin in zip(reversed(rows), reversed(configs)):
            call(program, "DEL", stdin, pod, f"chained{number}")
        call(f"{STANDARD}/bridge", "DEL", json.dumps(first), pod, f"chained{number}")
        pod.remove()
    return times


def install(plugin, folder):
    """The launcher, installed from the build that the program is of; None where that has no payload_tool."""
    build = os.path.dirname(os.path.dirname(plugin))
    tool, payload = os.path.join(build, "tests", "payload_tool"), os.path.join(build, "cni-payload")
    if not os.path.exists(tool):
        print(f"{tool} is not built: no row for the launcher")
        return None
    bin_dir = os.path.join(folder, "bin")
    os.mkdir(bin_dir)
    subprocess.run([tool, "install", payload, bin_dir], check=True)
    return os.path.join(bin_dir, "fairlead-cni")


def show(title, times, floor):
    print(f"{title:32} {'median':>8} {'p90':>8} {'less the floor':>15}")
    for name, values in times.items():
        median = statistics.median(values)
        p90 = sorted(values)[int(len(values) * 0.9)]
        print(f"{name:32} {median:8.2f} {p90:8.2f} {median - floor:15.2f}")


def main():
    parser = argparse.ArgumentParser(description="times ADDs of CNI plugins")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("plugin")
    arguments = parser.parse_args()
    cni.skip_unless_possible()
    host = cni.Namespace("host")
    # The bridge belongs into a netns that is removed: this process moves there, and with it all that it spawns.
    cni.enter(host.path)
    with tempfile.TemporaryDirectory(prefix=cni.unique("")) as folder:
        plugin = os.path.abspath(arguments.plugin)
        launcher = install(plugin, folder)
        rows = contenders(plugin, launcher, folder)
        times = measure(rows, arguments.rounds)
        floor = statistics.median(times[rows[0][0]])
        show(f"ms, {arguments.rounds} rounds", times, floor)
        if os.path.exists(f"{STANDARD}/bridge"):
            print()
            show("in one chain", measure_chain(bridge(folder), chain(launcher), arguments.rounds), floor)


if __name__ == "__main__":
    main()
