#!/usr/bin/env python3
"""Which pods the API server asks about: the truth tables of docs/admission.md, by counting calls.

Two releases, "default" and "canary", stand side by side. A small server stands in the webhooks' place and counts: a pod out of scope
costs no call, a pod in scope one, of its own revision's. Then the server is taken away: pods in scope are held up, and nothing else.
"""
import itertools

from support.api import ApiError
from support.lane import Lane, a_pod, main
from support.recorder import Recorder
from support.release import ADMISSION, Release
from waiting import eventually

NEEDS = "api"

SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "fairlead-system", "fairlead-canary", "ours")
RELEASES = ("default", "canary")
INJECT = (None, "enabled", "disabled", "enable")
REV = (None, "default", "canary", "other")
REQUIRE = (None, "true", "maybe")
PAUSE = (None, "true", "yes")
SHAPES = ("plain", "host", "mirror", "windows", "windows-node")


def keys(**labels):
    return {f"fairlead.io/{key}": value for key, value in labels.items() if value is not None}


def shaped(pod, shape):
    if shape == "host":
        pod["spec"]["hostNetwork"] = True
    elif shape == "mirror":
        pod["spec"]["nodeName"] = "node"
        pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
    elif shape == "windows":
        pod["spec"]["os"] = {"name": "windows"}
    elif shape == "windows-node":
        pod["spec"]["nodeSelector"] = {"kubernetes.io/os": "windows"}
    return pod


def expected(space, pod, shape, pods_decide=True):
    """Whom the API server asks: the words of the table, not the selectors. space and pod are dicts of labels."""
    if space.get("pause") == "true" or shape == "mirror":
        return []
    if space.get("require") is None:
        said = pod.get("inject") if pods_decide else None
        said = space.get("inject") if said is None else said
        if said in (None, "disabled") or shape != "plain":
            return []
    revision = pod.get("rev") or space.get("rev") or "default"
    return [revision] if revision in RELEASES else []


def spaces():
    """Labels of namespaces: all of inject with all of rev; require and pause with what they could be confused by."""
    for inject, rev in itertools.product(INJECT, REV):
        yield {"inject": inject, "rev": rev}
    for require, rev in itertools.product(REQUIRE[1:], REV):
        yield {"require": require, "rev": rev, "inject": "disabled" if rev == "canary" else None}
    for pause in PAUSE[1:]:
        yield {"pause": pause, "inject": "enabled"}
        yield {"pause": pause, "require": "true"}
        yield {"pause": pause, "inject": "enabled", "rev": "canary"}


def pods():
    for inject, rev in itertools.product(INJECT, REV):
        yield {"inject": inject, "rev": rev}, "plain"
    for shape, inject in itertools.product(SHAPES[1:], INJECT[:3]):
        yield {"inject": inject}, shape


class Selectors(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.recorder = Recorder(cls)
        cls.releases = {}
        for name in RELEASES:
            system = "fairlead-system" if name == "default" else "fairlead-canary"
            cls.releases[name] = Release(cls, cls.values(name), name, system)
        cls.addClassCleanup(cls.api.wait_gone, "v1", "Namespace", "ours")  # the next class wants it too
        cls.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ours", "labels": keys(inject="enabled")}})
        cls.api.wait("v1", "ServiceAccount", "default", "ours", lambda thing: thing is not None)
        cls.wait_in_force()

    @classmethod
    def values(cls, name, **more):
        """Without policies: what they refuse is another lane's, and would hide what is counted here."""
        return {"revision": name, "webhook.url": cls.recorder.url(name), "webhook.caBundle": cls.recorder.authority.bundle,
                "policies.enabled": False, "config.ignoredNamespaces": list(SYSTEM), **more}

    def space(self, name, labels):
        """A namespace; its service account is made here, where the controller would take its time, of so many."""
        name = self.namespace(name, labels=keys(**labels), account=False)
        try:
            self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}})
        except ApiError as error:
            self.assertEqual(error.status, 409)
        return name

    @classmethod
    def wait_in_force(cls):
        """Both configurations have come to the API server's admission, and a change of them too."""
        space = cls.namespace("in-force", labels=keys(inject="enabled"))
        for name in RELEASES:
            pod = a_pod("in-force", space, keys(rev=name))
            eventually(lambda given=pod, release=name: cls.calls(given) == [release], f"{name} is in force")

    @classmethod
    def calls(cls, pod):
        """Who was asked about this pod, which is not kept. [] too where a dead webhook held it up."""
        name = pod["metadata"]["name"] = cls.unique("pod")
        cls.api.create(pod, dry_run=True)
        return cls.recorder.asked.pop(name, [])

    def count(self, space, labels, shape, wanted):
        self.assertEqual(self.calls(shaped(a_pod("x", space, keys(**labels)), shape)), wanted)

    def test_the_tables(self):
        in_scope = total = 0
        for space in spaces():
            name = self.space("table", space)
            for labels, shape in pods():
                wanted = expected(space, labels, shape)
                with self.subTest(namespace=space, pod=labels, shape=shape):
                    self.count(name, labels, shape, wanted)
                total += 1
                in_scope += len(wanted)
        self.assertGreater(in_scope, 200)
        self.assertGreater(total - in_scope, 200)

    def test_where_nobody_is_asked(self):
        """Our own namespaces and the system's, whatever their labels and the pods' say."""
        for space in SYSTEM:
            account = self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"generateName": "asked-", "namespace": space}})
            self.addCleanup(self.api.delete, "v1", "ServiceAccount", account.name, space)
            for rev in REV:
                with self.subTest(space, rev=rev):
                    pod = a_pod("x", space, keys(inject="enabled", rev=rev), serviceAccountName=account.name)
                    self.assertEqual(self.calls(pod), [])

    def test_other_requests(self):
        """Only the creation of pods is asked about: not their updates, subresources and deletions, nor other objects."""
        space = self.space("other", {"inject": "enabled"})
        pod = a_pod("web", space)
        self.api.create(pod)
        self.assertEqual(self.recorder.asked.pop("web"), ["default"])
        self.api.label("v1", "Pod", "web", space, a="b")
        path = self.api.path("v1", "Pod", "web", space)
        debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox:1"}]}}
        self.api.request("PATCH", f"{path}/ephemeralcontainers", debug, "application/strategic-merge-patch+json")
        self.api.request("PATCH", f"{path}/status", {"status": {"message": "x"}}, "application/merge-patch+json")
        template = {"metadata": {"labels": {"app": "web"}}, "spec": a_pod("web", space)["spec"]}
        template["spec"].pop("terminationGracePeriodSeconds")
        self.api.create({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "web", "namespace": space}, "template": template})
        self.api.delete("v1", "Pod", "web", space, now=True)
        self.assertEqual(dict(self.recorder.asked), {})

    def test_generated_names(self):
        space = self.space("generated", {"inject": "enabled"})
        pod = a_pod("x", space)
        pod["metadata"].pop("name")
        pod["metadata"]["generateName"] = "generated-"
        self.api.create(pod, dry_run=True)
        self.assertEqual(self.recorder.asked.pop("generated-"), ["default"])


class PodsDoNotDecide(Selectors):
    """podOverrides: false."""

    @classmethod
    def values(cls, name, **more):
        return super().values(name, **{"config.podOverrides": False, **more})

    def test_the_tables(self):
        for space in ({"inject": "enabled"}, {}, {"inject": "disabled"}, {"require": "true"}, {"inject": "enabled", "rev": "canary"}):
            name = self.space("table", space)
            for labels, shape in pods():
                with self.subTest(namespace=space, pod=labels, shape=shape):
                    self.count(name, labels, shape, expected(space, labels, shape, pods_decide=False))

    test_where_nobody_is_asked = test_other_requests = test_generated_names = None


class Dead(Selectors):
    """No webhook answers, and the policies are in force."""

    @classmethod
    def values(cls, name, **more):
        return super().values(name, **{"policies.enabled": True, **more})

    @classmethod
    def wait_in_force(cls):
        """Once more, with the server gone."""
        space = cls.namespace("in-force", labels=keys(inject="enabled"))

        def asked():
            try:
                cls.api.create(a_pod("in-force", space), dry_run=True)
            except ApiError:
                pass
            return cls.recorder.asked.pop("in-force", [])
        eventually(asked, "the webhook is asked")
        cls.recorder.stop()

    def held_up(self, pod):
        """None where it passes; else what the API server says."""
        try:
            self.api.create(pod, dry_run=True)
            return None
        except ApiError as error:
            return error.message

    def test_the_tables(self):
        """Opted-in pods are held up, and nothing else."""
        for space in spaces():
            name = self.space("dead", space)
            for labels, shape in (({}, "plain"), ({"inject": "enabled"}, "plain"), ({"inject": "disabled"}, "plain"),
                                  ({"inject": "enabled"}, "host"), ({"inject": "enabled"}, "windows")):
                asks = expected(space, labels, shape)
                with self.subTest(namespace=space, pod=labels, shape=shape):
                    told = self.held_up(shaped(a_pod("x", name, keys(**labels)), shape))
                    if asks:
                        self.assertRegex(told, "failed calling webhook .*inject.fairlead.io")
                    elif told is not None:  # a revision of nobody's: the policy's matter
                        self.assertRegex(told, "ValidatingAdmissionPolicy 'fairlead-sidecar.*revision \"other\"")
                        self.assertEqual(labels.get("rev") or space.get("rev"), "other")

    def test_it_can_be_recovered(self):
        """What would bring it back, and what the cluster itself lives by."""
        for space in SYSTEM:
            account = self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"generateName": "asked-", "namespace": space}})
            self.addCleanup(self.api.delete, "v1", "ServiceAccount", account.name, space)
            with self.subTest(space):
                self.assertIsNone(self.held_up(a_pod("x", space, keys(inject="enabled"), serviceAccountName=account.name)))
        for name, release in self.releases.items():
            with self.subTest(upgrade=name):
                release.upgrade({**self.values(name), "webhook.timeoutSeconds": 6})
        name = "fairlead-webhook"
        self.api.patch(ADMISSION, "MutatingWebhookConfiguration", name, {"metadata": {"labels": {"a": "b"}}}, dry_run=True)
        self.api.request("DELETE", self.api.path(ADMISSION, "MutatingWebhookConfiguration", name), dryRun="All")

    def test_pause_and_resume(self):
        """Break-glass: a label, with one's own credentials, and pods are made again as if fairlead were not there."""
        for labels in ({"inject": "enabled"}, {"require": "true"}):
            with self.subTest(labels):
                space = self.space("glass", labels)
                pod = a_pod("x", space)
                eventually(lambda given=pod: self.held_up(given), "held up")
                self.api.label("v1", "Namespace", space, **keys(pause="true"))
                eventually(lambda given=pod: self.held_up(given) is None, "made while paused")
                self.api.label("v1", "Namespace", space, **{"fairlead.io/pause": None})
                eventually(lambda given=pod: self.held_up(given), "held up again")

    test_where_nobody_is_asked = test_other_requests = test_generated_names = None


if __name__ == "__main__":
    main()
