#!/usr/bin/env python3
"""The node agent as Helm renders it, without a cluster: where it lives, what it may, what it mounts, for every platform.

usage: render_cni_test.py [unittest options]; FAIRLEAD names the command-line program whose table of platforms the chart's is held to
"""
import json
import os
import pathlib
import subprocess
import sys
import unittest

import yaml
from render_test import CHART, ROOT, SCHEMA, SKIPPED, SYSTEM, find_helm, helm, render, webhook_config

AGENT, HOME = "fairlead-agent", "fairlead-cni"
CAPABILITIES = ["DAC_READ_SEARCH", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"]
PLATFORMS = ("kubeadm", "gke", "eks", "aks", "k3s", "microk8s", "minikube", "openshift", "talos")


def with_agent(**cni):
    return render({"cni": {"enabled": True, **cni}})


def parts(things):
    return {(kind, name) for kind, name in things if AGENT in name or name == HOME}


def pod_of(things):
    return things["DaemonSet", AGENT]["spec"]["template"]["spec"]


def options(things):
    """{"--listen": "0.0.0.0:15019", "--no-events": True}"""
    words = pod_of(things)["containers"][0]["args"]
    return {word.partition("=")[0]: word.partition("=")[2] if "=" in word else True for word in words}


class Agent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.platforms = {name: with_agent(platform=name) for name in PLATFORMS}
        cls.plain = cls.platforms["kubeadm"]

    def test_lint(self):
        for values in (*({"platform": name} for name in PLATFORMS), {"uninstall": True}, {"namespace": {"name": "kube-system"}}):
            with self.subTest(values):
                done = helm("lint", "--strict", CHART, values={"cni": {"enabled": True, **values}})
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotRegex(done.stdout, r"\[(WARNING|ERROR)\]")

    def test_off_unless_asked_for(self):
        self.assertEqual(parts(render()), set())
        self.assertEqual(parts(render({"podMonitor": {"enabled": True}})), set())

    def test_what_is_there(self):
        usual = {("Namespace", HOME), *((kind, AGENT) for kind in ("DaemonSet", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"))}
        for name, things in self.platforms.items():
            more = {"gke": {("ResourceQuota", AGENT)}, "openshift": {("SecurityContextConstraints", AGENT)}}.get(name, set())
            self.assertEqual(parts(things), usual | more, name)
        self.assertEqual(parts(with_agent(events=False)), usual - {("ClusterRole", AGENT), ("ClusterRoleBinding", AGENT)})
        monitored = render({"cni": {"enabled": True}, "podMonitor": {"enabled": True}})
        self.assertEqual(parts(monitored), usual | {("PodMonitor", AGENT)})
        self.assertEqual(monitored["PodMonitor", AGENT]["spec"]["podMetricsEndpoints"][0]["port"], "metrics")

    def test_one_for_all_revisions(self):
        """A second release that wants it collides, and Helm refuses that; two agents of one node would be one too many."""
        other = render({"revision": "canary", "cni": {"enabled": True}}, "fairlead-canary")
        self.assertEqual(parts(other), parts(self.plain))

    # -- where it lives -----------------------------------------------------------------------------------------------

    def test_its_namespace(self):
        labels = self.plain["Namespace", HOME]["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            self.assertEqual(labels[f"pod-security.kubernetes.io/{mode}"], "privileged")
        for things, home in ((self.plain, HOME), (with_agent(namespace={"name": ""}), SYSTEM), (with_agent(namespace={"name": "kube-system"}), "kube-system")):
            for kind in ("DaemonSet", "ServiceAccount"):
                self.assertEqual(things[kind, AGENT]["metadata"]["namespace"], home)
            subject, = things["ClusterRoleBinding", AGENT]["subjects"]
            self.assertEqual((subject["name"], subject["namespace"]), (AGENT, home))
            ignored = webhook_config(things)["ignoredNamespaces"]
            self.assertEqual(len(ignored), len(set(ignored)))
            for entry in things["MutatingWebhookConfiguration", "fairlead-webhook"]["webhooks"]:
                self.assertIn(home, entry["namespaceSelector"]["matchExpressions"][0]["values"])
            self.assertIn(home, [*ignored, SYSTEM])

    def test_a_namespace_that_is_somebody_elses_is_not_made(self):
        for values in ({"name": ""}, {"name": SYSTEM}, {"name": "kube-system"}, {"name": "mine", "create": False}):
            self.assertFalse([kind for kind, _ in with_agent(namespace=values) if kind == "Namespace"], values)

    def test_quota(self):
        """GKE admits the priority class outside of kube-system only by a quota."""
        quota = self.platforms["gke"]["ResourceQuota", AGENT]
        self.assertEqual(quota["metadata"]["namespace"], HOME)
        self.assertEqual(quota["spec"]["scopeSelector"]["matchExpressions"], [
            {"operator": "In", "scopeName": "PriorityClass", "values": ["system-node-critical"]}])
        self.assertNotIn(("ResourceQuota", AGENT), with_agent(platform="gke", namespace={"name": "kube-system"}))
        self.assertNotIn(("ResourceQuota", AGENT), with_agent(platform="gke", priorityClassName=""))
        self.assertIn(("ResourceQuota", AGENT), with_agent(resourceQuota={"enabled": True}))

    # -- what it may --------------------------------------------------------------------------------------------------

    def test_rights(self):
        """To create Events, and nothing else; a token only for that."""
        self.assertEqual(self.plain["ClusterRole", AGENT]["rules"], [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}])
        for things, token in ((self.plain, True), (with_agent(events=False), False)):
            self.assertIs(things["ServiceAccount", AGENT]["automountServiceAccountToken"], False)
            self.assertIs(pod_of(things)["automountServiceAccountToken"], token)
            self.assertIs(options(things).get("--no-events", False), not token)

    def test_security(self):
        for things in self.platforms.values():
            pod = pod_of(things)
            self.assertEqual((pod["hostNetwork"], pod["hostPID"], pod.get("hostIPC", False)), (True, True, False))
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(pod["securityContext"]["runAsUser"], 0)
            container, = pod["containers"]
            self.assertEqual(container["securityContext"], {
                "privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": CAPABILITIES}})
            for kind in ("requests", "limits"):
                self.assertIn("memory", container["resources"][kind])

    def test_iptables_opens_raw_sockets(self):
        for platform in ("kubeadm", "openshift"):
            things = with_agent(platform=platform, backend="iptables")
            allowed = pod_of(things)["containers"][0]["securityContext"]["capabilities"]["add"]
            self.assertEqual(allowed, sorted([*CAPABILITIES, "NET_RAW"]))
            self.assertEqual(things.get(("SecurityContextConstraints", AGENT), {}).get("allowedCapabilities", allowed), allowed)

    def test_security_modules(self):
        self.assertEqual(pod_of(self.plain)["securityContext"]["appArmorProfile"], {"type": "Unconfined"})
        self.assertNotIn("appArmorProfile", pod_of(with_agent(appArmorProfile=None))["securityContext"])
        self.assertNotIn("seLinuxOptions", pod_of(self.plain)["securityContext"])
        self.assertEqual(pod_of(self.platforms["openshift"])["securityContext"]["seLinuxOptions"], {"type": "spc_t"})
        own = with_agent(platform="openshift", seLinuxOptions={"type": "agent_t"})
        self.assertEqual(pod_of(own)["securityContext"]["seLinuxOptions"], {"type": "agent_t"})

    def test_openshift(self):
        """Its constraints let in what the DaemonSet asks for, and no more."""
        things = self.platforms["openshift"]
        rules = things["SecurityContextConstraints", AGENT]
        self.assertEqual(rules["users"], [f"system:serviceaccount:{HOME}:{AGENT}"])
        self.assertEqual(rules["allowedCapabilities"], pod_of(things)["containers"][0]["securityContext"]["capabilities"]["add"])
        self.assertIs(rules["allowPrivilegedContainer"], False)
        self.assertEqual({kind for volume in pod_of(things)["volumes"] for kind in volume if kind != "name"} | {"projected"}, set(rules["volumes"]))

    # -- where it runs ------------------------------------------------------------------------------------------------

    def test_every_node(self):
        pod = pod_of(self.plain)
        self.assertEqual(pod["priorityClassName"], "system-node-critical")
        self.assertEqual(pod["tolerations"], [{"operator": "Exists"}])
        self.assertEqual(pod["nodeSelector"], {"kubernetes.io/os": "linux"})
        spec = self.plain["DaemonSet", AGENT]["spec"]
        self.assertEqual(spec["updateStrategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}})
        self.assertLessEqual(spec["selector"]["matchLabels"].items(), spec["template"]["metadata"]["labels"].items())

    def test_paths(self):
        """The node's two folders, at their own paths, and nothing else of its disk; not made where they are missing."""
        for name, things in self.platforms.items():
            given, pod = options(things), pod_of(things)
            self.assertEqual(given["--platform"], name)
            folders = {given["--conf-dir"], given["--bin-dir"]}
            self.assertEqual({mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}, folders)
            self.assertEqual([volume["hostPath"]["type"] for volume in pod["volumes"]], ["Directory", "Directory"])
            paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
            self.assertEqual({mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}, paths)
        own = options(with_agent(platform="k3s", confDir="/a/b", binDir="/c", mode="standalone", conflist="05-x.conflist", backend="iptables"))
        self.assertEqual([own[f"--{key}"] for key in ("conf-dir", "bin-dir", "mode", "conflist", "backend")],
                         ["/a/b", "/c", "standalone", "05-x.conflist", "iptables"])

    def test_platforms_are_the_programs(self):
        """The chart's table and the one in cni/install/platform.c."""
        program = os.environ.get("FAIRLEAD", str(pathlib.Path(ROOT) / "build" / "dev" / "bin" / "fairlead"))
        told = subprocess.run([program, "cni", "platforms", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if told.returncode != 0:
            self.skipTest("this fairlead knows no `cni platforms`")
        rows = {row["name"]: row for row in json.loads(told.stdout)["platforms"]}
        self.assertEqual(set(rows), set(PLATFORMS))
        for name, things in self.platforms.items():
            given = options(things)
            self.assertEqual((given["--conf-dir"], given["--bin-dir"], given["--mode"]),
                             (rows[name]["confDir"], rows[name]["binDir"], rows[name]["mode"]), name)
        self.assertEqual(set(json.loads(SCHEMA.read_text())["properties"]["cni"]["properties"]["platform"]["enum"]), set(rows))

    def test_probes(self):
        """By the node's address, or by the one that it listens on."""
        for address, host in (("0.0.0.0", None), ("[::]", None), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            things = with_agent(address=address, port=9000)
            container = pod_of(things)["containers"][0]
            self.assertEqual(options(things)["--listen"], f"{address}:9000")
            self.assertEqual(container["ports"], [{"name": "metrics", "containerPort": 9000, "protocol": "TCP"}])
            for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
                self.assertEqual(container[probe]["httpGet"], {"port": "metrics", "path": path, **({"host": host} if host else {})})

    # -- uninstalling -------------------------------------------------------------------------------------------------

    def test_uninstall(self):
        """The same DaemonSet with two words more: so an upgrade exchanges the agents, and Ready means done."""
        there, gone = self.plain["DaemonSet", AGENT], with_agent(uninstall=True)["DaemonSet", AGENT]
        words = gone["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertEqual(words[:2], ["--uninstall", "--stay"])
        gone["spec"]["template"]["spec"]["containers"][0]["args"] = words[2:]
        self.assertEqual(there, gone)

    def test_wrong_values_are_refused(self):
        for wrong in ({"platform": "eks2"}, {"mode": "chain"}, {"confDir": "etc/cni"}, {"backend": "nft"}, {"port": 0}, {"enable": True},
                      {"conflist": "../x.conflist"}, {"namespace": {"name": "A"}}, {"address": "localhost"}, {"conflist": "x.txt"}):
            with self.subTest(wrong):
                self.assertNotEqual(helm("template", "fairlead", CHART, values={"cni": {"enabled": True, **wrong}}).returncode, 0)

    def test_image(self):
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        self.assertEqual(pod_of(self.plain)["containers"][0]["image"], f"fairlead/fairlead-agent:{version}")


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
