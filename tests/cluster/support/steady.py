"""An app that is rolled, killed and moved, and the load that must not notice (tests/cluster/check/steady.py, in pods that have the machine's
Python): everything asked is counted, and each failure told with its time and reason.

    steady = Steady(cls, mesh)                 the Deployment and Service "web" in a namespace of the mesh, and who asks: through sidecars,
                                               and from outside of the cluster through the Gateway "edge"
    with steady.watch() as seen: …             what was asked meanwhile, a little before and after included
    seen.failures; seen.told()                 what failed; in words: how many of how many
"""
import contextlib
import json
import os
import signal
import subprocess
import time

from waiting import eventually

from . import place
from .api import is_ready
from .place import kubectl
from .server import MACHINE

SCRIPT = place.HERE / "check" / "steady.py"
REPLICAS = 3
CALM = 2.5  # seconds before and after
# Patient: on a machine that is busy with other things all pods would be unready at once, and nobody asks those, with a mesh or without.
PROBE = {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 10}
WAITS = {"preStop": {"sleep": {"seconds": 2}}}  # it serves on until everybody has heard that it goes: what its end costs is not asked then
INSIDE = ("kept=http://web/", "new=http://web/", "slow=http://web/", "grpc=http://web:9090/")


def spec(*words, probe=None, lifecycle=None, **more):
    """Of a pod that runs the script."""
    volumes = [{"name": "steady", "configMap": {"name": "steady"}}, *({"name": key, "hostPath": {"path": path}} for key, path in MACHINE.items())]
    mounts = [{"name": "steady", "mountPath": "/steady"}, *({"name": key, "mountPath": f"/{key}", "readOnly": True} for key in MACHINE)]
    app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["/usr/bin/python3", "-B", "-u", "/steady/steady.py", *words],
           "volumeMounts": mounts, **({"readinessProbe": probe} if probe else {}), **({"lifecycle": lifecycle} if lifecycle else {})}
    return {"automountServiceAccountToken": False, "containers": [app], "volumes": volumes, **more}


class Line:
    """What one load has told; path: its output, which the kubelet prefixes."""

    def __init__(self, find):
        self.find = find

    def lines(self):
        found = []
        try:
            text = self.find().read_text(errors="replace")
        except (OSError, StopIteration):
            return found
        for line in text.splitlines():
            begin = line.find("{")
            if begin >= 0:
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line[begin:]))
        return found


class Seen:
    def __init__(self, steady):
        self.steady, self.begin, self.end = steady, time.time(), None
        self.failures, self.asked, self.slowest = [], {}, 0.0

    def close(self):
        self.end = time.time()
        for name, line in self.steady.sources.items():
            rows = [row for row in line.lines() if self.begin <= row["at"] <= self.end]
            self.failures += [{"from": name, **row, "at": round(row["at"] - self.begin, 2)} for row in rows if "failed" in row]
            ticks = [row for row in rows if "done" in row]
            for kind in ticks[-1]["done"] if ticks else ():
                self.asked[f"{name} {kind}"] = ticks[-1]["done"][kind] - ticks[0]["done"].get(kind, 0)
            self.slowest = max([self.slowest, *(row["slowest"] for row in ticks[1:])])
        self.failures.sort(key=lambda row: row["at"])

    def told(self):
        count = sum(self.asked.values())
        return (f"{len(self.failures)} of {count} requests failed in {self.end - self.begin:.0f} s ({self.asked}); the slowest took {self.slowest:.2f} s"
                + "".join(f"\n        {row['at']:7.2f} s {row['from']} {row['failed']}: {row['why']} (after {row['seconds']} s)" for row in self.failures[:25]))


class Steady:
    def __init__(self, lane, mesh, gateway=True, labels=None, lifecycle=None):
        self.lane, self.api, self.mesh, self.sources = lane, lane.api, mesh, {}
        self.lifecycle, self.space = lifecycle, mesh.space(lane, name="steady", labels=labels)
        self.provide(self.space)
        self.serve()
        self.ask("client", self.space, INSIDE)
        if gateway:
            self.gateway()

    def provide(self, space):
        self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "steady", "namespace": space}, "data": {"steady.py": SCRIPT.read_text()}})

    def serve(self):
        labels = {"app": "web"}
        self.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": self.space}, "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec(
                "serve", "web", probe=PROBE, lifecycle=self.lifecycle)}}})
        self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": self.space}, "spec": {"selector": labels, "ports": [
            {"name": "http", "port": 80, "targetPort": 8080}, {"name": "grpc", "port": 9090}]}})
        self.settle("deployment/web")

    def settle(self, what, space=None, patience=180):
        kubectl("-n", space or self.space, "rollout", "status", what, f"--timeout={patience}s")

    def roll(self, what, space=None):
        kubectl("-n", space or self.space, "rollout", "restart", what)
        self.settle(what, space)

    def pods(self, app="web"):
        """Those that are not about to go."""
        return [pod for pod in self.api.list("v1", "Pod", self.space, labelSelector=f"app={app}") if "deletionTimestamp" not in pod["metadata"]]

    def gateway_pods(self):
        selector = "gateway.networking.k8s.io/gateway-name=edge"
        return [pod for pod in self.api.list("v1", "Pod", self.space, labelSelector=selector) if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, count=REPLICAS):
        return sum(map(is_ready, self.pods())) == count == len(self.pods())

    # -- who asks -----------------------------------------------------------------------------------------------------

    def ask(self, name, space, words):
        """A pod in the mesh that asks. Its lines are read on the node, whatever the API server does."""
        made = self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": {"app": name}},
                                "spec": spec("load", *words, terminationGracePeriodSeconds=1)})
        self.api.wait("v1", "Pod", name, space, is_ready, 90)
        folder = place.NODE / "var" / "log" / "pods" / f"{space}_{name}_{made['metadata']['uid']}" / "app"
        self.sources[name] = Line(lambda: max(folder.glob("*.log")))
        self.begins(name)

    def leave(self, name):
        """Nobody asks there any more."""
        self.sources.pop(name)
        self.api.delete("v1", "Pod", name, self.space)
        self.api.wait_gone("v1", "Pod", name, self.space)

    def ask_anew(self, name):
        """In another pod."""
        self.leave(name)
        self.ask(name, self.space, INSIDE)

    def gateway(self):
        self.mesh.apply("Gateway", "edge", self.space, {"gatewayClassName": "fairlead", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]})
        self.mesh.apply("HTTPRoute", "edge", self.space, {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]})
        gateway = self.api.wait("gateway.networking.k8s.io/v1", "Gateway", "edge", self.space, lambda one: one.get("status", {}).get("addresses") and any(
            row["type"] == "Programmed" and row["status"] == "True" for row in one["status"]["conditions"]), 90)
        self.settle("deployment/edge-fairlead")
        url = f"http://{gateway['status']['addresses'][0]['value']}/"
        eventually(lambda: place.outside("curl", "-sf", "-m", "5", url, check=False).startswith("web"), "the Gateway answers", 60)
        path = self.lane.folder() / "outside"
        with path.open("wb") as output:
            process = subprocess.Popen(  # pylint: disable=consider-using-with
                ["nsenter", f"--net=/run/netns/{place.CLUSTER}-outside", "--", "/usr/bin/python3", "-B", "-u", str(SCRIPT), "load",
                 f"kept={url}", f"new={url}", f"slow={url}"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.lane.later(stop, process)
        self.sources["outside"] = Line(lambda: path)
        self.begins("outside")

    def begins(self, name):
        line = self.sources[name]
        eventually(lambda: any(row.get("done") for row in line.lines()), f"{name} asks", 60)

    @contextlib.contextmanager
    def watch(self):
        seen = Seen(self)
        time.sleep(CALM)
        try:
            yield seen
            time.sleep(CALM)
        finally:
            seen.close()


def stop(process):
    os.kill(process.pid, signal.SIGTERM)
    process.wait(10)
