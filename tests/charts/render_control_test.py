#!/usr/bin/env python3
"""The control plane and the deployer as Helm renders them, without a cluster: options, ports, names of revisions, rights, modes."""
import json
import re
import sys
import unittest

import yaml
from render_test import ROOT, SKIPPED, SYSTEM, find_helm, helm, pod_of, render, webhook_config

CONTROL, DEPLOYER = "fairlead-control", "fairlead-deployer"
NAME = f"{CONTROL}.{SYSTEM}.svc"
READ = ["get", "list", "watch"]


def container(things, name=CONTROL):
    return things["Deployment", name]["spec"]["template"]["spec"]["containers"][0]


def options(things, name=CONTROL):
    """{"--listen": ["0.0.0.0:15012"]}"""
    found = {}
    for word in container(things, name)["args"]:
        key, _, value = word.partition("=")
        found.setdefault(key, []).append(value)
    return found


def parts(things, *components):
    return {(kind, name) for (kind, name), thing in things.items()
            if thing["metadata"]["labels"]["app.kubernetes.io/component"] in components}


def selects(selector, labels):
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(row["key"]) in row["values"] for row in selector.get("matchExpressions", ()))


class Control(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plain = render()
        cls.canary = render({"revision": "canary"})

    def test_lint(self):
        for values in ({"control": {"mode": "none"}}, {"revision": "canary"}, {"gatewayClass": {"create": True}}):
            with self.subTest(values):
                done = helm("lint", "--strict", ROOT / "charts" / "fairlead", values=values)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_options(self):
        self.assertEqual(options(self.plain), {
            "--source": ["kubernetes"], "--namespace": [SYSTEM], "--revision": ["default"], "--listen": ["0.0.0.0:15012"],
            "--http": ["0.0.0.0:15014"], "--server-name": [NAME, f"{NAME}.cluster.local"], "--ca-secret": ["fairlead-ca"],
            "--cacerts-secret": ["cacerts"], "--bundle-configmap": ["fairlead-root"], "--lease": [CONTROL],
            "--log-level": ["info"], "--log-format": ["json"]})
        told = options(render({"config": {"trustDomain": "example.org", "tokenAudience": "istio-ca"},
                               "control": {"serverNames": ["mesh.example"], "extraArgs": ["--proxy-budget=64"]}}))
        self.assertEqual((told["--trust-domain"], told["--token-audience"], told["--server-name"][-1], told["--proxy-budget"]),
                         (["example.org"], ["istio-ca"], "mesh.example", ["64"]))
        self.assertEqual(options(self.plain, DEPLOYER), {
            "deployer": [""], "--namespace": [SYSTEM], "--lease": [DEPLOYER], "--control-address": [f"{NAME}:15012"],
            "--control-name": [NAME], "--proxy-image": [webhook_config(self.plain)["proxyImage"]],
            "--log-level": ["info"], "--log-format": ["json"]})

    def test_what_sidecars_are_told(self):
        """The Service that is there, by its name; what the operator says wins; "none" where nothing is there."""
        self.assertEqual(webhook_config(self.plain)["control"], {"address": f"{NAME}:15012", "name": NAME})
        own = {"address": "10.0.0.1:15012"}
        self.assertEqual(webhook_config(render({"config": {"control": own}}))["control"], own)
        self.assertEqual(webhook_config(render({"control": {"mode": "none"}}))["control"], {"address": "none"})
        canary = webhook_config(self.canary, "fairlead-webhook-canary")["control"]
        self.assertEqual(canary["name"], f"{CONTROL}-canary.{SYSTEM}.svc")
        self.assertIn(canary["name"], options(self.canary, f"{CONTROL}-canary")["--server-name"])

    def test_the_service_is_reached(self):
        for things, suffix in ((self.plain, ""), (self.canary, "-canary"), (render({"control": {"port": 443, "httpPort": 10250}}), "")):
            service, deployment = things["Service", CONTROL + suffix]["spec"], things["Deployment", CONTROL + suffix]["spec"]
            ports = {row["name"]: row["containerPort"] for row in container(things, CONTROL + suffix)["ports"]}
            self.assertEqual({row["targetPort"]: row["port"] for row in service["ports"]}, ports)
            labels = deployment["template"]["metadata"]["labels"]
            told = options(things, CONTROL + suffix)
            self.assertEqual((told["--listen"], told["--http"]),
                             ([f"0.0.0.0:{ports['grpc-xds']}"], [f"0.0.0.0:{ports['http-monitoring']}"]))
            self.assertEqual(deployment["replicas"], 2)
            for selector in (service["selector"], deployment["selector"]["matchLabels"],
                             things["PodDisruptionBudget", CONTROL + suffix]["spec"]["selector"]["matchLabels"]):
                self.assertLessEqual(selector.items(), labels.items())

    def test_keys_are_kept_in_memory(self):
        spec = self.plain["Deployment", CONTROL]["spec"]["template"]["spec"]
        self.assertEqual([volume["emptyDir"]["medium"] for volume in spec["volumes"]], ["Memory"])
        self.assertNotIn("volumes", self.plain["Deployment", DEPLOYER]["spec"]["template"]["spec"])

    # -- one and several ----------------------------------------------------------------------------------------------

    def test_revisions(self):
        """A canary brings a control plane of its own, over the same root and Lease, and a deployer for its own Gateways."""
        self.assertEqual(parts(self.canary, "gateway"), set())
        deployer = options(self.canary, f"{DEPLOYER}-canary")
        self.assertEqual((deployer["--revision"], deployer["--lease"]), (["canary"], [f"{DEPLOYER}-canary"]))
        first, second = options(self.plain), options(self.canary, f"{CONTROL}-canary")
        for shared in ("--ca-secret", "--cacerts-secret", "--bundle-configmap", "--lease", "--namespace"):
            self.assertEqual(first[shared], second[shared])
        shared = [rule for rule in self.canary["Role", f"{CONTROL}-canary"]["rules"] if rule.get("resourceNames")]
        self.assertEqual([rule["resourceNames"] for rule in shared], [["fairlead-ca"], ["cacerts"], [CONTROL]])
        for things in (self.plain, self.canary):  # made by the program, so that no release takes them along
            self.assertEqual({name for kind, name in things if kind in ("Secret", "Lease")}, set())
            self.assertNotIn(("ConfigMap", "fairlead-root"), things)

    def test_none(self):
        """Onboarding alone: no part of a control plane, and no right of one."""
        things = render({"control": {"mode": "none"}})
        self.assertEqual(parts(things, "control", "deployer", "gateway"), set())

    def test_the_class(self):
        key = ("GatewayClass", "fairlead")
        served = ("--api-versions", "gateway.networking.k8s.io/v1/GatewayClass")
        for values, arguments, there in (({}, (), False), ({}, served, True), ({"gatewayClass": {"create": True}}, (), True),
                                         ({"gatewayClass": {"create": False}}, served, False), ({"revision": "canary"}, served, False),
                                         ({"deployer": {"enabled": False}}, served, False), ({"control": {"mode": "none"}}, served, False)):
            with self.subTest(values, served=bool(arguments)):
                things = render(values, arguments=arguments)
                self.assertEqual(key in things, there)
                if there:
                    self.assertEqual(things[key]["spec"]["controllerName"], "fairlead.io/gateway-controller")

    # -- rights -------------------------------------------------------------------------------------------------------

    def rules(self, things, name=CONTROL, kind="ClusterRole"):
        """{(group, resource, name): verbs}; a name of None is every one."""
        found = {}
        for rule in things[kind, name]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for each in rule.get("resourceNames", [None]):
                        self.assertNotIn((group, resource, each), found, "one row a right")
                        found[group, resource, each] = rule["verbs"]
        return found

    def test_what_control_may(self):
        rights = self.rules(self.plain)
        for (group, resource, name), verbs in rights.items():
            if resource.endswith("/status"):
                self.assertEqual((set(verbs), rights[group, resource.partition("/")[0], None]), ({"patch"}, READ))
            elif verbs != READ:
                self.assertIn((resource, name), {
                    ("tokenreviews", None), ("configmaps", "fairlead-root"), ("configmaps", None), ("secrets", None),
                    ("customresourcedefinitions", "gatewayclasses.gateway.networking.k8s.io"), ("signers", "fairlead.io/mesh"),
                    ("clustertrustbundles", "fairlead.io:mesh:root")})
        self.assertEqual((rights["", "secrets", None], rights["", "configmaps", None]), (["get"], ["get"]))
        self.assertNotIn(("", "nodes", None), rights)

    def test_certificates_of_some_namespaces(self):
        things = render({"control": {"certificates": {"namespaces": ["edge", "shop"]}}})
        rights = self.rules(things)
        self.assertNotIn(("", "secrets", None), rights)
        self.assertNotIn(("", "configmaps", None), rights)
        text = helm("template", "fairlead", ROOT / "charts" / "fairlead", values={"control": {"certificates": {"namespaces": ["edge"]}}}).stdout
        role = next(thing for thing in yaml.safe_load_all(text) if thing and thing["kind"] == "Role" and thing["metadata"]["namespace"] == "edge")
        self.assertEqual(role["rules"], [{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"]}])

    def test_the_deployer_reads_no_secret(self):
        for kind in ("ClusterRole", "Role"):
            self.assertNotIn("secrets", json.dumps(self.plain[kind, DEPLOYER]["rules"]))
        self.assertEqual({row["name"] for row in self.plain["ClusterRoleBinding", DEPLOYER]["subjects"]}, {DEPLOYER})

    def test_own_kinds_are_the_readers(self):
        """Every kind of fairlead.io that control/model knows, and no other."""
        text = "".join(path.read_text() for path in sorted((ROOT / "control" / "model").rglob("*.[ch]")))
        kinds = {kind for kind in ("AuthorizationPolicy", "MeshSettings", "PeerAuthentication", "RequestAuthentication", "Telemetry",
                                   "TrafficPolicy") if re.search(rf'"{kind}"', text)}
        plural = {re.sub("y$", "ie", kind.lower()).removesuffix("s") + "s" for kind in kinds}
        self.assertEqual({resource for group, resource, _ in self.rules(self.plain) if group == "fairlead.io" and "/" not in resource}, plural)

    # -- hooks --------------------------------------------------------------------------------------------------------

    def test_uninstalling_asks_first(self):
        """By the command `members` for this revision, with the right to list pods, and for as long as it takes."""
        for things, suffix in ((self.plain, ""), (self.canary, "-canary")):
            name = f"fairlead-uninstall{suffix}"
            job = things["Job", name]
            self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete")
            self.assertEqual((job["spec"]["backoffLimit"], pod_of(job)["restartPolicy"], pod_of(job)["serviceAccountName"]), (0, "Never", name))
            self.assertEqual(pod_of(job)["containers"][0]["args"],
                             ["members", "--expect-none", "--timeout=30s", f"--revision={suffix[1:] or 'default'}"])
            self.assertEqual(things["ClusterRole", name]["rules"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
            for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"):
                notes = things[kind, name]["metadata"]["annotations"]
                self.assertIn("hook-succeeded", notes["helm.sh/hook-delete-policy"])
                self.assertLess(int(notes.get("helm.sh/hook-weight", 0)), 0 if kind != "Job" else 1)
        self.assertEqual({key for key in render({"uninstall": {"check": False}}) if "uninstall" in key[1]}, set())

    def test_the_test_changes_nothing(self):
        self.assertEqual(self.plain["Pod", "fairlead-test"]["metadata"]["annotations"]["helm.sh/hook"], "test")
        for (_, resource, _), verbs in self.rules(self.plain, "fairlead-test").items():
            self.assertEqual(verbs, ["get", "list"])
            self.assertNotEqual(resource, "secrets")

    def test_nobody_is_called_but_the_api_server(self):
        things = render({"networkPolicy": {"enabled": True, "monitoringFrom": [{"podSelector": {}}]}})
        for (kind, name), thing in things.items():
            if kind == "NetworkPolicy":
                self.assertEqual(thing["spec"]["egress"], [{"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]}], name)
        first, second = things["NetworkPolicy", CONTROL]["spec"]["ingress"]
        self.assertEqual((first, second), ({"ports": [{"port": 15012, "protocol": "TCP"}]},
                                           {"ports": [{"port": 15014, "protocol": "TCP"}], "from": [{"podSelector": {}}]}))
        held = [thing["spec"]["podSelector"] for (kind, _), thing in things.items() if kind == "NetworkPolicy"]
        for (kind, name), thing in things.items():  # each pod of the release by exactly one
            if kind in ("Deployment", "Job", "Pod"):
                labels = (thing if kind == "Pod" else thing["spec"]["template"])["metadata"]["labels"]
                self.assertEqual(sum(selects(selector, labels) for selector in held), 1, name)

    # -- values -------------------------------------------------------------------------------------------------------

    def test_wrong_values_are_refused(self):
        for wrong in ({"control": {"mode": "half"}}, {"control": {"caSecret": ""}}, {"control": {"port": 0}}, {"control": {"address": "host"}},
                      {"control": {"certificates": {"namespaces": ["Edge"]}}}, {"deployer": {"enabled": "yes"}}, {"gatewayClass": {"name": "x"}},
                      {"control": {"serverNames": ["a b"]}}, {"deployer": {"image": {}}}, {"deployer": {"serviceType": "External"}}):
            with self.subTest(wrong):
                self.assertNotEqual(helm("template", "fairlead", ROOT / "charts" / "fairlead", values=wrong).returncode, 0)


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
