"""The kubelet's and runtime's part of a pod: sandbox, volumes, environment, containers in their order.

A container is a process of this machine in the pod's network namespace and in a mount namespace of its own, in which
/run is fresh and the container's volumes are mounted; user, group and capabilities are those of its security context.
Images are the machine's own programs: `image` is read by nobody, `command` is found in PATH. Sidecars (init
containers with restartPolicy Always) come first, and the next container waits for the startup probe, as on Kubernetes.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import uuid

from . import netns

# In the new mount namespace: a fresh /run, then each volume at its place; then the container's user takes over. The
# arguments are pairs of folder and place, "--", and the command.
MOUNT_AND_RUN = """set -e
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""


class Pod:
    def __init__(self, stored, prefix, state, node):
        self.stored, self.spec = stored, stored["spec"]
        self.name, self.namespace = stored["metadata"]["name"], stored["metadata"]["namespace"]
        self.annotations = stored["metadata"].get("annotations", {})
        self.uid, self.sandbox = str(uuid.uuid4()), uuid.uuid4().hex
        self.netns, self.node = f"{prefix}-{self.name}", node
        self.folder = pathlib.Path(state) / self.name
        self.ips, self.result, self.processes, self.logs = [], None, {}, {}

    # --- network -----------------------------------------------------------------------------------

    def make_sandbox(self, chain, only=None):
        netns.add(self.netns)
        self.result = chain.add(self, only)
        self.ips = [ip["address"].split("/")[0] for ip in self.result["ips"]]

    def ip(self, version):
        return next(a for a in self.ips if (":" in a) == (version == 6))

    def remove(self, chain):
        self.stop()
        if self.result is not None:
            chain.delete(self, self.result)
            self.result = None
        netns.delete(self.netns)

    # --- containers --------------------------------------------------------------------------------

    def sidecars(self):
        return [c for c in self.spec.get("initContainers", []) if c.get("restartPolicy") == "Always"]

    def make_volumes(self, config_maps, token):
        """Folders for the pod's volumes; returns where each one is. `token(namespace, account, audience)` makes tokens."""
        places = {}
        for volume in self.spec.get("volumes", []):
            place = self.folder / "volumes" / volume["name"]
            place.mkdir(parents=True)
            place.chmod(0o777)
            if "configMap" in volume:
                for key, text in config_maps[self.namespace, volume["configMap"]["name"]].items():
                    (place / key).write_text(text)
            if "projected" in volume:
                for source in volume["projected"]["sources"]:
                    if "serviceAccountToken" in source:
                        wanted = source["serviceAccountToken"]
                        account = self.spec.get("serviceAccountName", "default")
                        (place / wanted["path"]).write_text(token(self.namespace, account, wanted["audience"]))
                    for item in source.get("configMap", {}).get("items", []):
                        data = config_maps.get((self.namespace, source["configMap"]["name"]), {})
                        (place / item["path"]).write_text(data[item["key"]])
            places[volume["name"]] = place
        return places

    def field(self, path):
        metadata = self.stored["metadata"]
        keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
        if keyed:
            return metadata.get(keyed[1], {}).get(keyed[2], "")
        return {"metadata.name": self.name, "metadata.namespace": self.namespace, "metadata.uid": self.uid,
                "spec.nodeName": "node", "spec.serviceAccountName": self.spec.get("serviceAccountName", "default"),
                "status.podIP": self.ips[0], "status.podIPs": ",".join(self.ips), "status.hostIP": "10.88.0.1"}[path]

    def resource(self, container, name):
        """As the kubelet gives it for a divisor of 1: whole CPUs, rounded up; the node's where there is no limit."""
        kind, resource = name.split(".")
        text = str(container.get("resources", {}).get(kind, {}).get(resource, os.cpu_count()))
        return str(-(-int(text[:-1]) // 1000) if text.endswith("m") else int(text))

    def environment(self, container):
        values = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOSTNAME": self.name}
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {})
            if "resourceFieldRef" in source:
                values[entry["name"]] = self.resource(container, source["resourceFieldRef"]["resource"])
            elif "fieldRef" in source:
                values[entry["name"]] = self.field(source["fieldRef"]["fieldPath"])
            else:
                values[entry["name"]] = entry.get("value", "")
        return values

    def start(self, container, volumes, programs):
        """Starts one container. `programs` maps the image's entry point to this machine's: name of the container →
        path. Returns at once; see wait_started."""
        context = {**self.spec.get("securityContext", {}), **container.get("securityContext", {})}
        user, group = context.get("runAsUser", 65534), context.get("runAsGroup", 65534)
        mounts = [str(x) for m in container.get("volumeMounts", []) for x in (volumes[m["name"]], m["mountPath"])]
        command = [*container.get("command", [programs.get(container["name"])]), *container.get("args", [])]
        privileges = ["setpriv", "--reuid", str(user), "--regid", str(group), "--clear-groups", "--inh-caps=-all",
                      "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        log = self.folder / f"{container['name']}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                ["nsenter", f"--net={netns.path(self.netns)}", "unshare", "--mount", "--propagation", "private",
                 "sh", "-c", MOUNT_AND_RUN, "sh", *mounts, "--", *privileges, "--", *command],
                env=self.environment(container), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/",
                start_new_session=True)
        self.processes[container["name"]], self.logs[container["name"]] = process, log
        return process

    def probe(self, http_get, timeout=1.0):
        """One HTTP probe from the node to the pod's address, as the kubelet does it: the status, or None."""
        with netns.entered(self.node), contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(self.ips[0], http_get["port"], timeout=timeout)
            try:
                connection.request("GET", http_get.get("path", "/"), headers={"User-Agent": "kube-probe/1.30"})
                return connection.getresponse().status
            finally:
                connection.close()
        return None

    def wait_started(self, container, seconds):
        """Probes until the container has started, has ended, or the time is over. True, or False with the reason."""
        http_get = container["startupProbe"]["httpGet"]
        end, process = time.monotonic() + seconds, self.processes[container["name"]]
        while time.monotonic() < end:
            if process.poll() is not None:
                return False
            if self.probe(http_get) == 200:
                return True
            time.sleep(0.02)
        return False

    def execute(self, container, argv, timeout=15):
        """kubectl exec: a command in the pod's network as the container's user."""
        context = container.get("securityContext", {})
        user, group = str(context.get("runAsUser", 65534)), str(context.get("runAsGroup", 65534))
        return netns.inside(self.netns, "setpriv", "--reuid", user, "--regid", group, "--clear-groups", *argv,
                            check=False, timeout=timeout)

    def log_lines(self, container):
        """The JSON objects that the container logged."""
        lines = []
        for line in self.logs[container].read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        return lines

    def stop(self):
        """SIGTERM to every container, the app first and the sidecar last; SIGKILL to what is left after five seconds.
        Returns the exit codes by name."""
        codes = {}
        for name, process in reversed(self.processes.items()):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
            try:
                codes[name] = process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        self.processes = {}
        return codes
