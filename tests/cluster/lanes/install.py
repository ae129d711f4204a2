#!/usr/bin/env python3
"""The chart's life on a real API server: every object valid, upgrades that keep what the keeper wrote, nothing left behind."""
import base64

from support import chart
from support.api import ApiError
from support.lane import Lane, main
from support.place import CHARTS
from support.release import ADMISSION, Release, account
from waiting import eventually

NEEDS = "api"

SYSTEM, CONFIGURATION = "fairlead-system", "fairlead-webhook"
KIND = (ADMISSION, "MutatingWebhookConfiguration")
OTHERS = ("gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1", "cert-manager.io/v1", "security.openshift.io/v1")  # kinds that this cluster does not have
ON = {"networkPolicy.enabled": True, "webhook.hostNetwork": True, "keeper.replicas": 2, "commonLabels": {"team": "mesh"},
      "imagePullSecrets": [{"name": "pull"}], "podMonitor.enabled": True, "cni.enabled": True, "cni.namespace.name": SYSTEM}
BUNDLE = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").decode()


class Install(Lane):
    def test_every_object_is_valid(self):
        """With strict validation: a member that is misspelt, or there twice, is an error and not dropped in silence."""
        self.addCleanup(self.api.wait_gone, "v1", "Namespace", SYSTEM)
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.api.wait("v1", "ServiceAccount", "default", SYSTEM, lambda thing: thing is not None)
        for mode in ({}, ON, {"control.mode": "none"}, {"control.certificates.namespaces": [SYSTEM]}, {"certificate.mode": "secret", "webhook.caBundle": BUNDLE}, {"certificate.mode": "certManager"},
                     {"revision": "canary"}, {"webhook.url": "https://webhook.example/inject"},
                     *({"cni.enabled": True, "cni.namespace.name": SYSTEM, "cni.platform": name} for name in ("gke", "openshift"))):
            for thing in chart.render(mode) + chart.render(chart="fairlead-crds"):
                if thing["apiVersion"] in OTHERS:
                    continue
                without_account(thing)
                with self.subTest(mode, kind=thing["kind"], name=thing["metadata"]["name"]):
                    made = self.api.create(thing, dry_run=True, fieldValidation="Strict")
                    self.assertEqual(made.warnings, ())

    def test_pods_pass_pod_security(self):
        """The API server says of a Deployment what the namespace's level would refuse."""
        space = self.namespace("restricted", labels={"pod-security.kubernetes.io/warn": "restricted"})
        for thing in chart.render(namespace=space):
            if thing["kind"] in ("Deployment", "Job", "Pod"):
                self.assertEqual(self.api.create(without_account(thing), dry_run=True).warnings, (), thing["metadata"]["name"])
        hostile = next(thing for thing in chart.render({"podSecurityContext": {"runAsNonRoot": False}}, namespace=space)
                       if thing["kind"] == "Deployment")
        self.assertIn("runAsNonRoot", " ".join(self.api.create(hostile, dry_run=True).warnings))

    def test_the_agent_needs_its_namespace(self):
        """No level but "privileged" has room for it; the namespace that the chart makes is one, and it has nothing else."""
        self.assertEqual({level: self.refused(level) for level in ("privileged", "baseline", "restricted")},
                         {"privileged": False, "baseline": True, "restricted": True})
        things = chart.render({"cni.enabled": True})
        home = next(thing for thing in things if thing["kind"] == "Namespace")
        self.assertEqual(home["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged")
        inside = {thing["kind"] for thing in things if thing["metadata"].get("namespace") == home["metadata"]["name"]}
        self.assertEqual(inside, {"ServiceAccount", "DaemonSet"})

    def refused(self, level):
        """Whether a namespace of that level takes the agent's pod; what the API server says of the DaemonSet is the same in words."""
        space = self.namespace(level, labels={f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")})
        agent = next(thing for thing in chart.render({"cni.enabled": True, "cni.namespace.name": space}, namespace=space)
                     if thing["kind"] == "DaemonSet")
        template = agent["spec"]["template"]
        spec = {**template["spec"], "serviceAccountName": "default", "priorityClassName": ""}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": space}, "spec": spec}
        warned = bool(self.api.create(agent, dry_run=True).warnings)
        try:
            self.api.create(pod, dry_run=True)
            refused = False
        except ApiError as error:
            self.assertIn("PodSecurity", error.message)
            refused = True
        self.assertEqual(warned, refused)
        return refused

    def bundles(self):
        return {entry["clientConfig"].get("caBundle") for entry in self.api.get(*KIND, CONFIGURATION)["webhooks"]}

    def keep(self):
        """As the keeper does it: server-side apply of one field."""
        keeper = self.api.impersonate(*account("fairlead-keeper"))
        self.addCleanup(keeper.close)
        names = [entry["name"] for entry in keeper.get(*KIND, CONFIGURATION)["webhooks"]]
        keeper.apply({"apiVersion": ADMISSION, "kind": KIND[1], "metadata": {"name": CONFIGURATION},
                      "webhooks": [{"name": name, "clientConfig": {"caBundle": BUNDLE}} for name in names]}, "fairlead-keeper")

    def test_an_upgrade_keeps_the_bundle(self):
        """Helm 4 applies on the server, Helm 3 merges by itself: neither touches a field that is in no template."""
        for way in ("true", "false"):
            with self.subTest(server_side=way):
                release = Release(self, {})
                self.assertEqual(self.bundles(), {None})
                eventually(lambda: self.kept(), "the keeper has its rights")
                self.assertEqual(self.bundles(), {BUNDLE})
                chart.helm("upgrade", release.name, CHARTS / "fairlead", "--namespace", SYSTEM, f"--server-side={way}",
                           *chart.settings({"webhook.timeoutSeconds": 7, "config.ignoredNamespaces": ["kube-system", "more"]}))
                found = self.api.get(*KIND, CONFIGURATION)["webhooks"]
                self.assertEqual({entry["timeoutSeconds"] for entry in found}, {7})
                self.assertIn("more", str(found[0]["namespaceSelector"]))
                self.assertEqual(self.bundles(), {BUNDLE})
                chart.helm("rollback", release.name, "1", "--namespace", SYSTEM)
                self.assertEqual({entry["timeoutSeconds"] for entry in self.api.get(*KIND, CONFIGURATION)["webhooks"]}, {5})
                self.assertEqual(self.bundles(), {BUNDLE})
                release.remove()

    def kept(self):
        try:
            self.keep()
            return True
        except Exception as error:  # noqa: BLE001 (told by what waits)
            if getattr(error, "status", None) != 403:
                raise
            return False

    def test_nothing_is_left(self):
        """Two releases come and go: the second takes nothing of the first with it, and the first leaves nothing."""
        first = Release(self, {})
        second = Release(self, {"revision": "canary"}, "canary", "fairlead-canary")
        second.remove()
        missing = [(thing["kind"], thing["metadata"]["name"]) for thing in chart.render() if not of_hook(thing) and not self.there(thing)]
        self.assertEqual(missing, [])
        first.remove()
        things = chart.render() + chart.render({"revision": "canary"}, namespace="fairlead-canary")
        self.assertEqual([(thing["kind"], thing["metadata"]["name"]) for thing in things if self.there(thing)], [])

    def test_helm_3(self):
        """The same objects as Helm 4 renders, no word from its lint; and a release's whole life, with what the keeper wrote kept."""
        for name in ("fairlead", "fairlead-crds", "gateway"):
            with self.subTest(name):
                self.assertNotRegex(chart.helm("lint", "--strict", CHARTS / name, major=3), r"\[(WARNING|ERROR)\]")
                both = [sorted(map(repr, chart.render(chart=name, major=major))) for major in (3, 4)]
                self.assertTrue(both[0])
                self.assertEqual(*both)
        Release(self, {}).remove()  # and with it, what a test before has left
        said = [CHARTS / "fairlead", "--namespace", SYSTEM]
        self.addCleanup(chart.uninstall)
        chart.helm("install", "fairlead", *said, "--create-namespace", major=3)
        eventually(lambda: self.kept(), "the keeper has its rights")
        chart.helm("upgrade", "fairlead", *said, *chart.settings({"webhook.timeoutSeconds": 7}), major=3)
        self.assertEqual({entry["timeoutSeconds"] for entry in self.api.get(*KIND, CONFIGURATION)["webhooks"]}, {7})
        self.assertEqual(self.bundles(), {BUNDLE})
        chart.helm("rollback", "fairlead", "1", "--namespace", SYSTEM, major=3)
        self.assertEqual({entry["timeoutSeconds"] for entry in self.api.get(*KIND, CONFIGURATION)["webhooks"]}, {5})
        self.assertEqual(self.bundles(), {BUNDLE})
        chart.helm("uninstall", "fairlead", "--namespace", SYSTEM, "--wait", "--no-hooks", major=3)
        self.assertEqual([(thing["kind"], thing["metadata"]["name"]) for thing in chart.render() if self.there(thing)], [])
        self.api.delete("v1", "Namespace", SYSTEM)
        self.api.wait_gone("v1", "Namespace", SYSTEM)

    def there(self, thing):
        meta = thing["metadata"]
        return any(found.name == meta["name"] for found in self.api.list(
            thing["apiVersion"], thing["kind"], meta.get("namespace"), fieldSelector=f"metadata.name={meta['name']}"))


def of_hook(thing):
    """It is there while its hook runs."""
    return "helm.sh/hook" in thing["metadata"].get("annotations", {})


def without_account(thing):
    """A pod is refused where its account is not there yet; a template is not."""
    if thing["kind"] == "Pod":
        thing["spec"].update(serviceAccountName="default", automountServiceAccountToken=False)
    return thing


if __name__ == "__main__":
    main()
