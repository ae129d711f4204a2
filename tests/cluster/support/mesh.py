"""The mesh as people install it: both charts by Helm, with the control plane in the cluster (the command tests/cluster/install).

    mesh = Mesh(cls)                               there when this returns; installed by it where the run did not
    space = mesh.space(self)                       a namespace that joins, mutual TLS STRICT; gone afterwards
    mesh.apply("HTTPRoute", "web", space, {"rules": …})     accepted by the control plane when this returns
    client = mesh.pod("client", space); client.get("http://web/")     a pod in it that waits for commands

What a test makes outside of namespaces of its own is deleted after it; the installation stays for the next lane.
"""
from . import place
from .api import ApiError, is_ready
from .lane import a_pod
from .place import kubectl, on_node
from .webhook import INJECT

SYSTEM = "fairlead-system"
OURS, GATEWAY = "fairlead.io/v1alpha1", "gateway.networking.k8s.io/v1"
OWN_KINDS = ("AuthorizationPolicy", "MeshSettings", "PeerAuthentication", "RequestAuthentication", "Telemetry", "TrafficPolicy")
ADDRESS = "fairlead-control.fairlead-system.svc:15012"


class Mesh:
    def __init__(self, lane):
        self.lane, self.api = lane, lane.api
        if not self.is_installed():
            place.run(place.HERE / "install")

    def is_installed(self):
        try:
            return bool(self.api.get("apps/v1", "Deployment", "fairlead-control", SYSTEM))
        except ApiError as error:
            if error.status != 404:
                raise
            return False

    def space(self, whom, strict=True, **how):
        """Its name. It has the trust bundle when this returns, and STRICT is in force before any pod is made there."""
        return strict_space(whom, **how) if strict else space_in(whom, **how)

    def apply(self, kind, name, space, spec, wait=True):
        """An object of ours or of Gateway API, made or changed; gone with its namespace. wait: until status says Accepted."""
        return apply(self.api, kind, name, space, spec, wait)

    def pod(self, name, space, **spec):
        """A Client in a pod that is Ready."""
        self.api.create(a_pod(name, space, labels={"app": name}, **spec))
        self.api.wait("v1", "Pod", name, space, is_ready)
        return Client(name, space)


def is_accepted(thing, generation):
    """By every parent that it has, for what it says now."""
    status = thing.get("status") or {}
    rows = status.get("parents") or [status]
    found = [row for parent in rows for row in parent.get("conditions") or () if row["type"] == "Accepted"]
    return len(found) == len(rows) and all(
        row["status"] == "True" and row.get("observedGeneration", generation) == generation for row in found)


def space_in(whom, name="mesh", labels=None, **how):
    space = whom.namespace(name, labels={INJECT: "enabled", **(labels or {})}, **how)
    whom.api.wait("v1", "ConfigMap", "fairlead-root", space, lambda thing: thing is not None)
    return space


def strict_space(whom, **how):
    space = space_in(whom, **how)
    apply(whom.api, "PeerAuthentication", "strict", space, {"mtls": {"mode": "STRICT"}})
    return space


def apply(api, kind, name, space, spec, wait=True):
    version = OURS if kind in OWN_KINDS else GATEWAY
    made = api.apply({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": space}, "spec": spec}, "lane", force=True)
    if wait:
        api.wait(version, kind, name, space, lambda now: now and is_accepted(now, made["metadata"]["generation"]))
    return made


class Client:
    """A pod whose app is a shell: what it is told to run, runs in the app's container."""

    def __init__(self, name, space, container="app"):
        self.name, self.space, self.container = name, space, container

    def run(self, *command, check=False):
        return kubectl("-n", self.space, "exec", self.name, "-c", self.container, "--", *command, check=check)

    def get(self, url, **headers):
        """What wget says: the body; or its error with the status line."""
        options = [word for name, value in headers.items() for word in ("--header", f"{name.replace('_', '-')}: {value}")]
        return self.run("timeout", "10", "wget", "-qO-", *options, url)  # its own -T crashes in a static busybox


def in_netns(pod, container, *command, **options):
    """On the node, in the network namespace of a pod's container."""
    rows = [row for key in ("initContainerStatuses", "containerStatuses") for row in pod["status"].get(key, ()) if row["name"] == container]
    name = rows[0]["containerID"].partition("//")[2]
    pid = next(line.split()[1] for line in on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines() if line.startswith(name))
    return on_node("nsenter", f"--net=/proc/{pid}/ns/net", "--", *command, **options)


def logs(pod, container, space):
    return kubectl("-n", space, "logs", pod, "-c", container, check=False)
