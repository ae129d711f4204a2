#!/usr/bin/env python3
"""fairlead-webhook behind a MutatingWebhookConfiguration of a real API server."""

from support.api import ApiError
from support.audit import Audit, noted_by
from support.lane import Lane, a_pod, containers, main
from support.webhook import HOOK, INJECT, Webhook

NEEDS = "api"

class Admission(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls)
        cls.space = cls.webhook.namespace(cls, inject="enabled")
        cls.plain = cls.webhook.namespace(cls)

    def test_labelled(self):
        audit = Audit()
        pod = self.api.create(a_pod("labelled", self.space))
        self.assertEqual(containers(pod), ["fairlead-proxy", "app"])
        self.assertEqual(pod["spec"]["initContainers"][0]["restartPolicy"], "Always")
        self.assertIn("fairlead.io/capture", pod["metadata"]["annotations"])
        self.assertEqual(pod.warnings, ())
        event = audit.wait(verb="create", resource="pods", name="labelled", namespace=self.space)
        noted = noted_by(event, HOOK)
        self.assertEqual((noted["outcome"], noted["reason"]), ("injected", "namespace_enabled"))
        self.assertIn("patch.webhook.admission.k8s.io/round_0_index_0", event["annotations"])

    def test_unlabelled(self):
        audit = Audit()
        pod = self.api.create(a_pod("unlabelled", self.plain))
        self.assertEqual(containers(pod), ["app"])
        self.assertNotIn("fairlead.io/capture", pod["metadata"].get("annotations", {}))
        event = audit.wait(verb="create", resource="pods", name="unlabelled", namespace=self.plain)
        self.assertEqual(noted_by(event, HOOK)["reason"], "no_label")

    def test_pod_label(self):
        self.assertEqual(containers(self.api.create(a_pod("in", self.plain, {INJECT: "enabled"}))), ["fairlead-proxy", "app"])
        self.assertEqual(containers(self.api.create(a_pod("out", self.space, {INJECT: "disabled"}))), ["app"])

    def test_dry_run(self):
        pod = self.api.create(a_pod("rehearsed", self.space), dry_run=True)
        self.assertEqual(containers(pod), ["fairlead-proxy", "app"])
        with self.assertRaises(ApiError) as raised:
            self.api.get("v1", "Pod", "rehearsed", self.space)
        self.assertEqual(raised.exception.status, 404)

    def test_warnings(self):
        pod = self.api.create(a_pod("host", self.space, hostNetwork=True))
        self.assertEqual(containers(pod), ["app"])
        self.assertIn("host's network", pod.warnings[0])

    def test_denied(self):
        pod, error = self.outcome(a_pod("wrong", self.space, annotations={"fairlead.io/inbound-include-ports": "http"}))
        self.assertIsNone(pod)
        self.assertIn(HOOK, error.message)
        self.assertIn("fairlead.io/inbound-include-ports", error.message)

    def test_deployment(self):
        """What a controller makes, in the API server's own form."""
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": a_pod("web", self.space)["spec"]}
        template["spec"].pop("terminationGracePeriodSeconds")
        self.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": self.space},
                         "spec": {"selector": {"matchLabels": labels}, "template": template}})
        kinds = (pod for event, pod in self.api.watch("v1", "Pod", self.space, labelSelector="app=web") if event == "ADDED")
        self.assertEqual(containers(next(kinds)), ["fairlead-proxy", "app"])


if __name__ == "__main__":
    main()
