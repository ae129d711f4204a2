#!/usr/bin/env python3
"""What joining the mesh costs a pod that starts: from its creation to Ready, with the sidecar and without, by turns.

    tests/cluster/lane ../../bench/start_cost [--pods 20]

on a cluster with the mesh installed (./test cluster --keep). The pods are the same: one container without probes, so that Ready
is when it runs. Times are when the events of a watch come, from the moment the request to create the pod is sent; "webhook" is
until that request is answered. Pods start in pairs, one of each, now this one first and now that one, so that both meet the same
load; a line tells of each pair at once. Nothing is left behind, also when it is told to stop.
"""
import argparse
import os
import pathlib
import signal
import statistics
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/cluster"))

from support import place  # noqa: E402
from support.api import Api, is_ready  # noqa: E402

SPACES = {"unmeshed": "start-cost-plain", "meshed": "start-cost-mesh"}
STEPS = ("webhook", "scheduled", "sidecar runs", "sidecar started", "app runs", "ready")
PATIENCE = 120


def running(statuses):
    return bool(statuses) and all("running" in status.get("state", {}) for status in statuses)


def seen(pod):
    """The steps that are behind it."""
    status = pod.get("status", {})
    sidecars = [one for one in status.get("initContainerStatuses", []) if one["name"] == "fairlead-proxy"]
    steps = {"scheduled": bool(pod["spec"].get("nodeName")), "sidecar runs": running(sidecars),
             "sidecar started": any(one.get("started") for one in sidecars),
             "app runs": running(status.get("containerStatuses")), "ready": is_ready(pod)}
    return [step for step, done in steps.items() if done]


def start_one(api, space, number):
    """Milliseconds since it was asked for, by step."""
    name, took = f"pod-{number}", {}
    began = time.monotonic()
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sleep", "3600"]}]}})
    took["webhook"] = (time.monotonic() - began) * 1e3
    for _, pod in api.watch("v1", "Pod", space, PATIENCE, fieldSelector=f"metadata.name={name}"):
        for step in seen(pod):
            took.setdefault(step, (time.monotonic() - began) * 1e3)
        if "ready" in took:
            break
    else:
        raise SystemExit(f"{space}/{name} is not ready")
    api.delete("v1", "Pod", name, space, now=True)
    api.wait_gone("v1", "Pod", name, space)
    return took


def measure(api, count, pairs):
    """Adds to `pairs`: what each took, by kind and step."""
    for number in range(-1, count):
        order = list(SPACES) if number % 2 else list(SPACES)[::-1]
        pair = {what: start_one(api, SPACES[what], number + 1) for what in order}
        if number < 0:
            continue  # the first of each warms up
        pairs.append(pair)
        steps = ", ".join(f"{step} {pair['meshed'][step]:.0f}" for step in STEPS if step in pair["meshed"])
        print(f"{number + 1}: unmeshed ready {pair['unmeshed']['ready']:.0f}; meshed {steps}", file=sys.stderr, flush=True)


def tell(pairs):
    print(f"| median of {len(pairs)}, ms until | unmeshed | meshed | more, by pairs |\n|---|---|---|---|")
    for step in STEPS:
        cells = [[pair[what][step] for pair in pairs if step in pair[what]] for what in SPACES]
        more = [pair["meshed"][step] - pair["unmeshed"][step] for pair in pairs if all(step in pair[what] for what in SPACES)]
        print(f"| {step} | " + " | ".join(f"{statistics.median(cell):.0f}" if cell else "" for cell in [*cells, more]) + " |")
    ready = [statistics.median(pair[what]["ready"] for pair in pairs) for what in SPACES]
    print(f"\na meshed pod's start takes {ready[1] - ready[0]:.0f} ms more (aim: 150); load average {os.getloadavg()[0]:.1f}")


def make_spaces(api):
    for what, space in SPACES.items():
        labels = {"fairlead.io/inject": "enabled"} if what == "meshed" else {}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}})
    for space in SPACES.values():
        api.wait("v1", "ServiceAccount", "default", space, lambda account: account is not None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pods", type=int, default=20)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    api, pairs = Api(), []
    for space in SPACES.values():  # of a run that was killed
        api.delete("v1", "Namespace", space, missing_ok=True)
        api.wait_gone("v1", "Namespace", space)
    try:
        make_spaces(api)
        measure(api, options.pods, pairs)
    finally:
        for space in SPACES.values():
            Api().delete("v1", "Namespace", space, missing_ok=True)
        if pairs:
            tell(pairs)


if __name__ == "__main__":
    main()
