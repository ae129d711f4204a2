#!/usr/bin/env python3
"""fairlead-webhook behind a MutatingWebhookConfiguration of a real API server."""

from waiting import eventually

from support.api import APPLY, ApiError
from support.audit import Audit
from support.hook import Hook
from support.lane import Lane, a_pod, containers, main
from support.stream import Stream
from support.webhook import INJECT, Webhook, asked, told

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
        self.assertEqual(asked(event), ["namespace.inject.fairlead.io"])
        self.assertEqual((told(event)["outcome"], told(event)["reason"]), ("injected", "namespace_enabled"))
        self.assertIn("patch.webhook.admission.k8s.io/round_0_index_0", event["annotations"])

    def test_unlabelled(self):
        """Costs no call."""
        audit = Audit()
        pod = self.api.create(a_pod("unlabelled", self.plain))
        self.assertEqual(containers(pod), ["app"])
        self.assertNotIn("fairlead.io/capture", pod["metadata"].get("annotations", {}))
        event = audit.wait(verb="create", resource="pods", name="unlabelled", namespace=self.plain)
        self.assertEqual((asked(event), told(event)), ([], {}))

    def test_pod_label(self):
        self.assertEqual(containers(self.api.create(a_pod("in", self.plain, {INJECT: "enabled"}))), ["fairlead-proxy", "app"])
        self.assertEqual(containers(self.api.create(a_pod("out", self.space, {INJECT: "disabled"}))), ["app"])

    def test_dry_run(self):
        """By create and by server-side apply: the same pod as in earnest, told the same way, and nothing is there afterwards."""
        thing = a_pod("rehearsed", self.space, annotations={"fairlead.io/log-levle": "info"})
        audit = Audit()
        rehearsals = [self.api.create(thing, dry_run=True), self.api.request("PATCH", self.api.path("v1", "Pod", "rehearsed", self.space),
                                                                             thing, APPLY, fieldManager="it", dryRun="All")]
        for pod in rehearsals:
            self.assertEqual(containers(pod), ["fairlead-proxy", "app"])
            with self.assertRaises(ApiError) as raised:
                self.api.get("v1", "Pod", "rehearsed", self.space)
            self.assertEqual(raised.exception.status, 404)
        made = self.api.create(thing)
        for pod in rehearsals:
            self.assertEqual(pod["spec"], made["spec"])
            self.assertEqual([pod["metadata"][key] for key in ("labels", "annotations")], [made["metadata"][key] for key in ("labels", "annotations")])
            self.assertEqual(pod.warnings, made.warnings)
        self.assertIn("fairlead.io/log-level", " ".join(made.warnings))
        audit.wait(lambda event: "dryRun" not in event["requestURI"], verb="create", resource="pods", name="rehearsed", namespace=self.space)
        events = [event for event in audit.events(resource="pods", name="rehearsed", namespace=self.space) if told(event)]
        self.assertEqual([told(event) for event in events], [told(events[0])] * 3)

    def test_warnings(self):
        pod = self.api.create(a_pod("probed", self.space, containers=[
            {"name": "app", "image": "nginx", "securityContext": {"privileged": True}}]))
        self.assertEqual(containers(pod), ["fairlead-proxy", "app"])
        self.assertIn("privileged", " ".join(pod.warnings))

    def test_denied(self):
        audit = Audit()
        pod, error = self.outcome(a_pod("wrong", self.space, annotations={"fairlead.io/inbound-include-ports": "http"}))
        self.assertIsNone(pod)
        self.assertIn("namespace.inject.fairlead.io", error.message)
        self.assertIn("fairlead.io/inbound-include-ports", error.message)
        event = audit.wait(verb="create", resource="pods", name="wrong", namespace=self.space)
        self.assertEqual(told(event)["reason"], "setting_invalid")

    def test_beside_others(self):
        """Somebody who comes before and somebody who comes after, and changes our container: ours is asked again."""
        def add_environment(pod):
            for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
                if not any(one["name"] == "OTHER" for one in container.setdefault("env", [])):
                    container["env"].append({"name": "OTHER", "value": "1"})

        def strip(pod):
            for container in pod["spec"].get("initContainers", []):
                if len(after.seen) == 1:
                    container.pop("restartPolicy", None)
            add_environment(pod)

        space = self.webhook.namespace(self, inject="enabled", labels={"others": "yes"})
        before = Hook(self, "a-before", add_environment, select={"others": "yes"})
        after = Hook(self, "z-after", strip, select={"others": "yes"})
        made = self.until_seen([before, after], space)
        self.assertEqual(containers(made), ["fairlead-proxy", "app"])
        self.assertEqual(made["spec"]["initContainers"][0]["restartPolicy"], "Always")
        for container in made["spec"]["initContainers"] + made["spec"]["containers"]:
            self.assertIn({"name": "OTHER", "value": "1"}, container["env"])

    def until_seen(self, hooks, space):
        """The first pod that all of them have been asked about; those before it came before they were in force."""
        def made():
            for hook in hooks:
                hook.seen.clear()
            pod = self.api.create(a_pod("beside", space), dry_run=True)
            return pod if all(hook.seen for hook in hooks) else None
        return eventually(made, "others' webhooks are asked")

    def test_stream(self):
        """Not one comes out of a stream of creations without its sidecar."""
        def wrong(pod):
            return None if containers(pod) == ["fairlead-proxy", "app"] else containers(pod)

        with Stream(self.api, lambda name: a_pod(name, self.space), check=wrong) as stream:
            stream.wait(200)
        self.assertEqual(stream.failures, [])

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
