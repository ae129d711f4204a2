#!/usr/bin/env python3
"""What joining the mesh costs a pod that starts: from its creation to Ready, with the sidecar and without, by turns.

    tests/cluster/lane ../../bench/start_cost [--pods 20]

on a cluster with the mesh installed (./test cluster --keep). The pods are the same: one container without probes, so that Ready
is when it runs. Times are when the events of a watch come, from the moment the request to create the pod is sent; "webhook" is
until that request is answered. Nothing is left behind.
"""
import argparse
import pathlib
import statistics
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/cluster"))

from support import place  # noqa: E402
from support.api import Api, is_ready  # noqa: E402

SPACES = {"unmeshed": "start-cost-plain", "meshed": "start-cost-mesh"}
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


def measure(api, count):
    took = {what: [] for what in SPACES}
    for number in range(-1, count):
        for what, space in SPACES.items():
            one = start_one(api, space, number + 1)
            if number >= 0:  # the first of each warms up
                took[what].append(one)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pods", type=int, default=20)
    options = parser.parse_args()
    api = Api()
    for what, space in SPACES.items():
        labels = {"fairlead.io/inject": "enabled"} if what == "meshed" else {}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}})
    try:
        for space in SPACES.values():
            api.wait("v1", "ServiceAccount", "default", space, lambda account: account is not None)
        took = measure(api, options.pods)
    finally:
        for space in SPACES.values():
            api.delete("v1", "Namespace", space)
    print("| median of milliseconds until | unmeshed | meshed |\n|---|---|---|")
    for step in ("webhook", "scheduled", "sidecar runs", "sidecar started", "app runs", "ready"):
        cells = [[one[step] for one in took[what] if step in one] for what in SPACES]
        print(f"| {step} | " + " | ".join(f"{statistics.median(cell):.0f}" if cell else "" for cell in cells) + " |")
    ready = [statistics.median(one["ready"] for one in took[what]) for what in SPACES]
    print(f"\na meshed pod's start takes {ready[1] - ready[0]:.0f} ms more (aim: 150)")


if __name__ == "__main__":
    main()
