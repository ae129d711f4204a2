#!/usr/bin/env python3
"""fairlead check over a cluster in memory: one where all is well, and one thing broken at a time, each found with its hint.

usage: cli_check_test.py FAIRLEAD
"""
import base64
import json
import re
import subprocess
import sys
import unittest

from cli_cluster import MESH, Authority, app_pod, certificate, control_pages, good as well, proxy, stamp, thing

FAIRLEAD = None
AUTHORITY = Authority()
ROOT, OTHER, ENDED = AUTHORITY.pem, certificate("other"), certificate("ended", -3)
NAME = f"fairlead-webhook.{MESH}.svc"
LEAVES = {"good": AUTHORITY.leaf(NAME), "another name": AUTHORITY.leaf("other.svc"), "another root": Authority("other").leaf(NAME)}


def good(root):
    cluster = well(root)
    serve(cluster, "good")
    return cluster


def serve(cluster, leaf):
    cluster.pages[MESH, "fairlead-webhook-3", 8443, "tls"] = (0, LEAVES[leaf])


def policy(name, space, spec):
    return thing("NetworkPolicy", name, space, "networking.k8s.io/v1", spec=spec)


def hooks(cluster):
    return cluster.get("mutatingwebhookconfigurations", "fairlead-webhook")["webhooks"]


def status(cluster, name="web-1", **members):
    cluster.get("pods", name, "shop")["status"]["initContainerStatuses"][0].update(members)


def replicas(component, ready):
    return lambda cluster: cluster.get("deployments", f"fairlead-{component}")["status"].update(readyReplicas=ready)


def why_not_ready(cluster):
    replicas("control", 0)(cluster)
    cluster.get("pods", "fairlead-control-1")["status"]["containerStatuses"] = [
        {"name": "control", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]


def take(resource, name, space=None):
    return lambda cluster: cluster.remove(resource, name, space)


LIVE = (303, 304, 404)

# what is broken → (number, state, what is said, what mends it)
BROKEN = {
    "an old Kubernetes": (lambda c: c.version.update(minor="29", gitVersion="v1.29.0"), 102, "failed", r"Kubernetes 1\.29", "upgrade"),
    "no Gateway API": (lambda c: c.lists.update(customresourcedefinitions=c.lists["customresourcedefinitions"][:6]), 104, "warning",
                       "no routes", "Gateway API v1.6"),
    "an old Gateway API": (lambda c: [crd["metadata"].update(annotations={"gateway.networking.k8s.io/bundle-version": "v1.1.0"})
                                      for crd in c.lists["customresourcedefinitions"][6:]], 104, "failed", r"v1\.1\.0 is too old", "v1.6"),
    "a bundle that is mixed": (lambda c: c.lists["customresourcedefinitions"][8]["metadata"].update(
        annotations={"gateway.networking.k8s.io/bundle-version": "v1.5.0"}), 104, "warning", r"httproutes\S+ is of bundle \"v1\.5\.0\"", "v1.6"),
    "a CRD less": (take("customresourcedefinitions", "telemetrys.fairlead.io"), 201, "failed", "CRD of Telemetry", "fairlead-crds"),
    "another version of a CRD": (lambda c: c.lists["customresourcedefinitions"][0]["spec"].update(versions=[{"name": "v2", "served": True}]),
                                 201, "failed", "not served in version v1alpha1", "fairlead-crds"),
    "no webhook": (take("deployments", "fairlead-webhook"), 202, "failed", "no Deployment of the webhook", "helm install"),
    "no replica of the webhook": (replicas("webhook", 0), 202, "failed", "no replica of Deployment fairlead-system/fairlead-webhook", "describe pods"),
    "half of the webhook": (replicas("webhook", 1), 202, "warning", "1 of 2 replicas", "describe pods"),
    "no keeper": (lambda c: (c.remove("deployments", "fairlead-keeper"), [hook["clientConfig"].pop("caBundle") for hook in hooks(c)]), 203,
                  "failed", "no keeper", "helm install"),
    "no image of control": (why_not_ready, 204, "failed", "ImagePullBackOff no such image", "logs deployment/fairlead-control"),
    "no agent on a node": (take("pods", "fairlead-agent-9"), 206, "failed", "node two has no agent", "taint"),
    "an agent that is not ready": (lambda c: c.get("pods", "fairlead-agent-8")["status"].update(conditions=[]), 206, "failed",
                                   "agent on node one, pod fairlead-cni/fairlead-agent-8, is not ready", "docs/cni.md"),
    "no agents at all": (lambda c: c.lists.update(daemonsets=[]), 206, "warning", "no node agent", "cni.enabled=true"),
    "no webhook configuration": (lambda c: c.lists.update(mutatingwebhookconfigurations=[]), 207, "failed", "no pod joins", "helm install"),
    "no caBundle": (lambda c: hooks(c)[1]["clientConfig"].pop("caBundle"), 207, "failed", "pod.inject.fairlead.io has no caBundle", "keeper"),
    "a caBundle of garbage": (lambda c: hooks(c)[0]["clientConfig"].update(caBundle="AAAA"), 207, "failed", "cannot be read", "keeper"),
    "a caBundle that ended": (lambda c: hooks(c)[0]["clientConfig"].update(caBundle=base64.b64encode(ENDED.encode()).decode()), 207, "failed",
                              "has expired", "keeper"),
    "no Service": (take("services", "fairlead-webhook"), 207, "failed", "which is not there", "helm upgrade"),
    "failurePolicy": (lambda c: hooks(c)[0].update(failurePolicy="Ignore"), 207, "warning", "Ignore", "Fail"),
    "GatewayClass not accepted": (lambda c: c.lists["gatewayclasses"][0].update(status={}), 208, "failed", "fairlead is not accepted", "204"),
    "no GatewayClass": (lambda c: c.lists.update(gatewayclasses=[]), 208, "warning", "no GatewayClass", "gatewayClass.create"),
    "old sidecars": (lambda c: c.get("pods", "web-2")["metadata"]["annotations"].update({"fairlead.io/status": '{"program":"1.0.0"}'}), 209,
                     "failed", r"1 sidecar \(shop/web-2\): version 1\.0\.0 is too far", "rollout restart"),
    "control one apart": (lambda c: c.get("deployments", "fairlead-control")["metadata"]["labels"].update({"app.kubernetes.io/version": "0.2.0"}),
                          209, "warning", "fairlead-control: version 0.2.0", "helm upgrade"),
    "a root that ended": (lambda c: c.get("configmaps", "fairlead-root", MESH)["data"].update({"root-cert.pem": ENDED}), 301, "failed",
                          "all roots have expired", "ca rotate"),
    "no root": (take("configmaps", "fairlead-root", MESH), 301, "failed", "no ConfigMap fairlead-system/fairlead-root", "204"),
    "no bundle in a namespace": (take("configmaps", "fairlead-root", "shop"), 302, "failed", "namespace shop has no ConfigMap", "204"),
    "another bundle in a namespace": (lambda c: c.get("configmaps", "fairlead-root", "shop")["data"].update({"root-cert.pem": OTHER}), 302,
                                      "failed", "shop/fairlead-root is another bundle", "204"),
    "the webhook has a certificate of another root": (lambda c: serve(c, "another root"), 303, "failed", "that the caBundle is not good for", "203"),
    "the webhook has a certificate of another name": (lambda c: serve(c, "another name"), 303, "failed", "that the caBundle is not good for", "203"),
    "the webhook speaks no TLS": (lambda c: c.pages.update({(MESH, "fairlead-webhook-3", 8443, "/"): c.pages.pop((MESH, "fairlead-webhook-3", 8443, "tls"))}),
                                  303, "failed", "no TLS with", "203"),
    "the webhook cannot be reached": (lambda c: c.pages.pop((MESH, "fairlead-webhook-3", 8443, "tls")), 303, "skipped", "not found", "portforward"),
    "a pod's certificate ended": (lambda c: control_pages(c, 1, proxy("web-1", left=-60)), 304, "failed", "shop/web-1: its certificate ended 1m ago", "204"),
    "a pod's certificate is not renewed": (lambda c: control_pages(c, 1, proxy("web-1", left=110)), 304, "warning", "ends in 1m", "204"),
    "a pod is not connected": (lambda c: control_pages(c, 1), 404, "failed", "shop/web-1 is not connected", "501"),
    "a pod refuses": (lambda c: control_pages(c, 1, proxy("web-1", in_sync=False, reason="no such filter")), 404, "failed",
                      "shop/web-1 refuses what it is told: no such filter", "209"),
    "a pod is behind": (lambda c: control_pages(c, 1, proxy("web-1", in_sync=False)), 404, "warning", "not yet acknowledged", "fairlead status"),
    "a replica that does not answer": (lambda c: [c.pages.pop(key) for key in list(c.pages) if key[1] == "fairlead-control-2"], 404, "skipped",
                                       "cannot be asked: .*fairlead-control-2", "portforward"),
    "our clock": (lambda c: setattr(c, "skew", -30), 305, "warning", r"this machine is (29|30|31) s ahead", "synchronisation"),
    "a node's clock": (lambda c: c.get("leases", "two")["spec"].update(renewTime=stamp(90)), 305, "failed", r"node two is \d\d s ahead", "chrony"),
    "a pod from before the label": (lambda c: c.add("pods", app_pod("old", sidecar=False)), 401, "failed",
                                    "shop/old has no sidecar, though the namespace's label asks", "rollout restart"),
    "a pod that would be refused": (lambda c: c.add("pods", app_pod("loud", sidecar=False, **{"fairlead.io/log-level": "loud"})), 401, "warning",
                                    "shop/loud has no sidecar, and would be refused", "fairlead explain"),
    "a configuration from another version": (lambda c: c.get("configmaps", "fairlead-webhook")["data"].update({"config.yaml": "warp: 9\n"}), 401,
                                             "warning", "webhook's defaults are assumed: .*warp", "same version"),
    "a pause": (lambda c: c.get("namespaces", "shop")["metadata"]["labels"].update({"fairlead.io/pause": "true"}), 401, "warning",
                "namespace shop is paused", "fairlead resume"),
    "a sidecar that is not captured": (lambda c: status(c, started=False, ready=False), 402, "failed",
                                       "shop/web-1: the sidecar runs and waits to be captured", "206"),
    "a sidecar that crashes": (lambda c: status(c, started=False, ready=False, state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                                                lastState={"terminated": {"message": "no control plane is set"}}), 402, "failed",
                               "CrashLoopBackOff back-off; it had said: no control plane is set", "--previous"),
    "a sidecar that is not ready": (lambda c: status(c, ready=False), 402, "failed", "captured and not ready", "302"),
    "no capture annotation": (lambda c: c.get("pods", "web-1")["metadata"]["annotations"].pop("fairlead.io/capture"), 403, "failed",
                              "nobody captures it", "anew"),
    "egress is shut": (lambda c: c.add("networkpolicies", policy("shut", "shop", {"podSelector": {}, "policyTypes": ["Egress"]})), 501, "failed",
                       r"shop/shut: nothing lets pod shop/web-1 \(and 1 more\) reach the control plane's port 15012", "TCP 15012"),
    "control's ingress is shut": (lambda c: c.add("networkpolicies", policy("own", MESH, {
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "control"}}, "ingress": [{"from": [{"podSelector": {}}]}]})), 501, "failed",
        "fairlead-system/own: .* at port 15012", "every meshed namespace"),
    "DNS is shut": (lambda c: c.add("networkpolicies", policy("nodns", "shop", {"podSelector": {}, "egress": [{"ports": [{"port": 15012}]}]})),
                    501, "warning", "nodns: .* reach DNS, port 53", "kube-dns"),
    "metrics are shut": (lambda c: c.add("networkpolicies", policy("app", "shop", {"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]})),
                         501, "warning", "shop/app: .* at port 15020", "15020"),
}


class Check(unittest.TestCase):
    maxDiff = None

    def check(self, cluster, *argv, status_=None, live=False):
        """Live: with a kubectl, so that checks 303, 304 and 404 have somebody to ask."""
        with cluster:
            done = cluster.run(FAIRLEAD, "check", "-o", "json", *argv, "--kubectl", cluster.kubectl() if live else "/nowhere/kubectl")
        report = json.loads(done.stdout) if done.stdout else self.fail(done.stderr)
        self.assertEqual(done.returncode, 0 if report["ok"] else 1, done.stderr)
        if status_ is not None:
            self.assertEqual(done.returncode, status_, report)
        return {check["number"]: check for check in report["checks"]}

    def test_all_is_well(self):
        checks = self.check(good(ROOT), status_=0, live=True)
        self.assertEqual({number: check["findings"] for number, check in checks.items() if check["findings"]}, {})
        self.assertEqual(checks[206]["fact"], "2 of 2")
        self.assertEqual(checks[401]["fact"], "2 meshed, 6 outside as they should be")
        self.assertEqual((checks[404]["fact"], checks[304]["fact"]), ("2 of 2", "the first ends in 23h"))
        self.assertIn(checks[303]["fact"], ("ends in 90d", "ends in 89d"))  # the first within the second in which it was made
        self.assertEqual(checks[403]["fact"], "proven in 2 of 2 meshed pods")

    def test_what_is_broken_is_found(self):
        for name, (breaks, number, state, text, hint) in BROKEN.items():
            with self.subTest(name):
                cluster = good(ROOT)
                breaks(cluster)
                found = self.check(cluster, status_=1 if state == "failed" else None, live=number in LIVE)[number]
                self.assertEqual(found["state"], state, found)
                match = [finding for finding in found["findings"] if re.search(text, finding["text"])]
                self.assertTrue(match, found)
                self.assertIn(hint, match[0]["hint"])

    def test_what_may_not_be_read_is_skipped(self):
        for resource, numbers in (("nodes", (206, 305)), ("pods", (206, 401, 402, 403, 501)), ("configmaps", (301, 302)),
                                  ("deployments", (202, 203, 204, 205)), ("networkpolicies", (501,)), ("customresourcedefinitions", (104, 201)),
                                  ("mutatingwebhookconfigurations", (207,)), ("namespaces", (302, 401))):
            with self.subTest(resource):
                cluster = good(ROOT)
                cluster.refused.add(resource)
                checks = self.check(cluster)
                for number in numbers:
                    self.assertEqual(checks[number]["state"], "skipped", checks[number])
                    self.assertIn("forbidden", checks[number]["findings"][0]["text"])

    def test_without_kubectl(self):
        checks = self.check(good(ROOT), status_=0)
        for number in LIVE:
            self.assertEqual(checks[number]["state"], "skipped")
            self.assertIn("/nowhere/kubectl is not there", checks[number]["findings"][0]["text"])

    def test_a_namespace_and_a_pod(self):
        cluster = good(ROOT)
        cluster.add("namespaces", thing("Namespace", "other", metadata={"labels": {"fairlead.io/inject": "enabled"}}))
        cluster.add("pods", app_pod("bare", "other", sidecar=False), app_pod("late"))
        status(cluster, "late", started=False)
        self.assertEqual(self.check(cluster)[302]["state"], "failed")
        shop = self.check(cluster, "-n", "shop")
        self.assertEqual((shop[302]["state"], shop[401]["state"], shop[402]["state"]), ("ok", "ok", "failed"))
        one = self.check(cluster, "-n", "shop", "web-1", status_=0)
        self.assertEqual(one[403]["fact"], "proven in 1 of 1 meshed pods")
        self.assertIn("no pod oxen", self.check(cluster, "-n", "shop", "oxen", status_=1)[401]["findings"][0]["text"])

    def test_pods_that_come_and_go(self):
        """As after a restart: those that are being deleted are nobody's any more, and new ones have a moment to connect."""
        cluster = good(ROOT)
        gone = cluster.add("pods", app_pod("old", sidecar=False))
        gone["metadata"]["deletionTimestamp"] = stamp(20)
        cluster.add("pods", app_pod("new"))["metadata"]["creationTimestamp"] = stamp(-5)
        checks = self.check(cluster, status_=0, live=True)
        self.assertEqual((checks[401]["state"], checks[401]["fact"]), ("ok", "3 meshed, 6 outside as they should be"))
        self.assertEqual(checks[404]["fact"], "2 of 2; 1 not looked at, younger than 30 s")

    def test_a_gateway(self):
        """It is captured by nobody, and the control plane knows it by the Gateway's name."""
        cluster = good(ROOT)
        pod = cluster.add("pods", app_pod("edge-fairlead-1"))
        pod["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"] = "edge"
        del pod["metadata"]["annotations"]["fairlead.io/capture"]
        control_pages(cluster, 1, proxy("web-1"), proxy("edge"))
        checks = self.check(cluster, status_=0, live=True)
        self.assertEqual((checks[403]["fact"], checks[404]["fact"]), ("proven in 2 of 2 meshed pods", "3 of 3"))

    def test_onboarding_alone(self):
        cluster = good(ROOT)
        cluster.remove("deployments", "fairlead-control")
        cluster.get("configmaps", "fairlead-webhook")["data"]["config.yaml"] = "control:\n  address: none\n"
        cluster.lists["configmaps"] = [item for item in cluster.lists["configmaps"] if item["metadata"]["name"] != "fairlead-root"]
        checks = self.check(cluster)
        self.assertEqual((checks[204]["state"], checks[301]["state"]), ("skipped", "skipped"))

    def test_before_installing(self):
        cluster = good(ROOT)
        self.assertEqual(set(self.check(cluster, "--pre", status_=0)), {101, 102, 103, 104})
        self.assertEqual({method for method, path in cluster.requests if not path.endswith("reviews")}, {"GET"})
        cluster = good(ROOT)
        cluster.may_not.add("clusterroles")
        found = self.check(cluster, "--pre", status_=1)[103]["findings"]
        self.assertEqual([finding["text"] for finding in found], ["you may not create clusterroles.rbac.authorization.k8s.io"])

    def test_nothing_is_changed_and_no_secret_is_read(self):
        cluster = good(ROOT)
        self.check(cluster, status_=0)
        self.assertEqual({method for method, _ in cluster.requests}, {"GET"})
        self.assertFalse([path for _, path in cluster.requests if "secrets" in path])

    def test_no_server(self):
        cluster = good(ROOT)
        with cluster:
            path = cluster.kubeconfig()
            text = path.read_text()
        with good(ROOT) as other:
            (path := other.kubeconfig()).write_text(text)
            done = subprocess.run([FAIRLEAD, "check", "--kubeconfig", path, "--timeout", "2s"], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("101 FAIL", done.stdout)
        self.assertIn("to mend it: see whether the address", done.stdout)
        self.assertNotIn("102", done.stdout)

    def test_hostile_objects(self):
        """What is of another type than it should be, and what a terminal would obey."""
        cluster = good(ROOT)
        cluster.add("pods", {"metadata": {"name": "\x1b[2Jx", "namespace": "shop", "labels": {"a": 7}, "annotations": []}, "spec": 3, "status": "x"},
                    {"metadata": None}, app_pod("y", sidecar=False, **{"fairlead.io/status": 3}))
        cluster.add("networkpolicies", {"metadata": {"name": "n", "namespace": "shop"}, "spec": {"podSelector": 1, "ingress": {"a": [1]}, "egress": "x"}},
                    policy("m", "shop", {"podSelector": {"matchExpressions": "x"}, "egress": [{"ports": [{"port": {}}], "to": "all"}, 9]}))
        cluster.add("customresourcedefinitions", {"spec": []}, {})
        cluster.add("mutatingwebhookconfigurations", {"webhooks": 1})
        cluster.add("leases", {"spec": {"renewTime": 8}})
        with cluster:
            done = cluster.run(FAIRLEAD, "check")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        self.assertNotIn("\x1b", done.stdout)


if __name__ == "__main__":
    FAIRLEAD = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
