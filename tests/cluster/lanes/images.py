#!/usr/bin/env python3
"""The release programs as images: they start in a pod, without root, with nothing in the image but what they need. The agent's brings
iptables, for nodes whose kernel lacks nf_tables: what it needs there, and that it needs nothing of the node."""
import json
import os
import re
import subprocess

from support import chain, chart, image, place
from support.api import is_ready
from support.lane import Lane, a_pod, main
from support.place import kubectl, on_node
from waiting import eventually

NEEDS = "node"
# With --full the whole product is built once more.
MINUTES = 40

PROGRAMS = ("fairlead-webhook", "fairlead-proxy", "fairlead-control")


def restricted_pod(name, namespace, reference, *arguments):
    """A pod that ends, in the form that Pod Security restricted wants; the image's user is the pod's."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "restartPolicy": "Never", "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "program", "image": reference, "args": list(arguments), "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}}]}}


def has_ended(pod):
    return pod and pod["status"].get("phase") in ("Succeeded", "Failed")


class Images(Lane):
    def test_programs_start(self):
        space = self.namespace("images", labels={"pod-security.kubernetes.io/enforce": "restricted"})
        for program in PROGRAMS:
            with self.subTest(program):
                self.api.create(restricted_pod(program, space, image.load(program), "--version"))
                pod = self.api.wait("v1", "Pod", program, space, has_ended)
                said = kubectl("-n", space, "logs", program)
                self.assertEqual(pod["status"]["phase"], "Succeeded", said)
                self.assertTrue(re.search(r"\b\d+\.\d+\.\d+\b", said), said)

    def test_reproduced(self):
        """A clean clone in another folder makes the same, bit by bit: the smallest program's image; with --full all of them."""
        if re.search("COMPILER_LAUNCHER:.*ccache", (place.TOP / "build" / "release" / "CMakeCache.txt").read_text()):
            self.skipTest("built through ccache, which may bring objects of another folder")
        some = [] if os.environ.get("CLUSTER_FULL") == "yes" else ["fairlead-keeper"]
        done = subprocess.run([place.TOP / "images" / "reproduce", *some], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 77:
            self.skipTest(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"\Asha256:[0-9a-f]{64} fairlead")


# -- the agent's iptables ---------------------------------------------------------------------------------------------

AGENT, HOME = "fairlead-agent", "fairlead-cni"
SPEC = json.dumps({"version": 1, "uid": 1337, "gid": 1337, "inbound": {"port": 15006, "includePorts": ["*"], "excludePorts": []},
                   "outbound": {"port": 15001, "includeCIDRs": ["*"], "excludeCIDRs": [], "includePorts": [], "excludePorts": []}})
FIELDS = {"FAIRLEAD_CAPTURE": "metadata.annotations['fairlead.io/capture']", "POD_NAME": "metadata.name", "POD_UID": "metadata.uid",
          "POD_NAMESPACE": "metadata.namespace", "POD_IPS": "status.podIPs"}
CAPABILITIES = ["DAC_READ_SEARCH", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE"]


def missed_pod(name, namespace, reference, **spec):
    """Waits at the gate; then something of the proxy's name goes on, so that the agent looks after it."""
    environment = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in FIELDS.items()]
    proxy = {"image": reference, "env": environment, "securityContext": {"runAsUser": 1337, "runAsGroup": 1337}}
    return a_pod(name, namespace, annotations={"fairlead.io/capture": SPEC}, **spec,
                 initContainers=[{**proxy, "name": "fairlead-gate", "args": ["gate"]}],
                 containers=[{**proxy, "name": "fairlead-proxy", "args": ["wait", "--seconds", "600"]}])


class AgentIptables(Lane):
    @classmethod
    def setUpClass(cls):
        """The chart's DaemonSet without the rest of the chart, and the plugin where the runtime does not call it."""
        super().setUpClass()
        repository, tag = image.load(AGENT).split(":")
        things = chart.render({"cni.enabled": True, "cni.events": False, "cni.mode": "standalone", "cni.backend": "iptables",
                               "cni.image.repository": repository, "cni.image.tag": tag})
        cls.later(cls.clean)
        for thing in sorted(things, key=lambda thing: thing["kind"] != "Namespace"):
            if thing["metadata"]["name"] == HOME or thing["metadata"].get("namespace") == HOME:
                cls.create(thing)
        cls.agent = next(thing for thing in things if thing["kind"] == "DaemonSet")
        kubectl("-n", HOME, "rollout", "status", f"daemonset/{AGENT}", "--timeout=60s")
        cls.space = cls.namespace("iptables")
        cls.proxy = image.load("fairlead-proxy")

    @classmethod
    def clean(cls):
        cls.api.wait_gone("v1", "Namespace", HOME)
        on_node("sh", "-c", f"rm -rf /opt/cni/bin/{chain.PLUGIN} /opt/cni/bin/{chain.PLUGIN}.d /etc/cni/net.d/*{chain.PLUGIN}.conf")

    @staticmethod
    def in_pod(pid, *command, **options):
        return on_node("nsenter", f"--net=/proc/{pid}/ns/net", "--", *command, **options)

    def pid_of(self, pod):
        name = pod["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
        return next(line.split()[1] for line in on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines() if line.startswith(name))

    def rules(self, pid, program="iptables-legacy-save"):
        return [line for line in self.in_pod(pid, program).splitlines() if "FAIRLEAD" in line and line.startswith("-A")]

    def test_missed_and_flushed(self):
        """By iptables of the image, both families; also in a user namespace of the pod's own, where the kernel asks for more."""
        for name, spec in (("plain", {}), ("own-users", {"hostUsers": False})):
            with self.subTest(name):
                self.api.create(missed_pod(name, self.space, self.proxy, **spec))
                pod = self.api.wait("v1", "Pod", name, self.space, is_ready)
                pid = self.pid_of(pod)
                whole = self.rules(pid), self.rules(pid, "ip6tables-legacy-save")
                self.assertTrue(all(whole), whole)
                self.assertNotIn("fairlead", self.in_pod(pid, "nft", "list", "tables", check=False))
                self.in_pod(pid, "iptables-legacy", "-t", "nat", "-F")
                eventually(lambda pid=pid, rules=whole[0]: self.rules(pid) == rules, "the rules are as they were")

    def test_capabilities(self):
        """The DaemonSet has what iptables needs, by the kernel's word: without any one of them a table is not read."""
        container, = self.agent["spec"]["template"]["spec"]["containers"]
        self.assertEqual(container["securityContext"]["capabilities"]["add"], CAPABILITIES)
        self.api.create(a_pod("any", self.space, hostUsers=False))
        pid = self.pid_of(self.api.wait("v1", "Pod", "any", self.space, is_ready))
        tables = ("iptables-legacy-save", "-t", "nat")
        names = ("cat", "/proc/self/net/ip_tables_names")  # belongs to the root of the pod's user namespace
        for gone, deed in ((None, tables), ("NET_RAW", tables), ("NET_ADMIN", tables), ("SYS_ADMIN", tables), (None, names), ("DAC_READ_SEARCH", names)):
            with self.subTest(gone, deed=deed[0]):
                words = ",".join(["-all", *(f"+{one.lower()}" for one in CAPABILITIES if one != gone)])
                said = on_node("setpriv", "--bounding-set", words, "--", "nsenter", f"--net=/proc/{pid}/ns/net", "--", *deed, check=False)
                self.assertEqual("nat\n" in said, gone is None, said)

    def test_extensions(self):
        """All that our rules are made of is in the image, and no more."""
        texts = (path.read_text() for path in (place.TOP / "tests" / "golden" / "cni").glob("*.iptables"))
        used = {word for text in texts for word in re.findall(r" -[mj] (\w+)", text) if not word.startswith("FAIRLEAD_")}
        self.assertEqual(used - {"RETURN", "DROP"} | {"standard"}, image.EXTENSIONS)


if __name__ == "__main__":
    main()
