#!/usr/bin/env python3
"""fairlead inject, uninject, explain, pause and resume on a real API server: what they tell is what happens."""
import json
import os
import subprocess

from support import place
from support.audit import Audit
from support.lane import Lane, a_pod, containers, main
from support.webhook import INJECT, Webhook, told

NEEDS = "api"

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")


def fairlead(*argv, data=None, name="fairlead"):
    done = subprocess.run([place.PROGRAMS / name, *map(str, argv)], input=data, capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "KUBECONFIG": str(place.KUBECONFIG)})
    return done


def a_workload(kind, space, labels=None):
    """Of no replicas where it may be: nothing but the object is wanted."""
    pod = a_pod("x", space)
    template = {"metadata": {"labels": {"app": kind.lower(), **(labels or {})}}, "spec": pod["spec"]}
    spec = {"selector": {"matchLabels": {"app": kind.lower()}}, "template": template}
    if kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        spec["replicas"] = 0
    if kind == "StatefulSet":
        spec["serviceName"] = "x"
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
        spec = {"template": template, "suspend": True}
    if kind == "CronJob":
        template["spec"]["restartPolicy"] = "Never"
        spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": template}}}
    group = "batch" if kind in ("Job", "CronJob") else "apps"
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": kind.lower(), "namespace": space}, "spec": spec}


SHAPES = {  # name → labels, annotations, spec
    "plain": ({}, {}, {}),
    "asked": ({INJECT: "enabled"}, {}, {}),
    "opted-out": ({INJECT: "disabled"}, {}, {}),
    "mistyped": ({INJECT: "yes"}, {}, {}),
    "bad-setting": ({INJECT: "enabled"}, {"fairlead.io/log-level": "loud"}, {}),
    "as-proxy": ({INJECT: "enabled"}, {}, {"securityContext": {"runAsUser": 1337}}),
    "foreign": ({INJECT: "enabled"}, {}, {"containers": [{"name": "istio-proxy", "image": "x"}, {"name": "app", "image": "x"}]}),
    "own-name": ({INJECT: "enabled"}, {}, {"containers": [{"name": "fairlead-proxy", "image": "x"}]}),
}


class Commands(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls)

    def explain(self, *argv):
        done = fairlead("explain", "-c", self.webhook.config, "-o", "json", *argv)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)["items"]

    def test_injected_manifests_are_left_alone(self):
        space = self.webhook.namespace(self, inject="enabled")
        pod = a_pod("by-hand", space)
        done = fairlead("inject", "-c", self.webhook.config, "-o", "json", "-", data=json.dumps(pod))
        self.assertEqual(done.returncode, 0, done.stderr)
        injected = json.loads(done.stdout)
        audit = Audit()
        made = self.api.create(injected)
        event = audit.wait(verb="create", resource="pods", name="by-hand", namespace=space)
        self.assertEqual((told(event)["outcome"], told(event)["reason"]), ("unchanged", "already_injected"))
        self.assertEqual(containers(made), ["fairlead-proxy", "app"])
        self.assertEqual(json.loads(fairlead("uninject", "-o", "json", "-", data=done.stdout).stdout), pod)

    def test_what_is_explained_is_what_happens(self):
        """Reason by reason, with what the webhook noted in the audit log; where it was not asked, it would have said so."""
        for inject in (None, "enabled", "disabled"):
            space = self.webhook.namespace(self, inject=inject)
            for name, (labels, annotations, spec) in SHAPES.items():
                with self.subTest(namespace=inject, pod=name):
                    self.compare(space, a_pod(name, space, labels, annotations, **spec))

    def compare(self, space, pod):
        folder = self.folder()
        (folder / "pod.json").write_text(json.dumps(pod))
        (folder / "space.json").write_text(json.dumps({"apiVersion": "v1", **self.api.get("v1", "Namespace", space), "kind": "Namespace"}))
        explained = self.explain("-f", folder / "pod.json", "--namespaces", folder / "space.json")[0]
        audit = Audit()
        made, error = self.outcome(pod)
        event = audit.wait(verb="create", resource="pods", namespace=space)
        noted = told(event)
        if noted:
            self.assertEqual((noted["outcome"], noted["reason"]), (explained["outcome"], explained["reason"]))
        else:
            self.assertEqual(explained["outcome"], "skipped")
        self.assertEqual(error is not None, explained["outcome"] == "denied")
        if made is not None:
            live = self.explain("-n", space, f"pod/{made.name}")[0]
            self.assertEqual(live["reason"], explained["reason"])
            meshed = explained["outcome"] == "injected"
            self.assertEqual(live["now"], "meshed, as it would be made anew" if meshed else "not meshed")

    def test_a_namespace_is_rehearsed(self):
        space = self.webhook.namespace(self)
        for kind in WORKLOADS:
            self.api.create(a_workload(kind, space))
        self.api.create(a_pod("alone", space, schedulerName="nobody"))
        self.api.create(a_pod("out", space, {INJECT: "disabled"}, schedulerName="nobody"))
        before, audit = self.versions(space), Audit()
        rehearsed = {(item["kind"], item["name"]): item["reason"] for item in self.explain("-n", space, "--as-if-labelled")}
        self.assertEqual({item["reason"] for item in self.explain("-n", space)}, {"no_label", "pod_disabled"})
        self.assertEqual(self.versions(space), before)
        verbs = {event["verb"] for event in audit.events() if event.get("userAgent", "").startswith("fairlead/")}
        self.assertLessEqual(verbs, {"get", "list", "watch"})
        self.assertEqual(set(rehearsed), {(kind, kind.lower()) for kind in WORKLOADS} | {("Pod", "alone"), ("Pod", "out")})
        self.api.label("v1", "Namespace", space, **{INJECT: "enabled"})
        real = {(item["kind"], item["name"]): item["reason"] for item in self.explain("-n", space)}
        self.assertEqual(rehearsed, real)
        self.assertEqual(rehearsed.pop(("Pod", "out")), "pod_disabled")
        self.assertEqual(set(rehearsed.values()), {"namespace_enabled"})

    def versions(self, space):
        """Of workloads, whose status controllers write, the generation: their spec's."""
        versions = {("Namespace", space): self.api.get("v1", "Namespace", space)["metadata"]["resourceVersion"]}
        for kind in (*WORKLOADS, "Pod"):
            version = "v1" if kind == "Pod" else "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
            for thing in self.api.list(version, kind, space):
                versions[kind, thing["metadata"]["name"]] = thing["metadata"]["resourceVersion" if kind == "Pod" else "generation"]
        return versions

    def test_pause_and_resume(self):
        space = self.webhook.namespace(self, inject="enabled")
        before = self.api.get("v1", "Namespace", space)["metadata"]
        dry = fairlead("pause", "--dry-run", space)
        self.assertEqual((dry.returncode, dry.stdout), (0, f"namespace/{space} paused (dry run)\n"), dry.stderr)
        self.assertEqual(self.api.get("v1", "Namespace", space)["metadata"]["resourceVersion"], before["resourceVersion"])
        audit = Audit()
        self.assertEqual(fairlead("pause", "--reason", "drill", space).returncode, 0)
        event = audit.wait(verb="patch", resource="namespaces", name=space)
        who = event["user"]["username"]
        now = self.api.get("v1", "Namespace", space)["metadata"]["annotations"]
        self.assertEqual((now["fairlead.io/paused-by"], now["fairlead.io/pause-reason"]), (who, "drill"))
        self.assertRegex(fairlead("pause", "--list").stdout, rf"(?m)^{space}  since \S+  by {who}  drill$")
        self.assertEqual(self.explain("-n", space, "--as-if-labelled"), [])
        self.assertEqual(containers(self.api.create(a_pod("meanwhile", space), dry_run=True)), ["app"])
        self.assertEqual(fairlead("resume", space).returncode, 0)
        after = self.api.get("v1", "Namespace", space)["metadata"]
        self.assertEqual((after["labels"], after.get("annotations")), (before["labels"], before.get("annotations")))
        missing = fairlead("pause", "nowhere-at-all")
        self.assertEqual((missing.returncode, missing.stdout), (1, ""))
        self.assertIn("not found", missing.stderr)

    def test_what_an_account_may_not(self):
        """The reader's account of the webhook: it lists namespaces, and pauses none."""
        space = self.webhook.namespace(self, inject="enabled")
        done = fairlead("pause", "--kubeconfig", self.webhook.kubeconfig, space)
        self.assertEqual(done.returncode, 1)
        self.assertIn("forbidden", done.stderr)
        self.assertNotIn("fairlead.io/pause", self.api.get("v1", "Namespace", space)["metadata"]["labels"])


if __name__ == "__main__":
    main()
