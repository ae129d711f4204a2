#!/usr/bin/env python3
"""The webhook is dead, with the chart's policies in force: who did not ask for the mesh notices nothing, who did is held up, and
`fairlead pause` lets them by: with a person's own credentials, noted in the audit log, and only by those who may.
"""
import json
import os
import subprocess

from support import place
from support.api import ApiError
from support.audit import Audit
from support.lane import Lane, a_pod, containers, main
from support.webhook import INJECT, Webhook
from waiting import eventually

NEEDS = "api"

REQUIRE, PAUSE = "fairlead.io/require", "fairlead.io/pause"
RBAC = "rbac.authorization.k8s.io/v1"
IN, OUT = ["fairlead-proxy", "app"], ["app"]


class BreakGlass(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls, policies=True)
        cls.people = cls.namespace("people")
        cls.make_role()
        cls.operator = cls.person("operator", "fairlead-namespaces")
        cls.tenant = cls.person("tenant", "tenants")

    @classmethod
    def make_role(cls):
        """The chart's ClusterRole for operators; and what a tenant may have: all of namespaces, but not the verb."""
        role = next(thing for thing in cls.webhook.rendered("", "ClusterRole") if thing["metadata"]["name"] == "fairlead-namespaces")
        try:
            cls.create(role)
        except ApiError as error:  # the webhook's other rights come with it
            if error.status != 409:
                raise
        cls.create({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "tenants"}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "patch", "update"]}]})

    @classmethod
    def person(cls, name, role):
        """A kubeconfig; people are service accounts here."""
        cls.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": cls.people}})
        cls.create({"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": f"it-{name}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": cls.people}]})
        return cls.api.kubeconfig(cls.folder() / "kubeconfig", name, cls.people)

    def fairlead(self, who, *arguments):
        """Exit status and what it says."""
        done = subprocess.run([place.PROGRAMS / "fairlead", *arguments, "--kubeconfig", who], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60,
                              env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
        return done.returncode, done.stdout

    def tried(self, space, labels=None):
        """The pod's containers, or the API server's words against it."""
        try:
            return containers(self.api.create(a_pod("web", space, labels), dry_run=True))
        except ApiError as error:
            return error.message

    def spaces(self):
        return [self.webhook.namespace(self, labels=labels) for labels in ({INJECT: "enabled"}, {REQUIRE: "true"})]

    def killed(self):
        """The webhook's process; there again after the test."""
        self.webhook.process.process.kill()
        self.webhook.process.process.wait()
        self.addCleanup(self.revive)

    def revive(self):
        if self.webhook.process.process.poll() is not None:
            self.webhook.start()

    def test_dead(self):
        """With the label and without: kill -9 in between."""
        plain, (meshed, required) = self.webhook.namespace(self), self.spaces()
        for space in (meshed, required):
            eventually(lambda where=space: self.tried(where) == IN, "in")
        self.killed()
        self.assertEqual(self.tried(plain), OUT)
        self.assertEqual(self.tried(meshed, {INJECT: "disabled"}), OUT)
        self.assertEqual(containers(self.api.create(a_pod("host", meshed, hostNetwork=True), dry_run=True)), OUT)
        for space, labels in ((meshed, None), (required, None), (required, {INJECT: "disabled"}), (plain, {INJECT: "enabled"})):
            self.assertRegex(self.tried(space, labels), "failed calling webhook .*inject.fairlead.io.*connection refused")

    def test_pause_and_resume(self):
        spaces = self.spaces()
        self.killed()
        audit = Audit()
        for space in spaces:
            eventually(lambda where=space: "failed calling webhook" in self.tried(where), "held up")
        status, said = self.fairlead(self.operator, "pause", "--reason", "the webhook is dead, ticket 42", *spaces)
        self.assertEqual(status, 0, said)
        for space in spaces:
            eventually(lambda where=space: self.tried(where) == OUT, "made while paused")
            event = audit.wait(verb="patch", resource="namespaces", name=space)
            self.assertEqual(event["user"]["username"], f"system:serviceaccount:{self.people}:operator")
            self.assertEqual(event["requestObject"]["metadata"]["labels"], {PAUSE: "true"})
            self.assertIn("ticket 42", json.dumps(event["requestObject"]))
            self.assertTrue(event["requestReceivedTimestamp"])
        status, said = self.fairlead(self.operator, "pause", "--list")
        self.assertEqual(status, 0)
        for space in spaces:
            self.assertRegex(said, f"{space} .*ticket 42")
        status, said = self.fairlead(self.operator, "resume", *spaces)
        self.assertEqual(status, 0, said)
        for space in spaces:
            eventually(lambda where=space: "failed calling webhook" in self.tried(where), "held up again")
            labels = self.api.get("v1", "Namespace", space)["metadata"]
            self.assertNotIn(PAUSE, labels["labels"])
            self.assertNotIn("ticket", json.dumps(labels.get("annotations", {})))

    def test_whole_cluster(self):
        """--all: every labelled namespace, and what is made then stays out; resumed, with the webhook back, it is in again."""
        spaces = self.spaces()
        self.killed()
        self.fairlead(self.operator, "pause", "--all", "--reason", "x")  # 1 where one is deleted at this moment
        for space in spaces:
            eventually(lambda where=space: self.tried(where) == OUT, "made while paused")
        self.fairlead(self.operator, "resume", "--all")
        self.revive()
        for space in spaces:
            eventually(lambda where=space: self.tried(where) == IN, "in again")

    def test_who_may_not(self):
        """A tenant who may update the namespace cannot pause it, and may resume it."""
        space = self.spaces()[1]
        eventually(lambda: self.fairlead(self.tenant, "pause", "--dry-run", space)[0] == 1, "the policy is in force")
        status, said = self.fairlead(self.tenant, "pause", "--reason", "I would like to", space)
        self.assertEqual(status, 1, said)
        self.assertIn("pause", said)
        self.assertIn(space, said)
        self.assertNotIn(PAUSE, self.api.get("v1", "Namespace", space)["metadata"]["labels"])
        self.assertEqual(self.tried(space), IN)
        self.assertEqual(self.fairlead(self.operator, "pause", space)[0], 0)
        status, said = self.fairlead(self.tenant, "resume", space)
        self.assertEqual(status, 0, said)
        nobody = self.folder() / "kubeconfig"
        self.api.kubeconfig(nobody, "default", self.people)
        status, said = self.fairlead(nobody, "pause", space)
        self.assertEqual(status, 1)
        self.assertIn("forbidden", said.lower())


if __name__ == "__main__":
    main()
