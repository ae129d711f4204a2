#!/usr/bin/env python3
"""What the webhook makes of pods, judged by the API server itself: a pod that it takes stays one that it takes.

Every golden pod (tests/golden/webhook/*/pod.yaml) is created twice, as a rehearsal: where nobody changes it, and where the
webhook does. Namespaces with Pod Security, a quota and limit ranges, and pods with a budget of their own, ask for more.
"""
import json
import pathlib

import yaml

from waiting import eventually

from support.api import ApiError
from support.lane import Lane, a_pod, containers, main
from support.webhook import Webhook

NEEDS = "api"

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden" / "webhook"
ACCEPTED_MIN = 60  # of the golden pods by the API server as they come: else the test shows little
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
SAFE = {"runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}}


def golden_pods():
    """(name, pod) of the cases that are injected with the webhook's defaults."""
    for folder in sorted(GOLDEN.iterdir()):
        if not (folder / "pod.yaml").exists() or (folder / "config.yaml").exists() or (folder / "namespaces.yaml").exists():
            continue
        if "patch" in json.loads((folder / "answer.json").read_text()):
            yield folder.name, yaml.safe_load((folder / "pod.yaml").read_text())


class Pods(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls)
        cls.space = cls.webhook.namespace(cls, inject="enabled")
        cls.plain = cls.webhook.namespace(cls)

    def rehearsed(self, pod, space):
        """(the pod that would be there, None), or (None, the API server's words against it)."""
        pod = json.loads(json.dumps(pod))
        pod["metadata"] = {**(pod.get("metadata") or {}), "namespace": space}
        try:
            return self.api.create(pod, dry_run=True), None
        except ApiError as error:
            return None, error.message

    def assert_settled(self, pod):
        """What the API server made of it (defaults, the service account's mount) is in form for the webhook."""
        metadata = {key: pod["metadata"][key] for key in ("name", "generateName", "labels", "annotations", "ownerReferences")
                    if key in pod["metadata"]}
        before = len(self.webhook.process.said("unchanged"))
        again, error = self.rehearsed({**pod, "metadata": metadata}, pod["metadata"]["namespace"])
        self.assertIsNone(error)
        self.assertEqual(again["spec"], pod["spec"])
        eventually(lambda: len(self.webhook.process.said("unchanged")) > before, "a second review has nothing to add")

    def test_golden_pods_stay_valid(self):
        accepted = 0
        for name, pod in golden_pods():
            with self.subTest(name):
                before, _ = self.rehearsed(pod, self.plain)
                after, error = self.rehearsed(pod, self.space)
                if before is None:  # it names accounts, classes or claims that are not there, or is odd on purpose
                    continue
                accepted += 1
                self.assertIsNone(error, "valid without the mesh, and with it it is not")
                self.assertEqual(containers(after).count("fairlead-proxy"), 1)
                self.assert_settled(after)
        self.assertGreater(accepted, ACCEPTED_MIN)

    def safe_pod(self, name, space, annotations=None, **more):
        app = {"name": "app", "image": "nginx", "securityContext": SAFE, "livenessProbe": {"httpGet": {"port": 80}}}
        return a_pod(name, space, annotations=annotations, terminationGracePeriodSeconds=30,
                     containers=[{**app, **more.pop("app", {})}], **more)

    def test_restricted(self):
        """Both forms of the sidecar, with everything that may be set on a pod."""
        space = self.webhook.namespace(self, inject="enabled", labels=RESTRICTED)
        for number, annotations in enumerate(({}, {"fairlead.io/native-sidecar": "disabled"}, {"fairlead.io/start-seconds": "30"})):
            pod = self.api.create(dry_run=True, thing=self.safe_pod(f"safe-{number}", space, annotations))
            self.assertEqual(set(containers(pod)) - {"fairlead-gate"}, {"app", "fairlead-proxy"})
            self.assertEqual("fairlead-gate" in containers(pod), "fairlead.io/native-sidecar" in annotations)
            self.assertEqual(pod.warnings, ())
            self.assert_settled(pod)
        pod, error = self.rehearsed(a_pod("unsafe", space), space)
        self.assertIsNone(pod)
        self.assertNotIn("fairlead-proxy", error)  # the app's faults alone are told

    def test_quota_and_limit_ranges(self):
        space = self.webhook.namespace(self, inject="enabled")
        amounts = {f"{kind}.{name}": amount for kind in ("requests", "limits")
                   for name, amount in (("cpu", "20"), ("memory", "20Gi"), ("ephemeral-storage", "20Gi"))}
        self.api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all", "namespace": space},
                         "spec": {"hard": amounts}})
        self.api.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "all", "namespace": space},
                         "spec": {"limits": [{"type": "Container", "max": {"cpu": "4", "memory": "4Gi", "ephemeral-storage": "4Gi"},
                                              "min": {"cpu": "1m", "memory": "1Mi"}}]}})
        amount = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
        app = {"resources": {"requests": amount, "limits": amount}}
        for native in ("enabled", "disabled"):
            annotations = {"fairlead.io/native-sidecar": native}
            pod = self.api.create(dry_run=True, thing=self.safe_pod("counted", space, annotations, app=app))
            self.assert_settled(pod)

    def test_limit_range_fills_in(self):
        """What is left open on purpose is filled in by LimitRanger, and stays."""
        space = self.webhook.namespace(self, inject="enabled")
        self.api.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "all", "namespace": space},
                         "spec": {"limits": [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
                                              "defaultRequest": {"cpu": "20m", "memory": "20Mi"}}]}})
        open_ones = {f"fairlead.io/proxy-{name}-{kind}": "" for name in ("cpu", "memory") for kind in ("request", "limit")}
        pod = self.api.create(dry_run=True, thing=self.safe_pod("open", space, open_ones))
        self.assertEqual(pod["spec"]["initContainers"][0]["resources"]["limits"]["memory"], "1Gi")
        self.assert_settled(pod)

    def test_budget_of_the_pod(self):
        """spec.resources: the pod is never over its own budget because of the sidecar."""
        app = {"resources": {"requests": {"cpu": "95m", "memory": "60Mi"}}}
        budgets = ({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
                   {"requests": {"cpu": "95m", "memory": "60Mi"}},
                   {"limits": {"cpu": "100m", "memory": "64Mi"}},
                   {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}})
        for number, budget in enumerate(budgets):
            for native in ("enabled", "disabled"):
                with self.subTest(budget=budget, native=native):
                    annotations = {"fairlead.io/native-sidecar": native}
                    pod = self.api.create(dry_run=True, thing=self.safe_pod("budget", self.space, annotations, app=app,
                                                                      resources=budget))
                    self.assertEqual(any("spec.resources" in one for one in pod.warnings), number < 3)
                    self.assert_settled(pod)


if __name__ == "__main__":
    main()
