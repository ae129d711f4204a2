"""What makes injected pods run until the control plane lives in the cluster itself: the plugin in the node's CNI chain, and
fairlead-control as a process in the node's network, over a folder that mirrors the API server's objects.

    mesh = Mesh(cls)                               ready when this returns; values for the webhook: mesh.values
    mesh = Mesh(cls, chained=False)                the node's chain is somebody else's matter: the agent's
    mesh.chain("fairlead-cni")                     the plugins that the node's chain has beside the usual ones, in force

The control plane does not take Kubernetes' tokens yet, only those of its own key. So the token that the kubelet brings is replaced
in the sidecar's volume, from outside, until the sidecar has started. Mutual TLS is STRICT in every namespace with the label.
"""
import json
import threading

from . import chain, place
from .place import kubectl, on_node

PORT = 15012
PLUGIN = chain.PLUGIN
KINDS = (("v1", "Namespace"), ("v1", "ServiceAccount"), ("v1", "Service"), ("v1", "Pod"), ("discovery.k8s.io/v1", "EndpointSlice"))
API = "fairlead.io/v1alpha1"
TOKEN = "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~projected/fairlead-token/..data/token"
MOMENT = 0.3  # between two looks at the API server


class Mesh:
    def __init__(self, lane, chained=True):
        self.lane, self.api = lane, lane.api
        self.folder = lane.folder()
        self.source = self.folder / "source"
        self.source.mkdir()
        self.text, self.tokens = None, {}
        self.mirror()
        self.control = lane.program(
            "fairlead-control", "--source", f"directory:{self.source}", "--listen", f"{place.NODE_IP}:{PORT}", "--http", "none",
            "--ca-dir", self.folder / "ca", "--token-dir", self.folder / "tokens")
        self.control.wait("ready")
        self.root = (self.folder / "ca" / "root-cert.pem").read_text()
        self.values = {"config.control": {"address": f"{place.NODE_IP}:{PORT}"}}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        lane.later(self.stop)
        if chained:
            chain.install(lane)
            self.chain(PLUGIN)

    @staticmethod
    def chain(*plugins):
        chain.use(*plugins)

    # -- what the control plane knows ---------------------------------------------------------------------------------

    def space(self, whom, webhook, **how):
        """A labelled namespace that has the mesh's root."""
        name = webhook.namespace(whom, inject="enabled", **how)
        self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fairlead-root", "namespace": name},
                         "data": {"root-cert.pem": self.root}})
        return name

    def mirror(self):
        """All objects, in one file; and tokens for pods that wait for one."""
        things = [thing for version, kind in KINDS for thing in self.api.list(version, kind)]
        spaces = [thing.name for thing in things if thing["kind"] == "Namespace"
                  and thing["metadata"].get("labels", {}).get("fairlead.io/inject") == "enabled"]
        things += [{"apiVersion": API, "kind": "PeerAuthentication", "metadata": {"name": "strict", "namespace": space},
                    "spec": {"mtls": {"mode": "STRICT"}}} for space in spaces]
        text = "\n---\n".join(json.dumps(thing) for thing in things)
        if text != self.text:
            (self.folder / "new").write_text(text)
            (self.folder / "new").rename(self.source / "cluster.yaml")
            self.text = text
        for thing in things:
            if thing["kind"] == "Pod" and waits_for_token(thing):
                self.bring_token(thing)

    def bring_token(self, pod):
        who = (pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default"))
        if who not in self.tokens:
            self.tokens[who] = place.run(place.PROGRAMS / "fairlead-control", "token", "create", "--token-dir", self.folder / "tokens",
                                         "--namespace", who[0], "--service-account", who[1])
        path = TOKEN.format(pod["metadata"]["uid"])
        on_node("sh", "-c", f"if [ -e {path} ]; then cat >{path}; fi", text=self.tokens[who], check=False)

    def _follow(self):
        while not self.over.wait(MOMENT):
            self.mirror()
        self.api.close()

    def stop(self):
        self.over.set()
        self.thread.join()


def waits_for_token(pod):
    """It has a sidecar that has not started."""
    if not any(volume["name"] == "fairlead-token" for volume in pod["spec"].get("volumes", ())):
        return False
    rows = [row for key in ("initContainerStatuses", "containerStatuses") for row in pod.get("status", {}).get(key, ())]
    return not any(row["name"] == "fairlead-proxy" and row.get("ready") for row in rows)


def logs(pod, container, space):
    return kubectl("-n", space, "logs", pod, "-c", container, check=False)
