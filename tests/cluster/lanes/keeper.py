#!/usr/bin/env python3
"""fairlead-keeper with the chart's rights and policies on a real API server: leaf and root are rotated under a stream of
creations, none of which fails; it cannot do more than it should, and what others do to its objects comes right.

The kubelet's part, bringing the Secret into a volume, is a small mirror here; the webhook is called by URL.
"""
import base64
import os
import random
import shutil
import threading

from waiting import eventually

from support import place
from support.audit import Audit
from support.lane import Lane, a_pod, containers, main
from support.release import ADMISSION, Release
from support.stream import Stream
from support.webhook import INJECT

NEEDS = "api"
MINUTES = 10

SYSTEM = "fairlead-system"
CONFIGURATION = "fairlead-webhook"
TLS, CA = "fairlead-webhook-tls", "fairlead-webhook-ca"
# A leaf of 16 s, renewed after 6; a root of 60 s, replaced after 30.
QUICK = ("--validity", "16", "--renew-before", "10", "--ca-validity", "60", "--propagation", "2", "--overlap", "7",
         "--lease-duration", "3")


class Mirror:
    """A Secret's volume: each version in a folder of its own, `..data` renamed onto it, some moments late."""

    def __init__(self, api, folder):
        self.api, self.folder, self.version, self.number = api, folder, None, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.update()

    def update(self):
        secret = self.api.get("v1", "Secret", TLS, SYSTEM)
        if secret["metadata"]["resourceVersion"] == self.version:
            return
        self.version, self.number = secret["metadata"]["resourceVersion"], self.number + 1
        fresh, link = self.folder / f"..{self.number}", self.folder / "..data"
        fresh.mkdir()
        for name, value in secret["data"].items():
            (fresh / name).write_bytes(base64.b64decode(value))
        (self.folder / "..new").symlink_to(fresh.name)
        before = os.readlink(link) if link.is_symlink() else None
        os.rename(self.folder / "..new", link)
        for name in secret["data"]:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before:
            shutil.rmtree(self.folder / before)

    def _run(self):
        while not self.over.wait(random.uniform(0, 2)):
            self.update()

    def stop(self):
        self.over.set()
        self.thread.join()


class Keeper(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = Release(cls, {"webhook.url": "https://localhost:1/inject"})
        cls.file = cls.folder() / "keeper.kubeconfig"
        eventually(lambda: cls.api.get("v1", "ServiceAccount", "fairlead-keeper", SYSTEM), "the keeper's account is there")
        cls.api.kubeconfig(cls.file, "fairlead-keeper", SYSTEM)

    def setUp(self):
        """No root of another test's life time."""
        super().setUp()
        for name in (TLS, CA):
            self.api.delete("v1", "Secret", name, SYSTEM, missing_ok=True)

    def keeper(self, *options):
        return self.program("fairlead-keeper", "--kubeconfig", self.file, "--configuration", CONFIGURATION, "--dns-name",
                            "localhost", "--log-level", "debug", *QUICK, *options)

    def bundles(self):
        hooks = self.api.get(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)["webhooks"]
        return [hook["clientConfig"].get("caBundle") for hook in hooks]

    def roots(self):
        """For each hook the certificates that are trusted."""
        texts = (base64.b64decode(bundle or "").decode() for bundle in self.bundles())
        return [set(filter(str.strip, text.split("-----END CERTIFICATE-----"))) for text in texts]

    def webhook(self, space):
        """On its volume, and in force."""
        volume, namespaces = self.folder(), self.folder() / "namespaces.yaml"
        config = self.folder() / "config.yaml"  # the release's: its policies hold what is injected to it
        config.write_text(self.api.get("v1", "ConfigMap", "fairlead-webhook", SYSTEM)["data"]["config.yaml"])
        namespaces.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {%s: enabled}}\n" % (space, INJECT))
        mirror = Mirror(self.api, volume)
        webhook = self.program("fairlead-webhook", "--listen", "127.0.0.1:0", "--tls-cert", volume / "tls.crt",
                               "--tls-key", volume / "tls.key", "--namespaces", namespaces, "--config", config, "--log-level", "debug")
        port = webhook.wait("ready")["port"]
        mirror.thread.start()
        self.later(mirror.stop)
        before = self.roots()
        self.release.upgrade({"webhook.url": f"https://localhost:{port}/inject"})
        # An upgrade leaves the field alone; the keeper may drop the roots of earlier tests meanwhile.
        self.assertTrue(all(now & then for now, then in zip(self.roots(), before, strict=True)))

        refused = []

        def is_asked():
            made, why = self.outcome(a_pod("asks", space, {INJECT: "enabled"}))
            if made:
                self.api.delete("v1", "Pod", "asks", space, now=True)
            refused[:] = [] if made else [why]
            return made and webhook.said("injected", pod="asks")
        try:
            eventually(is_asked, "the webhook is asked, and trusted")
        except AssertionError as never:
            raise AssertionError(f"{never}; {refused}") from None
        return webhook

    def test_leaf_and_root_under_a_stream_of_creations(self):
        keeper = self.keeper()
        keeper.wait("make leaf")
        keeper.wait("waiting")
        space = self.namespace(labels={INJECT: "enabled"})
        self.webhook(space)

        def wrong(pod):
            return None if containers(pod) == ["fairlead-proxy", "app"] else f"not injected: {containers(pod)}"
        with Stream(self.api, lambda name: a_pod(name, space), check=wrong) as stream:
            for step in ("make next root", "publish", "promote next root", "make leaf", "drop old roots", "publish", "make leaf"):
                keeper.wait(step, patience=120)
            stream.wait(50)
        self.assertEqual(stream.failures, [])
        managed = self.api.get(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)["metadata"]["managedFields"]
        owned = next(each for each in managed if each["manager"] == "fairlead-keeper")
        self.assertEqual(owned["operation"], "Apply")
        for hook in owned["fieldsV1"]["f:webhooks"].values():
            self.assertEqual(hook["f:clientConfig"], {"f:caBundle": {}})
        lease = self.api.get("coordination.k8s.io/v1", "Lease", "fairlead-keeper", SYSTEM)
        self.assertTrue(lease["spec"]["holderIdentity"])
        keeper.stop()
        lease = self.api.get("coordination.k8s.io/v1", "Lease", "fairlead-keeper", SYSTEM)
        self.assertFalse(lease["spec"].get("holderIdentity"))

    def test_an_idle_keeper_renews_its_lease_and_nothing_else(self):
        keeper = self.keeper("--validity", "1000", "--ca-validity", "10000", "--overlap", "0")
        keeper.wait("make leaf")
        keeper.wait("waiting", **{"for": "nothing to do"})
        lease = ("coordination.k8s.io/v1", "Lease", "fairlead-keeper", SYSTEM)
        first = self.api.get(*lease)["metadata"]["resourceVersion"]
        objects = [self.api.get("v1", "Secret", name, SYSTEM)["metadata"]["resourceVersion"] for name in (TLS, CA)]
        audit, user = Audit(), f"system:serviceaccount:{SYSTEM}:fairlead-keeper"
        for _ in range(3):
            self.api.wait(*lease, lambda now, before=first: now["metadata"]["resourceVersion"] != before)
            first = self.api.get(*lease)["metadata"]["resourceVersion"]
        wrote = [(event["verb"], event["objectRef"]["resource"]) for event in audit.events(user=user)]
        self.assertEqual(wrote, [])  # of what the audit log records: Secrets and admission objects, not Leases
        self.assertEqual(objects, [self.api.get("v1", "Secret", name, SYSTEM)["metadata"]["resourceVersion"] for name in (TLS, CA)])

    def test_what_others_do_comes_right(self):
        keeper = self.keeper()
        keeper.wait("make leaf")
        keeper.wait("waiting")
        good = self.bundles()
        self.api.delete("v1", "Secret", TLS, SYSTEM)
        keeper.wait("make leaf", patience=60)
        self.api.delete("v1", "Secret", CA, SYSTEM)
        keeper.wait("make root", patience=60)
        keeper.wait("publish", patience=60)
        self.assertTrue(all(len(now) > len(before) for now, before in zip(self.bundles(), good)))
        keeper.wait("drop old roots", patience=60)

    def test_a_field_of_another_manager(self):
        keeper = self.keeper()
        keeper.wait("make leaf")
        keeper.wait("waiting")
        body = {"apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration", "metadata": {"name": CONFIGURATION},
                "webhooks": [{"name": hook["name"], "clientConfig": {"caBundle": base64.b64encode(
                    (place.PKI / "ca.crt").read_bytes()).decode()}}
                    for hook in self.api.get(ADMISSION, "MutatingWebhookConfiguration", CONFIGURATION)["webhooks"]]}
        self.api.apply(body, "somebody-else", force=True)
        told = keeper.wait("the caBundle belongs to another field manager; see --force-conflicts", patience=60)
        self.assertEqual(told["manager"], "somebody-else")
        keeper.stop()
        forced = self.keeper("--force-conflicts")
        forced.wait("publish", patience=60)
        root = base64.b64decode(self.api.get("v1", "Secret", CA, SYSTEM)["data"]["ca.crt"])
        for bundle in self.bundles():
            self.assertIn(root, base64.b64decode(bundle))


if __name__ == "__main__":
    main()
