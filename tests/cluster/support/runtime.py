"""A container runtime and fairlead-cni, whichever runtime the node has: annotations on their way to the plugin, verbs as they are
really called, a captured pod and one that is not, a spec that is refused; ctr and cnitool, which call the plugin by libraries of
their own.
"""
import json

from waiting import eventually

from . import chain, place
from .api import is_ready
from .lane import Lane, a_pod
from .place import on_node

ANNOTATION = "fairlead.io/capture"
SPEC = json.dumps({"version": 1, "uid": 1337, "gid": 1337, "inbound": {"port": 15006, "includePorts": ["*"], "excludePorts": []},
                   "outbound": {"port": 15001, "includeCIDRs": ["*"], "excludeCIDRs": [], "includePorts": [], "excludePorts": []}})
# Whoever is captured, and dials anything, is told so by a listener on the port that outbound traffic goes to.
SERVER = "while :; do echo captured | nc -l -p 15001; done"
NAME = "fl-runtime"
LISTS = "/run/fl-runtime"


class RuntimeLane(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        chain.install(cls)
        chain.use(chain.PLUGIN)
        cls.space = cls.namespace("runtime")

    def pod(self, name, capture=None, **spec):
        """Running."""
        annotations = {"other": "annotation", **({} if capture is None else {ANNOTATION: capture})}
        container = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", SERVER]}
        self.api.create(a_pod(name, self.space, annotations=annotations, containers=[container], **spec))
        return self.api.wait("v1", "Pod", name, self.space, lambda pod: pod is not None and is_ready(pod))

    @staticmethod
    def netns(name):
        return chain.calls(pod=name, command="ADD")[-1]["netns"]

    def table(self, name):
        return on_node("nsenter", f"--net={self.netns(name)}", "nft", "list", "ruleset")

    def dial(self, name):
        """What a process of the pod is told that dials an address where nobody is."""
        return place.kubectl("-n", self.space, "exec", name, "--", "sh", "-c", "nc -w 2 192.0.2.1 80 </dev/null", check=False)

    # -- kubelet and CRI --------------------------------------------------------------------------------------------------

    def test_captured(self):
        """The annotation arrives as it was written, beside the others; the pod is captured, another one is not."""
        self.pod("meshed", SPEC)
        self.pod("plain")
        added = chain.calls(pod="meshed", command="ADD")
        # containerd 1.6 adds its networks side by side: where ours is first, its loopback plugin finds ::6 and makes the sandbox anew.
        self.assertIn(len(added), (1, 2))
        added = added[-1:]
        annotations = added[0]["input"]["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]
        self.assertEqual(annotations[ANNOTATION], SPEC)
        self.assertEqual(annotations["other"], "annotation")
        self.assertEqual(added[0]["input"]["cniVersion"], chain.usual()["cniVersion"])
        pod = self.api.get("v1", "Pod", "meshed", self.space)
        self.assertEqual(added[0]["input"]["prevResult"]["ips"][0]["address"].split("/")[0], pod["status"]["podIP"])
        self.assertIn(added[0]["netns"], [entry.get("sandbox") for entry in added[0]["input"]["prevResult"]["interfaces"]])
        self.assertIn('comment "fairlead capture 1 ', self.table("meshed"))
        self.assertEqual(self.dial("meshed"), "captured\n")
        self.assertEqual(self.table("plain"), "")
        self.assertNotIn("captured", self.dial("plain"))

    def test_deleted(self):
        """However often DEL comes, and with however little, the pod's address is free again and nothing has failed."""
        self.pod("deleted", SPEC)
        self.api.delete("v1", "Pod", "deleted", self.space)
        self.api.wait_gone("v1", "Pod", "deleted", self.space)
        deleted = chain.calls(pod="deleted", command="DEL")
        self.assertGreaterEqual(len(deleted), 1)
        self.assertEqual(deleted[0]["input"]["runtimeConfig"]["io.kubernetes.cri.pod-annotations"][ANNOTATION], SPEC)
        address = chain.calls(pod="deleted", command="ADD")[0]["input"]["prevResult"]["ips"][0]["address"].split("/")[0]
        self.assertFalse((place.NODE / "var" / "lib" / "cni" / "networks" / "pods" / address).exists())
        for line in (place.LOG / "containerd.log").read_text().splitlines():
            self.assertFalse('fairlead-cni' in line and "failed (delete)" in line, line)

    def test_refused(self):
        """A spec that is wrong: the pod waits, with the plugin's words in an event; it can be deleted all the same."""
        for name, capture, says in (("broken", "nonsense", "annotation " + ANNOTATION),
                                    ("future", '{"version": 99}', "99")):
            with self.subTest(name):
                self.api.create(a_pod(name, self.space, annotations={ANNOTATION: capture}))
                event = eventually(lambda pod=name: self.sandbox_event(pod), "an event tells of the sandbox")
                self.assertIn(says, event["message"])
                self.assertIn("fairlead-cni", event["message"])
                self.api.delete("v1", "Pod", name, self.space)
                self.api.wait_gone("v1", "Pod", name, self.space)
                eventually(lambda pod=name: chain.calls(pod=pod, command="DEL"), "DEL comes")

    def sandbox_event(self, pod):
        events = self.api.list("v1", "Event", self.space, fieldSelector=f"involvedObject.name={pod},reason=FailedCreatePodSandBox")
        return events[0] if events else None

    def test_restarted(self):
        """A runtime that crashed and came back goes on with pods that were captured before, and ends them."""
        self.pod("before", SPEC)
        place.run(place.HERE / "restart", "containerd")
        eventually(lambda: self.dial("before") == "captured\n", "the pod can be reached again")
        self.pod("after", SPEC)
        self.assertEqual(self.dial("after"), "captured\n")
        for name in ("before", "after"):
            self.api.delete("v1", "Pod", name, self.space)
            self.api.wait_gone("v1", "Pod", name, self.space)

    # -- other callers ----------------------------------------------------------------------------------------------------

    def test_ctr(self):
        """No pod, so no annotations: the plugin hands on the result, and the container has its address."""
        group = f"/{place.CLUSTER}-node/{NAME}"
        said = on_node("ctr", "-n", "k8s.io", "run", "--cni", "--rm", "--cgroup", group, place.BUSYBOX_IMAGE, NAME, "ip", "addr", "show", "eth0")
        self.assertIn("inet 10.244.", said)
        added = [call for call in chain.calls(command="ADD") if "K8S_POD_NAME" not in call["args"]]
        self.assertNotIn("runtimeConfig", added[-1]["input"])
        self.assertTrue(added[-1]["input"]["prevResult"]["ips"])

    def cnitool(self, verb, **options):
        """Without port mappings for check: portmap's own misses rules of IPv6 that it did not make."""
        arguments = {"io.kubernetes.cri.pod-annotations": {ANNOTATION: SPEC}}
        if verb != "check":
            arguments["portMappings"] = [{"hostPort": 18080, "containerPort": 8080, "protocol": "tcp"}]
        return on_node("env", "CNI_PATH=/opt/cni/bin", f"NETCONFPATH={LISTS}", f"CAP_ARGS={json.dumps(arguments)}",
                       "cnitool", verb, NAME, f"/run/netns/{NAME}", **options)

    def a_list(self):
        """A network of its own, for cnitool's GC takes away whatever it knows of the network."""
        chained = chain.usual()
        bridge = next(plugin for plugin in chained["plugins"] if plugin["type"] == "bridge")
        bridge.update(bridge="flrt0", ipam={"type": "host-local", "ranges": [[{"subnet": "10.245.0.0/24"}]]})
        chained["plugins"] += [{"type": chain.PLUGIN, "capabilities": chain.CAPABILITIES}]
        on_node("mkdir", "-p", LISTS)
        on_node("sh", "-c", f"cat >{LISTS}/10.conflist", text=json.dumps({**chained, "name": NAME}))
        self.addCleanup(on_node, "rm", "-r", LISTS)
        self.addCleanup(on_node, "ip", "link", "del", "flrt0", check=False)

    def test_cnitool(self):
        """libcni itself, with bridge and portmap before us: every verb that this version of the list has."""
        inside = ("nsenter", f"--net=/run/netns/{NAME}")
        leases = place.NODE / "var" / "lib" / "cni" / "networks" / NAME
        self.a_list()
        on_node("ip", "netns", "add", NAME)
        self.addCleanup(on_node, "ip", "netns", "del", NAME)
        self.addCleanup(self.cnitool, "del")
        for last in ("del", "gc") if place.RUNTIME == "built" else ("del",):
            with self.subTest(last):
                result = json.loads(self.cnitool("add"))
                self.assertEqual(result["cniVersion"], chain.usual()["cniVersion"])
                self.assertTrue((leases / result["ips"][0]["address"].split("/")[0]).exists())
                self.assertIn("fairlead capture", on_node(*inside, "nft", "list", "ruleset"))
                self.cnitool("check")
                on_node(*inside, "nft", "flush", "chain", "inet", "fairlead", "output")
                self.assertIn("capture is not as the pod's capture spec asks", self.cnitool("check", check=False))
                if place.RUNTIME == "built":
                    self.cnitool("status")
                for _ in range(2):
                    self.cnitool(last)
                    self.assertEqual(on_node(*inside, "nft", "list", "ruleset"), "")
                    self.assertFalse((leases / result["ips"][0]["address"].split("/")[0]).exists())
