#!/usr/bin/env python3
"""`helm uninstall` on a node: it ends with a list while pods are in the mesh, and has then taken nothing away; after them it goes through,
and leaves nothing that is broken. The hook is the command `fairlead` in an image of its own, under its own account.
"""
import subprocess

from support import chart, image, place
from support.api import ApiError
from support.lane import Lane, a_pod, containers, main
from waiting import eventually

NEEDS = "node"
MINUTES = 15

SYSTEM = "fairlead-system"
SELECT = "app.kubernetes.io/part-of=fairlead"
PARTS = (("v1", "ServiceAccount"), ("v1", "Pod"), ("batch/v1", "Job"), ("rbac.authorization.k8s.io/v1", "ClusterRole"),
         ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"))


class Uninstall(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.remove)
        cls.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": SYSTEM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        repository, tag = image.load("fairlead").split(":")
        cls.values = {**chart.with_images(), "webhook.replicas": 1, "cli.image.repository": repository, "cli.image.tag": tag,
                      "networkPolicy.enabled": True}

    @classmethod
    def remove(cls):
        for name in ("next", "fairlead"):
            chart.uninstall(release=name)
        cls.api.delete("v1", "Namespace", SYSTEM, missing_ok=True)
        cls.api.wait_gone("v1", "Namespace", SYSTEM)

    def setUp(self):
        chart.install(self.values)
        self.space = self.namespace("shop", labels={"fairlead.io/inject": "enabled"})
        eventually(self.injects, "the webhook is asked, and answers", patience=90)  # the Lease of the release before holds the keeper up

    def injects(self):
        try:
            return containers(self.api.create(a_pod("asks", self.space), dry_run=True))[0] == "fairlead-proxy"
        except ApiError:
            return False

    @staticmethod
    def uninstall(*options):
        """(exit code, what helm says)"""
        done = subprocess.run([place.HERE / "helm", "uninstall", "fairlead", "--namespace", SYSTEM, "--wait", "--timeout", "120s", *options],
                              text=True, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def of_hooks(self):
        return [(thing["kind"], thing.name) for version, kind in PARTS for thing in self.api.list(version, kind, labelSelector=SELECT)
                if "uninstall" in thing.name]

    def test_it_asks_first(self):
        self.api.create(a_pod("web", self.space))
        self.api.create(a_pod("plain", self.namespace("outside")))
        code, text = self.uninstall()
        self.assertNotEqual(code, 0, text)
        said = place.kubectl("-n", SYSTEM, "logs", "job/fairlead-uninstall")
        for told in (text, said):  # helm shows what the hook said
            self.assertRegex(told, rf"{self.space} +web +default +sidecar")
            self.assertIn("1 pods are in the mesh", told)
            self.assertNotIn("plain", told)
        missing = [thing["metadata"]["name"] for thing in chart.render(self.values) if "helm.sh/hook" not in thing["metadata"].get("annotations", {})
                   and not self.there(thing)]
        self.assertEqual(missing, [])
        self.assertTrue(self.injects(), "the webhook works on")
        chart.helm("rollback", "fairlead", "1", "--namespace", SYSTEM)  # whoever keeps it (docs/install.md): Helm 4 says "uninstalling" of it
        self.assertRegex(chart.helm("list", "--namespace", SYSTEM), r"(?m)^fairlead\s.*\sdeployed\s")
        chart.install(self.values)

        self.api.delete("v1", "Pod", "web", self.space, now=True)
        self.api.wait_gone("v1", "Pod", "web", self.space)
        code, text = self.uninstall()
        self.assertEqual(code, 0, text)
        self.assertEqual(self.of_hooks(), [])
        self.assertEqual([thing["metadata"]["name"] for thing in chart.render(self.values) if self.there(thing)], [])
        pod = eventually(self.made_after, "nothing of us holds a pod up")
        self.assertEqual(containers(pod), ["app"])

    def made_after(self):
        """None where it was refused: the API server hears a moment later that policies are gone."""
        pod, why = self.outcome(a_pod("after", self.space))
        if pod is None and why.status != 403:
            raise why
        return pod

    def test_another_revisions_pods_do_not_count(self):
        self.api.create(a_pod("web", self.space))
        chart.helm("install", "next", place.CHARTS / "fairlead", "--namespace", SYSTEM, "--wait", "--timeout", "120s",
                   *chart.settings({**self.values, "revision": "next"}))
        said = chart.helm("uninstall", "next", "--namespace", SYSTEM, "--wait", "--timeout", "120s")
        self.assertIn("uninstalled", said)
        self.assertTrue(self.injects())

    def test_by_force(self):
        self.api.create(a_pod("web", self.space))
        code, text = self.uninstall("--no-hooks")
        self.assertEqual(code, 0, text)
        self.assertEqual(self.of_hooks(), [])
        self.assertTrue(self.api.get("v1", "Pod", "web", self.space))

    def there(self, thing):
        meta = thing["metadata"]
        return any(found.name == meta["name"] for found in self.api.list(
            thing["apiVersion"], thing["kind"], meta.get("namespace"), fieldSelector=f"metadata.name={meta['name']}"))


if __name__ == "__main__":
    main()
