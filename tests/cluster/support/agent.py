"""The whole chart on the node with values of its own, the node agent among it, and a namespace in the mesh.

    agent = Agent(cls)                             ready when this returns; gone after the class
    agent.change(**{"cni.mode": "standalone"})     other values; ready again when this returns
    agent.away(); agent.back()                     no agent on the node; one again
    agent.chained()                                types of the plugins in the node's list
    agent.captured(pod)                            what nftables has in a pod's network namespace

A server, the Service "web", stands in the mesh under STRICT: it answers who calls by mutual TLS, and nobody else. So an app whose first
act is to call it tells by its exit code whether it started captured.
"""
import json
import re
import urllib.request

from waiting import eventually

from . import chain, chart, place
from .api import ApiError, is_ready
from .lane import a_pod, containers
from .mesh import strict_space
from .place import kubectl, on_node

SYSTEM, HOME, NAME = "fairlead-system", "fairlead-cni", "fairlead-agent"
SELECT = "app.kubernetes.io/name=fairlead,app.kubernetes.io/component=agent"
METRICS = f"http://{place.NODE_IP}:15019/metrics"
PLUGIN, FOLDER = chain.PLUGIN, "fairlead-cni.d"  # in chain.BIN
NOWHERE = {"example.com/nowhere": "true"}
SANDBOX = "FailedCreatePodSandBox"  # the reason of the kubelet's Event


class Agent:
    def __init__(self, lane, **values):
        self.lane, self.api = lane, lane.api
        self.values = {**chart.with_images(agent=True, control=True), "cni.enabled": True, "webhook.replicas": 1, "control.replicas": 1, **values}
        lane.later(self.remove)
        chart.install({}, chart="fairlead-crds", release="fairlead-crds")
        chart.install(self.values)
        self.space = strict_space(lane)
        eventually(self.injects, "the webhook is asked, and answers")
        self.serve()

    def remove(self):
        """Also where a test left it in any state: the node is as it was."""
        chart.uninstall()
        chain.put()
        on_node("sh", "-c", f"rm -rf /opt/cni/bin/{PLUGIN} /opt/cni/bin/{FOLDER}")
        self.api.delete("v1", "Namespace", SYSTEM, missing_ok=True)
        self.api.wait_gone("v1", "Namespace", SYSTEM)
        self.api.wait_gone("v1", "Namespace", HOME)

    def injects(self):
        try:
            return containers(self.api.create(a_pod("asks", self.space), dry_run=True)) == ["fairlead-proxy", "app"]
        except ApiError:
            return False

    def serve(self):
        """http://web, in the mesh."""
        command = ["sh", "-c", "mkdir -p /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": command, "ports": [{"name": "web", "containerPort": 8080}],
               "readinessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1}}
        self.api.create(a_pod("web", self.space, labels={"app": "web"}, containers=[app]))
        self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": self.space}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "web", "port": 80, "targetPort": "web", "appProtocol": "http"}]}})
        self.api.wait("v1", "Pod", "web", self.space, is_ready)

    # -- the DaemonSet ------------------------------------------------------------------------------------------------

    def change(self, patience=120, **values):
        chart.install({**self.values, **values}, patience=patience)
        self.wait_settled()

    def wait_settled(self):
        kubectl("-n", HOME, "rollout", "status", f"daemonset/{NAME}", "--timeout=90s")

    def pods(self):
        return self.api.list("v1", "Pod", HOME, labelSelector=SELECT)

    def place_on(self, selector):
        self.api.patch("apps/v1", "DaemonSet", NAME, {"spec": {"template": {"spec": {"nodeSelector": selector}}}}, HOME)

    def away(self):
        self.place_on(NOWHERE)
        eventually(lambda: not self.pods(), "the agent is away")

    def back(self):
        self.place_on({key: None for key in NOWHERE})
        eventually(lambda: [pod for pod in self.pods() if is_ready(pod)], "an agent is Ready")
        self.wait_settled()

    def process(self):
        """Its pid, as the node counts."""
        return process_of(self.pods()[0], "agent")

    def logs(self):
        """The lines of the agent that runs."""
        lines = []
        for pod in self.pods():
            for line in kubectl("-n", HOME, "logs", pod.name, check=False).splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    continue
        return lines

    def metric(self, name, **labels):
        """The sum of the samples that have these labels; 0 where there is none."""
        with urllib.request.urlopen(METRICS, timeout=5) as answer:
            text = answer.read().decode()
        total = 0
        for line in text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and all(f'{key}="{value}"' in (found[2] or "") for key, value in labels.items()):
                total += float(found[3])
        return total

    # -- the node -----------------------------------------------------------------------------------------------------

    @staticmethod
    def chained():
        """Types of the plugins in the node's list."""
        return [plugin["type"] for plugin in json.loads(chain.FILE.read_text())["plugins"]]

    @staticmethod
    def versions():
        """Of the plugin, on the node."""
        folder = chain.BIN / FOLDER
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []

    def in_pod(self, pod, *command, **options):
        """On the node, in the pod's network namespace."""
        pid = process_of(self.api.get("v1", "Pod", pod, self.space), "fairlead-proxy")
        return on_node("nsenter", f"--net=/proc/{pid}/ns/net", "--", *command, **options)

    def captured(self, pod):
        return self.in_pod(pod, "nft", "list", "table", "inet", "fairlead", check=False)

    def events(self, *reasons, space=None):
        return [event for event in self.api.list("v1", "Event", space or self.space) if event["reason"] in reasons]

    # -- pods whose first act tells -----------------------------------------------------------------------------------

    def call(self):
        """A command that ends well where the server in the mesh answers."""
        return ["sh", "-c", f"exec timeout 20 wget -qO- http://web.{self.space}/"]

    def caller(self, name, **more):
        """Ends well where its first act, a call to the server in the mesh, is answered."""
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": self.call()}
        return a_pod(name, self.space, restartPolicy="Never", containers=[app], **more)

    def finishes(self, pod, patience=90):
        """What is wrong with its app, or None; the pod is gone afterwards."""
        name = pod["metadata"]["name"]
        try:
            done = self.api.wait("v1", "Pod", name, self.space, code_of_app, patience)
            code = code_of_app(done)["exitCode"]
            wrong = f"exit code {code}: {kubectl('-n', self.space, 'logs', name, '-c', 'app', check=False)}" if code != 0 else None
        except AssertionError as error:
            wrong = str(error)
        self.api.delete("v1", "Pod", name, self.space, missing_ok=True)
        return wrong


def code_of_app(pod):
    """How its container "app" ended; None while it has not."""
    rows = pod["status"].get("containerStatuses", ()) if pod else ()
    return next((row["state"]["terminated"] for row in rows if row["name"] == "app" and "terminated" in row["state"]), None)


def process_of(pod, container):
    """The pid of a container's first process, as the node counts."""
    rows = (row for key in ("initContainerStatuses", "containerStatuses") for row in pod["status"].get(key, ()))
    name = next(row["containerID"] for row in rows if row["name"] == container).partition("//")[2]
    tasks = on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines()
    return next(line.split()[1] for line in tasks if line.startswith(name))


def end_sandbox(pod):
    """All of its processes, as a reboot ends them: the kubelet finds it dead."""
    listed = on_node("ctr", "--namespace", "k8s.io", "containers", "list", "-q",
                     f"labels.\"io.kubernetes.pod.uid\"=={pod['metadata']['uid']}").split()
    tasks = {line.split()[0]: line.split()[1] for line in on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines()[1:]}
    for name in listed:
        if name in tasks:
            on_node("kill", "-9", tasks[name], check=False)
