#!/usr/bin/env python3
"""Every outcome of the decision table that a real API server can bring about: what it does to the pod, and its reason code in the
warnings, the refusal, the audit log and the metrics.

The chart's configuration does not ask about pods that are out of scope. Here an entry beside it asks about everything, as a webhook
configuration that somebody wrote by hand would.
"""
import http.client
import re
import ssl

from support import place
from support.api import ApiError
from support.audit import Audit
from support.lane import Lane, a_pod, containers, main
from support.webhook import INJECT, RIGHTS, Webhook, told
from waiting import eventually

NEEDS = "api"

ADMISSION = "admissionregistration.k8s.io/v1"
REV, REQUIRE, PAUSE = "fairlead.io/rev", "fairlead.io/require", "fairlead.io/pause"
IN = {INJECT: "enabled"}
ISTIO = {"name": "istio-proxy", "image": "istio/proxyv2:1.30"}
APP = {"name": "app", "image": "nginx"}
WINDOWS = {"os": {"name": "windows"}}
COUNT = re.compile(r'^fairlead_webhook_requests_total\{outcome="(\w+)",reason="(\w+)"\} (\d+)$', re.MULTILINE)


def pod(labels=None, annotations=None, **spec):
    return {"labels": labels, "annotations": annotations, **spec}


def app(**more):
    return [{**APP, **more}]


# case: (labels of the namespace, its annotations, the pod, outcome, reason, whether its maker is told)
PASS = {
    "namespace": (IN, {}, pod(), "injected", "namespace_enabled", False),
    "pod": ({}, {}, pod(IN), "injected", "pod_enabled", False),
    "require": ({REQUIRE: "true"}, {}, pod(), "injected", "namespace_requires", False),
    "paused": ({PAUSE: "true", REQUIRE: "true"}, {}, pod(), "skipped", "paused", True),
    "pod disabled": (IN, {}, pod({INJECT: "disabled"}), "skipped", "pod_disabled", False),
    "namespace disabled": ({INJECT: "disabled"}, {}, pod(), "skipped", "namespace_disabled", False),
    "no label": ({}, {}, pod(), "skipped", "no_label", False),
    "revision": ({**IN, REV: "canary"}, {}, pod(), "skipped", "revision", False),
    "host network": (IN, {}, pod(hostNetwork=True), "skipped", "host_network", True),
    "windows": (IN, {}, pod(**WINDOWS), "skipped", "windows", True),
    "another mesh": (IN, {}, pod(containers=[APP, ISTIO]), "skipped", "foreign_sidecar", True),
    "mirror": (IN, {}, pod(IN, {"kubernetes.io/config.mirror": "x"}, nodeName="node"), "skipped", "mirror_pod", True),
    "power": (IN, {}, pod(containers=app(securityContext={"privileged": True})), "injected", "namespace_enabled", "privileged_app"),
}
# case: (labels, annotations, pod, reason, status)
DENY = {
    "require's value": ({REQUIRE: "yes"}, {}, pod(), "require_label_invalid", 422),
    "pod's value": (IN, {}, pod({INJECT: "enable"}), "pod_label_invalid", 422),
    "namespace's value": ({INJECT: "yes"}, {}, pod(), "namespace_label_invalid", 422),
    "required, disabled": ({REQUIRE: "true"}, {}, pod({INJECT: "disabled"}), "required", 403),
    "required, host": ({REQUIRE: "true"}, {}, pod(hostNetwork=True), "required", 403),
    "required, windows": ({REQUIRE: "true"}, {}, pod(**WINDOWS), "required", 403),
    "required, another mesh": ({REQUIRE: "true"}, {}, pod(containers=[APP, ISTIO]), "required", 403),
    "annotation": (IN, {}, pod(annotations={"fairlead.io/ipv6": "maybe"}), "setting_invalid", 422),
    "namespace's annotation": (IN, {"fairlead.io/log-level": "loud"}, pod(), "setting_invalid", 422),
    "level": (IN, {}, pod(annotations={"fairlead.io/proxy-image": "mine:1"}), "not_allowed_here", 403),
    "user": (IN, {}, pod(securityContext={"runAsUser": 1337}), "runs_as_proxy", 403),
    "power denied": (IN, {"fairlead.io/privileged-apps": "deny"}, pod(containers=app(securityContext={"privileged": True})), "privileged_app", 403),
    "name": (IN, {}, pod(containers=[APP, {"name": "fairlead-proxy", "image": "mine"}]), "name_taken", 403),
    "probe": (IN, {}, pod(containers=app(readinessProbe={"httpGet": {"port": 15020, "path": "/app-health/app/readyz"}})), "probe_lost", 422),
}


class Reasons(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls, values={"config.ignoredNamespaces": ["kube-system", "kube-public", "kube-node-lease", "ignored"]})
        cls.everything()

    @classmethod
    def everything(cls):
        """An entry that asks about all that there is, in namespaces of this lane."""
        thing = cls.webhook.rendered(f"https://{place.NODE_IP}:{cls.webhook.port}/inject", "MutatingWebhookConfiguration")[0]
        entry = {key: thing["webhooks"][0][key] for key in ("clientConfig", "sideEffects", "admissionReviewVersions")}
        cls.api.delete(ADMISSION, "MutatingWebhookConfiguration", "fairlead-webhook")
        cls.create({"apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration", "metadata": {"name": "everything"}, "webhooks": [{
            **entry, "name": "everything.inject.fairlead.io", "reinvocationPolicy": "IfNeeded",
            "namespaceSelector": {"matchLabels": {"everything": "yes"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods", "pods/*", "configmaps"]}]}]})
        space = cls.space({})
        eventually(lambda: "no_label" in str(cls.noted_of(space, a_pod("asks", space))), "everything is asked about")

    @classmethod
    def space(cls, labels, annotations=None):
        return cls.webhook.namespace(cls, labels={"everything": "yes", **labels}, annotations=annotations)

    @classmethod
    def noted_of(cls, space, thing):
        audit = Audit()
        cls.api.create(thing, dry_run=True)
        return told(audit.wait(verb="create", namespace=space, name=thing["metadata"]["name"]))

    def metric(self, outcome, reason):
        context = ssl.create_default_context(cafile=self.webhook.authority.certificate)
        connection = http.client.HTTPSConnection(place.NODE_IP, self.webhook.port, context=context, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return next((int(count) for one, why, count in COUNT.findall(text) if (one, why) == (outcome, reason)), 0)

    def made(self, labels, annotations, given):
        space = self.space(labels, annotations)
        given = dict(given)
        return space, a_pod("web", space, given.pop("labels"), given.pop("annotations"), **given)

    def test_pass(self):
        for case, (labels, annotations, given, outcome, reason, tells) in PASS.items():
            with self.subTest(case):
                space, thing = self.made(labels, annotations, given)
                before, audit = self.metric(outcome, reason), Audit()
                made = self.api.create(thing, dry_run=True)
                event = audit.wait(verb="create", resource="pods", name="web", namespace=space)
                self.assertEqual((told(event)["outcome"], told(event)["reason"]), (outcome, reason))
                self.assertEqual("fairlead-proxy" in containers(made), outcome == "injected")
                ours = [one for one in made.warnings if one.endswith("]")]
                self.assertEqual([one.rpartition("[")[2] for one in ours], [f"{reason if tells is True else tells}]"] if tells else [])
                self.assertEqual(self.metric(outcome, reason), before + 1)

    def test_deny(self):
        for case, (labels, annotations, given, reason, status) in DENY.items():
            with self.subTest(case):
                space, thing = self.made(labels, annotations, given)
                before, audit = self.metric("denied", reason), Audit()
                with self.assertRaises(ApiError) as raised:
                    self.api.create(thing, dry_run=True)
                error = raised.exception
                self.assertEqual(error.status, status, error.message)
                self.assertTrue(error.message.endswith(f"[{reason}]"), error.message)
                self.assertIn(f"[{reason}]", " ".join(error.warnings))
                event = audit.wait(verb="create", resource="pods", name="web", namespace=space)
                self.assertEqual((told(event)["outcome"], told(event)["reason"]), ("denied", reason))
                self.assertEqual(self.metric("denied", reason), before + 1)

    def test_already_injected(self):
        """What `kubectl get -o yaml` showed, made again."""
        space = self.space(IN)
        first = self.api.create(a_pod("web", space), dry_run=True)
        kept = {key: first["metadata"][key] for key in ("namespace", "labels", "annotations")}
        again = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **kept}, "spec": first["spec"]}
        noted = self.noted_of(space, again)
        self.assertEqual((noted["outcome"], noted["reason"]), ("unchanged", "already_injected"))

    def test_other_requests(self):
        space = self.space(IN)
        self.api.wait("v1", "ConfigMap", "kube-root-ca.crt", space, lambda config: config is not None)  # counted, too, as those of other namespaces
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map", "namespace": space}}
        counts = {reason: self.metric("skipped", reason) for reason in ("not_a_pod", "operation", "subresource", "ephemeral_containers")}
        self.api.create(config, dry_run=True)
        self.assertGreater(self.metric("skipped", "not_a_pod"), counts["not_a_pod"])
        self.api.create(a_pod("web", space))
        self.api.label("v1", "Pod", "web", space, a="b")
        self.assertGreater(self.metric("skipped", "operation"), counts["operation"])
        path = self.api.path("v1", "Pod", "web", space)
        merge = "application/strategic-merge-patch+json"
        self.api.request("PATCH", f"{path}/status", {"status": {"message": "x"}}, merge)
        self.assertGreater(self.metric("skipped", "subresource"), counts["subresource"])  # the scheduler's, too
        debug = {"name": "debug", "image": "busybox:1"}
        self.api.request("PATCH", f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": [debug]}}, merge, dryRun="All")
        self.assertEqual(self.metric("skipped", "ephemeral_containers"), counts["ephemeral_containers"] + 1)
        hostile = {**debug, "securityContext": {"runAsUser": 1337}}
        with self.assertRaisesRegex(ApiError, r"\[runs_as_proxy\]"):
            self.api.request("PATCH", f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": [hostile]}}, merge)

    def test_system_namespaces(self):
        """The mesh's own, and one that the configuration ignores: told where the pod asks."""
        self.api.label("v1", "Namespace", self.webhook.system, everything="yes")
        name = "ignored"
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"everything": "yes"}}})
        self.api.wait("v1", "ServiceAccount", "default", name, lambda thing: thing is not None)
        for space, reason in ((self.webhook.system, "own_namespace"), (name, "ignored_namespace")):
            with self.subTest(space):
                eventually(lambda where=space, why=reason: why in str(self.noted_of(where, a_pod("web", where))), f"asked about {space}")
                made = self.api.create(a_pod("web", space, IN), dry_run=True)
                self.assertEqual(containers(made), ["app"])
                self.assertIn(f"[{reason}]", " ".join(made.warnings))

    def test_z_namespace_unknown(self):
        """Its rights are taken away: what hangs on the namespace is refused, to be tried again; what does not, goes on."""
        known = self.space(IN)
        self.assertIn("fairlead-proxy", containers(self.api.create(a_pod("web", known), dry_run=True)))
        for kind in RIGHTS[::-1]:
            self.api.delete("rbac.authorization.k8s.io/v1", kind, "fairlead-webhook")

        def refused():
            space = self.space({})
            _, error = self.outcome(a_pod("web", space))
            return error
        error = eventually(refused, "a namespace that the webhook cannot ask about")
        self.assertEqual(error.status, 503, error.message)
        self.assertTrue(error.message.endswith("[namespace_unknown]"), error.message)
        self.assertIn("fairlead-proxy", containers(self.api.create(a_pod("web", known), dry_run=True)))


if __name__ == "__main__":
    main()
