#!/usr/bin/env python3
"""How long one exec of a CNI plugin takes, ADD by ADD: fairlead-cni beside Debian's plugins, in one run.

usage: cni-add.py [--rounds N] PATH-OF-fairlead-cni        (root; build the release preset first)

Each round runs every plugin once, in turn, so that what else the machine does meets all of them alike. A plugin gets a
fresh netns for each of its ADDs (made and removed outside the clock), as in a runtime; wall time is from spawn to exit.
`true` is the floor: the same spawn of a program that does nothing. Printed are medians and the 90th percentile; there is
no pass and no fail here.
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


def contenders(fairlead, folder):
    """name, program, stdin"""
    rows = [
        ("true (the floor)", "/bin/true", ""),
        ("fairlead-cni, no annotation", fairlead, config("fairlead-cni")),
        ("fairlead-cni, default spec", fairlead, json.dumps(cni.config(cni.spec()))),
        ("the same, its address compared", fairlead, json.dumps(cni.config(cni.spec(), prevResult=RESULT))),
        ("fairlead-cni, every list", fairlead, golden("every-list.json")),
        ("fairlead-cni, every setting", fairlead, golden("every-setting-ipv6.json")),
        ("tuning (nothing to tune)", f"{STANDARD}/tuning", config("tuning")),
        ("loopback", f"{STANDARD}/loopback", config("loopback")),
        ("bridge + host-local", f"{STANDARD}/bridge", json.dumps({
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "flbench0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": folder, "subnet": "10.89.0.0/16"}})),
    ]
    return [row for row in rows if os.path.exists(row[1])]


def timed(host, program, stdin, pod, number):
    environment = cni.Plugin(program).environment("ADD", pod.path, CNI_PATH=STANDARD, CNI_CONTAINERID=f"bench{number}")
    start = time.perf_counter()
    process = subprocess.run([program], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment, check=False)
    took = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"{program}: {process.stdout.decode()}{process.stderr.decode()}")
    return took * 1000


def measure(rows, host, rounds):
    times = {name: [] for name, _, _ in rows}
    number = 0
    for _ in range(rounds):
        for name, program, stdin in rows:
            number += 1
            pod = cni.Namespace("bench")
            if program.endswith("fairlead-cni"):
                pod.ip("addr", "add", "10.9.0.2/24", "dev", "lo")
            times[name].append(timed(host, program, stdin, pod, number))
            pod.remove()
    return times


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
        rows = contenders(os.path.abspath(arguments.plugin), folder)
        times = measure(rows, host, arguments.rounds)
    floor = statistics.median(times[rows[0][0]])
    print(f"{'ms from spawn to exit':30} {'median':>8} {'p90':>8} {'less the floor':>15}   ({arguments.rounds} rounds)")
    for name, values in times.items():
        median = statistics.median(values)
        p90 = sorted(values)[int(len(values) * 0.9)]
        print(f"{name:30} {median:8.2f} {p90:8.2f} {median - floor:15.2f}")


if __name__ == "__main__":
    main()
