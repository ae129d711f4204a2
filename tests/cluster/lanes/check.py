#!/usr/bin/env python3
"""fairlead check on a real API server: what the charts make is understood as the API server hands it out, what is broken is found under
its number and with its hint, rights are told truly, and asking changes nothing. (Replicas and agents that are not ready, and what only
those tell that run: the lane needs no node; tests/integration/cli_check_test.py breaks more.)"""
import base64
import datetime
import json
import os
import re
import subprocess

from support import chart, place
from support.audit import Audit
from support.certificate import openssl
from support.lane import Lane, a_pod, main

NEEDS = "api"

SYSTEM = "fairlead-system"
ADMISSION, CRD = "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1"
CONFIGURATION = (ADMISSION, "MutatingWebhookConfiguration", "fairlead-webhook")
SKIPPED = ("Job",)  # hooks of Helm's
GROUPS = ("gateway.networking.k8s.io", "monitoring.coreos.com", "cert-manager.io")  # kinds that this cluster does not have


def a_root(folder):
    """Of ten years, PEM."""
    openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "3650", "-subj", "/CN=root",
            "-keyout", folder / "root.key", "-out", folder / "root.crt")
    return (folder / "root.crt").read_text()


class Check(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = a_root(cls.folder())
        cls.addClassCleanup(cls.api.wait_gone, "v1", "Namespace", SYSTEM)
        cls.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        for thing in chart.render(chart="fairlead-crds") + chart.render({"policies.enabled": False}):
            if thing["kind"] in SKIPPED or thing["apiVersion"].startswith(GROUPS) or "helm.sh/hook" in thing["metadata"].get("annotations", {}):
                continue
            cls.create(thing)
        bundle = base64.b64encode(cls.root.encode()).decode()
        hooks = cls.api.get(*CONFIGURATION)["webhooks"]
        for hook in hooks:
            hook["clientConfig"]["caBundle"] = bundle
            hook["failurePolicy"] = "Ignore"  # the webhook does not run: pods are made without it
        cls.api.patch(*CONFIGURATION, {"webhooks": hooks})
        cls.shop = cls.namespace("shop", labels={"fairlead.io/inject": "enabled"})
        for space in (SYSTEM, cls.shop):
            cls.create(cls.bundle(space, cls.root))
        for name in ("one", "two"):
            cls.node(name)

    @staticmethod
    def bundle(space, pem):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fairlead-root", "namespace": space, "labels": {"fairlead.io/bundle": "true"}},
                "data": {"root-cert.pem": pem}}

    @classmethod
    def node(cls, name):
        """A node without a kubelet, as its Lease and its condition have it."""
        cls.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}})
        now = datetime.datetime.now(datetime.timezone.utc)
        cls.api.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "x", "message": "x", "lastHeartbeatTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}]}},
            "application/strategic-merge-patch+json")
        cls.create(cls.beat(name, now))

    @staticmethod
    def beat(name, when):
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}

    def check(self, *argv, kubeconfig=None):
        done = subprocess.run([place.PROGRAMS / "fairlead", "check", "-o", "json", "--kubectl", place.BIN / "kubectl", *argv], capture_output=True,
                              text=True, timeout=120, check=False, env={**os.environ, "KUBECONFIG": str(kubeconfig or place.KUBECONFIG)})
        self.assertTrue(done.stdout, done.stderr)
        return {one["number"]: one for one in json.loads(done.stdout)["checks"]}

    def finds(self, number, state, text, hint, *argv):
        found = self.check(*argv)[number]
        match = [one for one in found["findings"] if re.search(text, one["text"])]
        self.assertTrue(match, found)
        self.assertEqual(match[0]["state"], state, found)
        self.assertIn(hint, match[0].get("hint", ""))

    def test_what_the_charts_make_is_understood(self):
        checks = self.check()
        for number in (101, 102, 201, 301, 302):
            self.assertEqual(checks[number]["findings"], [], checks[number])
        self.assertRegex(checks[201]["fact"], r"^(\d+) of \1$")
        for number, name in ((202, "webhook"), (203, "keeper"), (204, "control"), (205, "deployer")):
            self.assertIn(f"no replica of Deployment {SYSTEM}/fairlead-{name} is ready", checks[number]["findings"][0]["text"])
        self.assertEqual({one["state"] for one in checks[207]["findings"]}, {"warning"})  # of failurePolicy alone: caBundle and Service are good
        self.assertEqual(checks[209]["findings"], [])

    def test_a_crd_less(self):
        crd = self.api.get(CRD, "CustomResourceDefinition", "telemetries.fairlead.io")
        self.api.delete(CRD, "CustomResourceDefinition", "telemetries.fairlead.io")
        self.api.wait_gone(CRD, "CustomResourceDefinition", "telemetries.fairlead.io")
        self.finds(201, "failed", "CRD of Telemetry", "fairlead-crds")
        self.api.create({"apiVersion": CRD, "kind": "CustomResourceDefinition", "spec": crd["spec"],
                         "metadata": {key: value for key, value in crd["metadata"].items() if key in ("name", "labels", "annotations")}})

    def broken_bundle(self, value, text):
        before = self.api.get(*CONFIGURATION)["webhooks"]
        after = json.loads(json.dumps(before))
        after[0]["clientConfig"]["caBundle"] = value
        self.addCleanup(self.api.patch, *CONFIGURATION, {"webhooks": before})
        self.api.patch(*CONFIGURATION, {"webhooks": after})
        self.finds(207, "failed", text, "keeper")

    def test_a_bundle_less(self):
        self.broken_bundle(None, "has no caBundle")

    def test_a_service_less(self):
        service = self.api.get("v1", "Service", "fairlead-webhook", SYSTEM)
        self.api.delete("v1", "Service", "fairlead-webhook", SYSTEM)
        self.finds(207, "failed", "fairlead-webhook, which is not there", "helm upgrade")
        self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fairlead-webhook", "namespace": SYSTEM, "labels": service["metadata"]["labels"]},
                         "spec": {"selector": service["spec"]["selector"], "ports": [{"name": "https", "port": 443, "targetPort": "https"}]}})

    def test_no_agent_on_a_node(self):
        self.finds(206, "warning", "no node agent", "cni.enabled=true")
        labels = {"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/part-of": "fairlead", "app.kubernetes.io/component": "agent",
                  "app.kubernetes.io/version": "0.1.0"}
        space = self.namespace("agents")
        self.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "fairlead-agent", "namespace": space, "labels": labels},
                     "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                         "nodeSelector": {"nobody": "here"}, "containers": [{"name": "a", "image": "x"}]}}}})
        self.finds(206, "failed", "node one has no agent", "taint")

    def test_bundles(self):
        space = self.namespace("bare", labels={"fairlead.io/inject": "enabled"})
        self.finds(302, "failed", f"namespace {space} has no ConfigMap", "204")
        self.create(self.bundle(space, a_root(self.folder())))
        self.finds(302, "failed", f"{space}/fairlead-root is another bundle", "204")
        self.assertEqual(self.check("-n", self.shop)[302]["state"], "ok")

    def test_clocks(self):
        late = self.beat("two", datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=300))
        self.api.patch("coordination.k8s.io/v1", "Lease", "two", {"spec": late["spec"]}, "kube-node-lease")
        self.addCleanup(lambda: self.api.patch("coordination.k8s.io/v1", "Lease", "two", {
            "spec": self.beat("two", datetime.datetime.now(datetime.timezone.utc))["spec"]}, "kube-node-lease"))
        self.finds(305, "failed", r"node two is \d+ s ahead", "synchronisation")

    def test_pods_outside(self):
        self.create(a_pod("early", self.shop, schedulerName="nobody"))
        self.create(a_pod("loud", self.shop, annotations={"fairlead.io/log-level": "loud"}, schedulerName="nobody"))
        self.create(a_pod("out", self.shop, labels={"fairlead.io/inject": "disabled"}, schedulerName="nobody"))
        self.finds(401, "failed", f"{self.shop}/early has no sidecar, though", "rollout restart", "-n", self.shop)
        self.finds(401, "warning", f"{self.shop}/loud has no sidecar, and would be refused", "explain", "-n", self.shop)
        self.assertNotIn(f"{self.shop}/out ", json.dumps(self.check("-n", self.shop)[401]["findings"]))

    def test_network_policies(self):
        pod = json.loads(subprocess.run([place.PROGRAMS / "fairlead", "inject", "-q", "-o", "json", "-"], capture_output=True, text=True, check=True,
                                        timeout=60, input=json.dumps(a_pod("in", self.shop, schedulerName="nobody"))).stdout)
        self.create(pod)
        self.create({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "shut", "namespace": self.shop},
                     "spec": {"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}})
        self.finds(501, "warning", rf"{self.shop}/shut: nothing lets anybody reach pod {self.shop}/in at port 15020", "15020", "-n", self.shop)

    def test_a_person_of_few_rights(self):
        """Skipped where he may not look, and --pre says what he may not make."""
        space = self.namespace("people")
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ann", "namespace": space}})
        kubeconfig = self.api.kubeconfig(self.folder() / "ann", "ann", space)
        checks = self.check(kubeconfig=kubeconfig)
        for number in (201, 202, 206, 207, 302, 401, 501):
            self.assertEqual(checks[number]["state"], "skipped", checks[number])
            self.assertIn("forbidden", checks[number]["findings"][0]["text"])
        self.assertEqual(checks[101]["state"], "ok")
        rights = self.check("--pre", kubeconfig=kubeconfig)[103]
        self.assertEqual(rights["state"], "failed")
        self.assertIn("you may not create clusterroles.rbac.authorization.k8s.io", [one["text"] for one in rights["findings"]])
        self.assertEqual(self.check("--pre")[103]["state"], "ok")

    def test_a_person_with_a_plugin(self):
        """A kubeconfig as EKS, GKE and AKS give them: the certificate comes from a program, by the path that it was given."""
        folder = self.folder()
        answer = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {
            "clientCertificateData": (place.PKI / "admin.crt").read_text(), "clientKeyData": (place.PKI / "admin.key").read_text()}}
        (folder / "answer.json").write_text(json.dumps(answer))
        (folder / "plugin").write_text('#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" >"$1/told"\nexec cat "$1/answer.json"\n')
        (folder / "plugin").chmod(0o700)
        kubeconfig = folder / "kubeconfig"
        config = json.loads(place.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json", "--kubeconfig", place.KUBECONFIG))
        config["users"][0]["user"] = {"exec": {"apiVersion": answer["apiVersion"], "command": "./plugin", "args": [str(folder)],
                                               "interactiveMode": "Never", "provideClusterInfo": True}}
        kubeconfig.write_text(json.dumps(config))
        mine, known = self.check(kubeconfig=kubeconfig), self.check()
        self.assertEqual({number: one["state"] for number, one in mine.items()}, {number: one["state"] for number, one in known.items()})
        self.assertEqual(mine[101]["state"], "ok")
        ours = json.loads((folder / "told").read_text())
        place.kubectl("get", "namespaces", "--kubeconfig", kubeconfig)
        theirs = json.loads((folder / "told").read_text())
        self.assertEqual(ours, theirs)  # as kubectl tells it

    def test_asking_changes_nothing(self):
        audit = Audit()
        self.check()
        self.api.create(a_pod("mark", self.shop), dry_run=True)
        audit.wait(verb="create", resource="pods", name="mark", namespace=self.shop)
        written = [event for event in audit.events() if event.get("userAgent", "").startswith(("fairlead/", "kubectl/"))]
        self.assertEqual(written, [])


if __name__ == "__main__":
    main()
