#!/usr/bin/env python3
"""The whole mesh, end to end: label a namespace, and its pods' traffic is in the mesh, by the control plane's rules.

Real Pod manifests (examples/) go through the real webhook, their network namespaces through a real CNI chain
(bridge + host-local + fairlead-cni), app and sidecar run inside; the real control plane reads a folder of the objects that
a cluster would hold (examples/mesh/), issues their certificates and tells them what to do; every claim is checked from
outside. What a cluster would do around them is done by standin/, the claims stand in acts/. Needs root. Called by
./quickstart, which builds the programs first.

Everything made is removed at the end, also on Ctrl-C, SIGTERM or when the terminal goes: network namespaces named
fl<pid>-…, and one folder under /tmp. What a killed run (SIGKILL) left behind, the next one removes.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading

import yaml

sys.dont_write_bytecode = True
from acts.edge import Edge  # noqa: E402
from acts.operations import Operations  # noqa: E402
from acts.onboarding import Onboarding  # noqa: E402
from acts.security import Security  # noqa: E402
from acts.telemetry import Telemetry  # noqa: E402
from acts.traffic import Traffic  # noqa: E402
from report import Failed, Report, say  # noqa: E402
from standin import admission, cni, netns  # noqa: E402
from world import HOST, World  # noqa: E402

ACTS = (Onboarding, Traffic, Security, Telemetry, Edge, Operations)


def commands(world):
    """What to play with when the pods are kept."""
    enter = f"nsenter --net=/run/netns/{world.client.netns} setpriv --reuid 65534 --regid 65534 --clear-groups"
    return "\n".join([
        "The pods are kept until you press Ctrl-C. In another shell, as root:",
        "  # a request from the client to the Service's address, by the rules, through both sidecars",
        f"  {enter} curl -s --resolve {HOST}:8080:10.96.0.10 http://{HOST}:8080/",
        "  # the same from outside the mesh: refused",
        f"  nsenter --net=/run/netns/{world.outsider.netns} curl -s http://{world.server.ip(4)}:8080/",
        "  # what captures the client's traffic",
        f"  nsenter --net=/run/netns/{world.client.netns} nft list table inet fairlead",
        "  # the server's metrics; its sidecar's log",
        f"  nsenter --net=/run/netns/{world.node} curl -s http://{world.server.ip(4)}:15020/stats/prometheus | grep istio_",
        f"  tail -f {world.server.logs['fairlead-proxy']}",
        "  # what the control plane knows; what the client's sidecar runs on",
        f"  nsenter --net=/run/netns/{world.node} {world.image}/fairlead status --control 127.0.0.1:15014",
        f"  nsenter --net=/run/netns/{world.client.netns} {world.image}/fairlead proxy-config routes",
        "  # the rules: change a file in here, and it is in force",
        f"  ls {world.state}/objects; ls {world.state}/status",
        "  # the pod as the webhook patched it",
        f"  cat {world.state}/server.yaml"])


def keep(world):
    (world.state / "server.yaml").write_text(yaml.safe_dump(world.server.stored, sort_keys=False))
    say("\n" + commands(world))
    threading.Event().wait()


def sweep():
    """Removes what runs left behind whose process is gone (SIGKILL): their namespaces, the processes in them, folders."""
    for name in netns.names():
        owner = re.fullmatch(r"fl(\d+)-\w+", name)
        if owner and not quickstart_runs(owner[1]):
            netns.end_processes(name)
            netns.delete(name)
    for folder in pathlib.Path(tempfile.gettempdir()).glob("fairlead-quickstart-*"):
        if not quickstart_runs(folder.name.rpartition("-")[2]):
            shutil.rmtree(folder, ignore_errors=True)


def quickstart_runs(pid):
    """Whether that process is a quickstart of now, not another program that got the number."""
    try:
        return b"quickstart/main.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def interrupted(number, _frame):
    """Ctrl-C, a closed terminal, or a plain kill: the run ends, and what it made is removed."""
    raise SystemExit(128 + number)


def from_now_on(action):
    """What the signals that end a run do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def main():
    parser = argparse.ArgumentParser(prog="quickstart", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--programs", required=True, help="folder of the programs fairlead-… and fairlead")
    parser.add_argument("--keep", action="store_true", help="leave the pods running and print commands to play with")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it makes network namespaces")
    from_now_on(interrupted)
    report, world, held = Report(), None, False
    try:
        sweep()
        world = World(options.programs, report)
        for act in ACTS:
            act(world).play()
        held = report.end()
        if held and options.keep:
            keep(world)
    except (Failed, admission.Denied, admission.Broken, cni.Failed, RuntimeError, OSError) as error:
        say(f"\nit did not work: {error}")
    finally:
        from_now_on(signal.SIG_IGN)    # a second Ctrl-C, or an impatient init, must not leave half of it behind
        if world is not None:
            world.close()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
