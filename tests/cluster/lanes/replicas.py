#!/usr/bin/env python3
"""The chart installed on a node: two replicas behind their Service, under a stream of creations, while all that happens to
Deployments happens to them. Keeper and webhook make their certificate by themselves; the kubelet brings it.

What ends as it is asked to costs no admission. What is killed costs those that it was asked about, and those that are sent to it
until Kubernetes has noticed: they fail, none passes without its sidecar, and it ends by itself.
"""
from support import chart, place
from support.api import ApiError, is_ready
from support.lane import Lane, a_pod, containers, main
from support.stream import Stream
from support.webhook import INJECT
from waiting import eventually

NEEDS = "node"
MINUTES = 12

SYSTEM = "fairlead-system"
SELECT = "app.kubernetes.io/name=fairlead,app.kubernetes.io/component="
ADMISSION = "admissionregistration.k8s.io/v1"
IN = ["fairlead-proxy", "app"]
AFTER = 100  # creations that must go well after each event


def without_sidecar(pod):
    return None if containers(pod) == IN else f"it has {containers(pod)}"


class Replicas(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.remove)
        cls.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": SYSTEM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        cls.values = chart.with_images()
        chart.install(cls.values)
        cls.space = cls.namespace("served", labels={INJECT: "enabled"})
        eventually(lambda: cls.passes(), "the webhook is asked, and answers")

    @classmethod
    def remove(cls):
        chart.uninstall()
        cls.api.delete("v1", "Namespace", SYSTEM, missing_ok=True)
        cls.api.wait_gone("v1", "Namespace", SYSTEM)

    @classmethod
    def passes(cls):
        try:
            return without_sidecar(cls.api.create(a_pod("asks", cls.space), dry_run=True)) is None
        except ApiError:
            return False

    def stream(self, check=without_sidecar):
        return Stream(self.api, lambda name: a_pod(name, self.space), check=check)

    def pods(self, component="webhook"):
        """Those that are not about to go."""
        found = self.api.list("v1", "Pod", SYSTEM, labelSelector=SELECT + component)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def bundles(self):
        found = self.api.get(ADMISSION, "MutatingWebhookConfiguration", "fairlead-webhook")["webhooks"]
        return {entry["clientConfig"].get("caBundle") for entry in found}

    def wait_two(self):
        """Both replicas are Ready."""
        eventually(lambda: sum(map(is_ready, self.pods())) == len(self.pods()) == 2, "two replicas", 90)

    def process_of(self, pod):
        """The pid of its container, on the node."""
        name = pod["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
        tasks = place.on_node("ctr", "--namespace", "k8s.io", "tasks", "list").splitlines()
        return next(line.split()[1] for line in tasks if line.startswith(name))

    # -- what ends as it is asked to ------------------------------------------------------------------------------------

    def test_rollout_restart(self):
        with self.stream() as stream:
            stream.wait(AFTER)
            place.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/fairlead-webhook")
            place.kubectl("-n", SYSTEM, "rollout", "status", "deployment/fairlead-webhook", "--timeout=120s")
            stream.wait(AFTER)
            self.wait_gone_but(2)
            stream.wait(AFTER)
        self.assertEqual(stream.failures, [], stream.trouble())

    def wait_gone_but(self, number):
        eventually(lambda: len(self.api.list("v1", "Pod", SYSTEM, labelSelector=SELECT + "webhook")) == number, "the old ones are gone", 90)

    def test_drain(self):
        """What `kubectl drain` does to each pod of a node: an eviction, which the PodDisruptionBudget may put off."""
        with self.stream() as stream:
            for pod in self.pods():
                eventually(lambda gone=pod: self.evicted(gone), "an eviction is let by")
                self.wait_two()
                stream.wait(AFTER)
            self.wait_gone_but(2)
        self.assertEqual(stream.failures, [], stream.trouble())

    def evicted(self, pod):
        try:
            self.api.request("POST", self.api.path("v1", "Pod", pod.name, SYSTEM) + "/eviction", {
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.name, "namespace": SYSTEM}})
            return True
        except ApiError as error:
            self.assertEqual(error.status, 429)
            return False

    def test_both_at_once_are_not_evicted(self):
        """Of two evictions one is put off."""
        first, second = self.pods()
        self.assertTrue(self.evicted(first))
        self.assertFalse(self.evicted(second))
        self.wait_two()
        self.wait_gone_but(2)

    def test_upgrade_and_rollback(self):
        bundles = self.bundles()
        with self.stream() as stream:
            chart.install({**self.values, "webhook.logLevel": "debug", "webhook.timeoutSeconds": 7, "keeper.logLevel": "debug"})
            stream.wait(AFTER)
            chart.helm("rollback", "fairlead", "--namespace", SYSTEM, "--wait", "--timeout", "120s")
            stream.wait(AFTER)
            self.wait_gone_but(2)
        self.assertEqual(stream.failures, [], stream.trouble())
        self.assertEqual(self.bundles(), bundles)

    # -- what is killed -------------------------------------------------------------------------------------------------

    def settles(self, stream, act):
        """After `act`, on one and then the other, some may fail, of the webhook's absence alone; it ends without anybody's help."""
        for pod in self.pods():
            stream.wait(AFTER)
            act(pod)
            stream.wait_settled(2 * AFTER)
            self.wait_two()
            stream.wait_settled(AFTER)
        for failure in stream.failures:
            self.assertIn("failed calling webhook", failure)
        self.tell(stream)

    def tell(self, stream):
        print(f"\n    {stream.trouble()}: {sorted({one.rpartition(': ')[2] for one in stream.failures})}", flush=True)

    def test_killed_process(self):
        """kill -9 of one replica's program; the other serves, and the kubelet starts it again."""
        with self.stream() as stream:
            self.settles(stream, lambda pod: place.on_node("kill", "-9", self.process_of(pod)))

    def test_killed_pod(self):
        """Deleted without grace: its address is gone."""
        with self.stream() as stream:
            self.settles(stream, lambda pod: self.api.delete("v1", "Pod", pod.name, SYSTEM, now=True))
        self.wait_gone_but(2)

    def test_killed_keeper(self):
        with self.stream() as stream:
            self.api.delete("v1", "Pod", self.pods("keeper")[0].name, SYSTEM, now=True)
            eventually(lambda: any(map(is_ready, self.pods("keeper"))), "another keeper", 90)
            stream.wait(AFTER)
        self.assertEqual(stream.failures, [], stream.trouble())

    # -- from zero ------------------------------------------------------------------------------------------------------

    def test_from_zero(self):
        """All of them gone at once, Secrets and caBundle too, and the container runtime crashed: it recovers by itself."""
        place.run(place.HERE / "restart", "containerd")
        for pod in self.pods() + self.pods("keeper"):
            self.api.delete("v1", "Pod", pod.name, SYSTEM, now=True)
        for name in ("fairlead-webhook-ca", "fairlead-webhook-tls"):
            self.api.delete("v1", "Secret", name, SYSTEM)
        size = len(self.api.get(ADMISSION, "MutatingWebhookConfiguration", "fairlead-webhook")["webhooks"])
        self.api.patch(ADMISSION, "MutatingWebhookConfiguration", "fairlead-webhook", [
            {"op": "remove", "path": f"/webhooks/{number}/clientConfig/caBundle"} for number in range(size)])
        self.wait_two()
        eventually(self.passes, "pods are injected again", 90)
        with self.stream() as stream:
            stream.wait(AFTER)
        self.assertEqual(stream.failures, [], stream.trouble())

    def test_dead_webhook(self):
        """Scaled to nothing: who asked for the mesh waits, the cluster and the release itself do not, and it comes back."""
        self.api.patch("apps/v1", "Deployment", "fairlead-webhook", {"spec": {"replicas": 0}}, SYSTEM)
        self.wait_gone_but(0)
        self.assertFalse(self.passes())
        for space in ("kube-system", "default"):
            name = self.unique("beside")
            self.api.create(a_pod(name, space))
            self.addCleanup(self.api.delete, "v1", "Pod", name, space, now=True)
            self.api.wait("v1", "Pod", name, space, is_ready)
        self.api.patch("apps/v1", "Deployment", "fairlead-webhook", {"spec": {"replicas": 2}}, SYSTEM)
        self.wait_two()
        eventually(self.passes, "pods are injected again")


class Uninstalled(Replicas):
    """The release is taken away, while pods are made all the time: afterwards nothing is in anybody's way."""

    def test_uninstall(self):
        with self.stream(check=lambda pod: None) as stream:
            stream.wait(AFTER)
            chart.uninstall()
            stream.wait_settled(AFTER)
        self.tell(stream)
        self.assertEqual(containers(self.api.create(a_pod("after", self.space), dry_run=True)), ["app"])
        left = [f"{kind} {thing.name}" for kind in ("MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
                for thing in self.api.list(ADMISSION, kind) if "fairlead" in thing.name]
        self.assertEqual(left, [])

    test_rollout_restart = test_drain = test_both_at_once_are_not_evicted = test_upgrade_and_rollback = None
    test_killed_process = test_killed_pod = test_killed_keeper = test_from_zero = test_dead_webhook = None


if __name__ == "__main__":
    main()
