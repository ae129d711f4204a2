#!/usr/bin/env python3
"""Pods that the plugin missed, or whose capture was taken away: the node agent puts them right where they run.

The plugin stands in a file that the runtime does not call (mode standalone, as with Multus, which hands no annotations on). So each
sidecar finds that it is not captured, and its app waits, until the agent has done the plugin's work: no restart, no other pod.
"""
from support import chain, place
from support.agent import HOME, NAME, PLUGIN, SANDBOX, Agent, process_of
from support.api import is_ready
from support.lane import Lane, a_pod, containers, main
from support.place import on_node
from waiting import eventually

NEEDS = "node"
MINUTES = 15

CLASSIC = {"fairlead.io/native-sidecar": "disabled"}
CAPTURED, RESTORED = "CapturedLate", "CaptureRestored"  # reasons of Events
CAPABILITIES = ("DAC_READ_SEARCH", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")


class Repair(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agent = Agent(cls, **{"cni.mode": "standalone"})

    def tearDown(self):
        self.assertEqual(self.agent.events(SANDBOX), [], "a sandbox failed")

    def events_about(self, pod, reason):
        return [event for event in self.agent.events(reason) if event["involvedObject"]["name"] == pod]

    # -- missed -------------------------------------------------------------------------------------------------------

    def test_a_the_plugin_is_not_called(self):
        self.assertNotIn(PLUGIN, self.agent.chained())
        self.assertTrue(any(PLUGIN in path.read_text() for path in chain.FILE.parent.iterdir() if path != chain.FILE))

    def test_missed(self):
        """Native, classic, and a Job's that may not be started again: each app starts once, captured, and an Event tells."""
        for name, annotations in (("native", {}), ("classic", CLASSIC)):
            with self.subTest(name):
                pod = self.api.create(self.agent.caller(name, annotations=annotations))
                self.assertEqual(containers(pod), [*(["fairlead-gate"] if name == "classic" else []), "fairlead-proxy", "app"])
                self.assertIsNone(self.agent.finishes(pod))
                eventually(lambda of=name: self.events_about(of, CAPTURED), "an Event tells")

    def test_missed_job(self):
        template = self.agent.caller("unused")["spec"]
        self.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": self.agent.space}, "spec": {
            "backoffLimit": 0, "template": {"spec": template}}})
        job = self.api.wait("batch/v1", "Job", "once", self.agent.space, lambda job: any(
            row["type"] in ("Complete", "Failed") and row["status"] == "True" for row in job["status"].get("conditions", ())))
        self.assertEqual(job["status"].get("succeeded"), 1)

    def test_missed_user_namespaced(self):
        self.assertIsNone(self.agent.finishes(self.api.create(self.agent.caller("own-users", hostUsers=False))))

    def test_missed_while_the_agent_was_away(self):
        """They wait as long as it takes; when the agent comes, they go on as they are."""
        self.agent.away()
        self.addCleanup(self.agent.back)
        names = {"waits": ({}, "fairlead-proxy"), "waits-classic": (CLASSIC, "fairlead-gate")}
        for name, (annotations, _) in names.items():
            self.api.create(self.agent.caller(name, annotations=annotations))
        for name, (_, first) in names.items():
            self.waits(name, first)
        self.agent.back()
        for name in names:
            self.assertIsNone(self.agent.finishes(self.api.get("v1", "Pod", name, self.agent.space)))

    def waits(self, pod, container="fairlead-proxy"):
        """It says so, and its app has not started."""
        eventually(lambda: "gate waits" in self.files(pod, container), f"{container} of {pod} says that it waits")
        self.assertEqual(self.files(pod, "app"), "", "the app has started")

    def files(self, pod, container):
        """Its log on the node's disk: the API has none of a container whose hook runs."""
        return "".join(path.read_text() for path in (place.NODE / "var" / "log" / "pods").glob(f"{self.agent.space}_{pod}_*/{container}/*.log"))

    # -- taken away ---------------------------------------------------------------------------------------------------

    def test_flushed(self):
        """All rules gone, or one chain emptied, in a running pod: it is captured again, and an Event tells."""
        for what in (("flush", "ruleset"), ("flush", "chain", "inet", "fairlead", "output")):
            with self.subTest(what):
                before = self.agent.metric("fairlead_cni_repairs_total", kind="restored")
                whole = self.rules("web")
                self.agent.in_pod("web", "nft", *what)
                eventually(lambda since=before: self.agent.metric("fairlead_cni_repairs_total", kind="restored") > since, "the agent saw it")
                eventually(lambda rules=whole: self.rules("web") == rules, "the rules are as they were")
                self.assertIsNone(self.agent.finishes(self.api.create(self.agent.caller(self.unique("after")))))
        eventually(lambda: self.events_about("web", RESTORED), "an Event tells")

    def rules(self, pod):
        return self.agent.captured(pod)

    # -- whom it leaves alone -----------------------------------------------------------------------------------------

    def test_host_network(self):
        """A pod in the node's own network that has the annotation, and a process in it that says it is a sidecar: nothing is programmed."""
        known = self.api.get("v1", "Pod", "web", self.agent.space)
        sidecar = next(one for key in ("initContainers", "containers") for one in known["spec"][key] if one["name"] == "fairlead-proxy")
        spec = known["metadata"]["annotations"]["fairlead.io/capture"]
        environment = [{"name": "FAIRLEAD_CAPTURE", "value": spec}, {"name": "POD_NAME", "value": "imitator"}, {"name": "POD_UID", "value": "x"},
                       {"name": "POD_NAMESPACE", "value": "kube-system"}, {"name": "POD_IPS", "value": place.NODE_IP}]
        imitator = {"name": "fairlead-proxy", "image": sidecar["image"], "env": environment, "securityContext": sidecar["securityContext"],
                    "command": ["/fairlead-proxy", "wait", "--seconds", "600"]}
        refused = self.agent.metric("fairlead_cni_repairs_total", kind="refused")
        pod = a_pod("imitator", "kube-system", annotations={"fairlead.io/capture": spec}, hostNetwork=True, containers=[imitator])
        self.addCleanup(self.api.delete, "v1", "Pod", "imitator", "kube-system", now=True)
        self.api.create(pod)
        eventually(lambda: self.agent.metric("fairlead_cni_repairs_total", kind="refused") > refused, "the agent has seen it")
        self.assertNotIn("fairlead", on_node("nft", "list", "tables"))

    # -- what it may do, and why --------------------------------------------------------------------------------------

    def test_capabilities(self):
        """Without any one of them a pod that was missed waits, and the agent says what it lacks; with all of them it goes on."""
        for gone in CAPABILITIES:
            with self.subTest(gone):
                name = f"needs-{gone.lower().replace('_', '-')}"
                self.may(*(one for one in CAPABILITIES if one != gone))
                try:
                    pod = self.api.create(self.agent.caller(name))
                    eventually(lambda lacks=gone: self.says(f"CAP_{lacks}"), "the agent says what it lacks")
                    self.waits(name)
                finally:
                    self.may(*CAPABILITIES)
                self.assertIsNone(self.agent.finishes(pod))

    def test_capabilities_are_what_the_kernel_asks_for(self):
        """Each thing that repair does needs its own, by the kernel's word and not by the agent's."""
        self.api.create(a_pod("own-users-too", self.agent.space, hostUsers=False))
        self.api.wait("v1", "Pod", "own-users-too", self.agent.space, is_ready)
        pid, another = (process_of(self.api.get("v1", "Pod", name, self.agent.space), "fairlead-proxy") for name in ("web", "own-users-too"))
        enter = ("nsenter", f"--net=/proc/{pid}/ns/net", "--")
        # (Newer kernels let SYS_ADMIN read an environment, too; not which namespaces a process is in.)
        deeds = {"SYS_PTRACE": ("readlink", f"/proc/{pid}/ns/net"), "DAC_READ_SEARCH": ("cat", f"/proc/{another}/environ"),
                 "SYS_ADMIN": (*enter, "true"), "NET_ADMIN": (*enter, "nft", "list", "ruleset")}
        for needed, deed in deeds.items():
            with self.subTest(needed):
                self.assertEqual(self.goes(deed, CAPABILITIES), True)
                self.assertEqual(self.goes(deed, [one for one in CAPABILITIES if one != needed]), False)

    @staticmethod
    def goes(deed, capabilities):
        """Whether root does it on the node with these alone."""
        words = ",".join(["-all", *(f"+{one.lower()}" for one in capabilities)])
        return "done it" in on_node("setpriv", "--bounding-set", words, "--", "sh", "-c", '"$@" >/dev/null && echo done it', "sh", *deed, check=False)

    def may(self, *capabilities):
        self.api.patch("apps/v1", "DaemonSet", NAME, [{
            "op": "replace", "path": "/spec/template/spec/containers/0/securityContext/capabilities/add", "value": list(capabilities)}], HOME)
        self.agent.wait_settled()

    def says(self, text):
        return [line for line in self.agent.logs() if text in line.get("reason", "")]


if __name__ == "__main__":
    main()
