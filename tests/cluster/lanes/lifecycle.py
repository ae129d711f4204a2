#!/usr/bin/env python3
"""The release of the whole mesh while pods are in it: `helm test`, an upgrade, and a roll-back. What is not Helm's stays as it was, no webhook
is left that nobody answers, and the pods of the mesh notice nothing. (Load meanwhile: the lane `disturb`.)
"""
import base64

from support import chart, place
from support.api import is_ready
from support.lane import Lane, a_pod, containers, main
from support.mesh import SYSTEM, Mesh
from support.place import CHARTS, run
from waiting import eventually

NEEDS = "mesh"
MINUTES = 15

ADMISSION = "admissionregistration.k8s.io/v1"
SECRETS = ("fairlead-ca", "fairlead-webhook-ca", "fairlead-webhook-tls")
PAGE = "mkdir -p /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


class Lifecycle(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = Mesh(cls)
        cls.space = cls.mesh.space(cls)
        app = {"name": "app", "image": place.BUSYBOX_IMAGE, "command": ["sh", "-c", PAGE], "ports": [{"name": "web", "containerPort": 8080}],
               "readinessProbe": {"httpGet": {"port": "web", "path": "/"}, "periodSeconds": 1}}
        cls.api.create(a_pod("web", cls.space, labels={"app": "web"}, containers=[app]))
        cls.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": cls.space}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}})
        cls.client = cls.mesh.pod("client", cls.space)
        cls.api.wait("v1", "Pod", "web", cls.space, is_ready)

    def test_helm_test(self):
        """The chart's own test, as people run it: a pod that checks the installation, and that is gone afterwards with its rights."""
        said = chart.helm("test", "fairlead", "--namespace", SYSTEM, "--logs", "--timeout", "120s")
        self.assertRegex(said, r"Phase:\s+Succeeded")
        left = [thing.name for version, kind in (("v1", "Pod"), ("v1", "ServiceAccount"), ("rbac.authorization.k8s.io/v1", "ClusterRole"),
                                                 ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"))
                for thing in self.api.list(version, kind) if thing.name == "fairlead-test"]
        self.assertEqual(left, [])

    # -- upgrade and roll-back ----------------------------------------------------------------------------------------

    def secrets(self):
        return {name: self.api.get("v1", "Secret", name, SYSTEM)["data"] for name in SECRETS}

    def pods(self):
        """uid and restarts of the pods in the mesh."""
        found = [self.api.get("v1", "Pod", name, self.space) for name in ("web", "client")]
        return [(pod["metadata"]["uid"], [row["restartCount"] for key in ("initContainerStatuses", "containerStatuses") for row in pod["status"][key]])
                for pod in found]

    def webhooks(self):
        """Each that is there has a Service that is there with endpoints that are ready, and a caBundle that its certificate is of."""
        folder = self.folder()
        (folder / "leaf").write_bytes(base64.b64decode(self.secrets()["fairlead-webhook-tls"]["tls.crt"]))
        found = [(thing.name, entry["clientConfig"], entry["timeoutSeconds"]) for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
                 for thing in self.api.list(ADMISSION, kind) if "fairlead" in thing.name for entry in thing["webhooks"]]
        for name, config, _ in found:
            service = config["service"]
            slices = self.api.list("discovery.k8s.io/v1", "EndpointSlice", service["namespace"], labelSelector=f"kubernetes.io/service-name={service['name']}")
            self.assertTrue([one for each in slices for one in each["endpoints"] or () if one["conditions"]["ready"]], f"{name} has nobody who answers")
            (folder / "root").write_bytes(base64.b64decode(config["caBundle"]))
            run("openssl", "verify", "-CAfile", folder / "root", folder / "leaf")
        return {name for name, _, _ in found}, {seconds for _, _, seconds in found}

    def objects(self):
        """Names of what of the release is cluster-wide, without what Helm itself wrote."""
        kinds = [(ADMISSION, kind) for kind in ("MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")]
        kinds += [("rbac.authorization.k8s.io/v1", kind) for kind in ("ClusterRole", "ClusterRoleBinding")]
        return sorted((kind, thing.name) for version, kind in kinds for thing in self.api.list(version, kind) if "fairlead" in thing.name)

    def works(self, name):
        """Those in the mesh reach each other, and another pod joins."""
        eventually(lambda: self.client.get("http://web/").strip() == "hello", "a call of a pod that was there before")
        self.assertEqual(containers(self.api.create(a_pod(f"asks-{name}", self.space), dry_run=True)), ["fairlead-proxy", "app"])
        again = self.mesh.pod(name, self.space)
        self.assertEqual(again.get("http://web/").strip(), "hello")

    def revision(self):
        """What `helm history` has at the end, by Helm's Secrets."""
        return max(int(thing.name.rpartition(".v")[2]) for thing in self.api.list("v1", "Secret", SYSTEM, labelSelector="owner=helm,name=fairlead"))

    def test_upgrade_and_roll_back(self):
        secrets, pods, objects, before = self.secrets(), self.pods(), self.objects(), self.revision()
        names, seconds = self.webhooks()
        self.assertEqual((names, seconds), ({"fairlead-webhook"}, {5}))
        chart.helm("upgrade", "fairlead", CHARTS / "fairlead", "--namespace", SYSTEM, "--reset-then-reuse-values", "--wait", "--timeout", "180s",
                   *chart.settings({"webhook.timeoutSeconds": 7, "webhook.podAnnotations": {"example.com/upgrade": "1"},
                                    "control.podAnnotations": {"example.com/upgrade": "1"}, "deployer.podAnnotations": {"example.com/upgrade": "1"}}))
        self.assertEqual(self.webhooks(), (names, {7}))
        self.works("upgraded")
        self.assertEqual((self.secrets(), self.pods(), self.objects()), (secrets, pods, objects))
        chart.helm("rollback", "fairlead", str(before), "--namespace", SYSTEM, "--wait", "--timeout", "180s")
        self.assertEqual(self.webhooks(), (names, {5}))
        self.works("back")
        self.assertEqual((self.secrets(), self.pods(), self.objects()), (secrets, pods, objects))


if __name__ == "__main__":
    main()
