#!/usr/bin/env python3
"""Namespaces and pods that come and change at the same moment: nobody who asked for the mesh starts outside of it.

The webhook learns of namespaces from the API server as its account in a cluster would. The API server's own view of a
namespace's labels, by which it chooses whom to ask, may be old by a moment, too: where it did not ask, nobody can answer. So what
is held here is that every pod that it did ask about has the right answer, and that it asks about all pods of new namespaces.
"""
import concurrent.futures
import itertools
import threading

from support.api import ApiError
from support.audit import Audit
from support.lane import GONE, Lane, a_pod, containers, main
from support.webhook import INJECT, Webhook, asked, told
from waiting import eventually

NEEDS = "api"

TOGETHER = 200
AGAIN = 10         # of what takes a moment each
CREATORS = 6       # at once
REQUIRE, REV, LOG_LEVEL = "fairlead.io/require", "fairlead.io/rev", "fairlead.io/log-level"
IN, OUT = ["fairlead-proxy", "app"], ["app"]


def a_space(name, labels=None, annotations=None):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}}}


def log_level(pod):
    arguments = pod["spec"]["initContainers"][0]["args"]
    return arguments[arguments.index("-l") + 1]


class Namespaces(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.webhook = Webhook(cls)
        cls.numbers = itertools.count()

    def space(self, **how):
        return self.webhook.namespace(self, **how)

    def together(self, labels, annotations=None, pod_labels=None):
        """What `kubectl apply -f` of one file does: Namespace, ServiceAccount, Pod, one after the other."""
        name = f"together-{next(self.numbers)}"
        self.api.create(a_space(name, labels, annotations))
        self.addCleanup(self.api.delete, "v1", "Namespace", name, missing_ok=True)
        self.left.append(name)
        self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": name}})
        return self.api.create(a_pod("app", name, pod_labels, serviceAccountName="app"))

    def in_parallel(self, calls):
        """Their results, in order; of several creators at once."""
        with concurrent.futures.ThreadPoolExecutor(CREATORS) as pool:
            futures = [pool.submit(call) for call in calls]
            return [future.result() for future in futures]

    def test_applied_together(self):
        """200 namespaces with their pods, by several at once: none uninjected, and each with its namespace's settings."""
        levels = itertools.cycle(("debug", "warning", None))
        wanted = [next(levels) for _ in range(TOGETHER)]

        def one(level):
            return self.together({INJECT: "enabled"}, {LOG_LEVEL: level} if level else {})
        made = self.in_parallel([lambda level=level: one(level) for level in wanted])
        self.assertEqual([pod.namespace for pod in made if containers(pod) != IN], [])
        self.assertEqual([log_level(pod) for pod in made], [level or "info" for level in wanted])

    def test_other_kinds_together(self):
        """The pod's own label, a requirement, an opt-out, a namespace that says nothing: as their labels say."""
        kinds = [({}, {INJECT: "enabled"}, IN), ({REQUIRE: "true"}, {}, IN), ({INJECT: "enabled"}, {INJECT: "disabled"}, OUT),
                 ({}, {}, OUT), ({INJECT: "disabled"}, {INJECT: "enabled"}, IN), ({INJECT: "enabled", REV: "other"}, {}, OUT)]
        made = self.in_parallel([lambda row=row: self.together(row[0], pod_labels=row[1]) for row in kinds * 3])
        self.assertEqual([containers(pod) for pod in made], [row[2] for row in kinds * 3])

    def test_required_together(self):
        """A pod that opts out of a namespace that was made just now, and requires the mesh: refused each time."""
        def one():
            with self.assertRaises(ApiError) as raised:
                self.together({REQUIRE: "true"}, pod_labels={INJECT: "disabled"})
            return raised.exception.message
        for message in self.in_parallel([one] * AGAIN):
            self.assertIn("[required]", message)

    def test_labelled_afterwards(self):
        """A namespace that the webhook has known for long is labelled, and a pod is created at once."""
        spaces = [self.space() for _ in range(AGAIN)]
        for space in spaces:
            self.assertEqual(containers(self.api.create(a_pod("before", space))), OUT)
        audit, missed = Audit(), []
        for space in spaces:
            self.api.label("v1", "Namespace", space, **{INJECT: "enabled"})
            pod = self.api.create(a_pod("after", space))
            if containers(pod) != IN:
                missed.append(space)
        for space in missed:
            event = audit.wait(verb="create", resource="pods", name="after", namespace=space)
            self.assertEqual((asked(event), told(event)), ([], {}), "it was asked, and let a pod out that was in")
        for space in spaces:
            eventually(lambda where=space: containers(self.api.create(a_pod("later", where), dry_run=True)) == IN, "in")

    def test_required_afterwards(self):
        """The same of a requirement: whoever is asked about a pod that opts out refuses it."""
        audit, passed = Audit(), []
        for space in [self.space(inject="enabled") for _ in range(AGAIN)]:
            self.api.label("v1", "Namespace", space, **{REQUIRE: "true"})
            _, error = self.outcome(a_pod("out", space, {INJECT: "disabled"}))
            if error is None:
                passed.append(space)
            else:
                self.assertIn("[required]", error.message)
        for space in passed:
            event = audit.wait(verb="create", resource="pods", name="out", namespace=space)
            self.assertEqual(asked(event), [])

    def test_label_removed(self):
        space = self.space(inject="enabled")
        self.assertEqual(containers(self.api.create(a_pod("before", space))), IN)
        self.api.label("v1", "Namespace", space, **{INJECT: None})
        eventually(lambda: containers(self.api.create(a_pod("after", space), dry_run=True)) == OUT, "out")
        self.assertEqual(containers(self.api.create(a_pod("own", space, {INJECT: "enabled"}))), IN)

    def test_annotation_changed(self):
        space = self.space(inject="enabled", annotations={LOG_LEVEL: "debug"})
        self.assertEqual(log_level(self.api.create(a_pod("first", space))), "debug")
        for level in ("trace", "error", None):
            self.api.patch("v1", "Namespace", space, {"metadata": {"annotations": {LOG_LEVEL: level}}})
            eventually(lambda wanted=level: log_level(self.api.create(a_pod("next", space), dry_run=True)) == (wanted or "info"),
                       f"the namespace's log level is {level}")

    def test_made_again(self):
        """Under the same name, with other labels each time."""
        name = self.unique("again")
        for labels, wanted in (({INJECT: "enabled"}, IN), ({}, OUT), ({REQUIRE: "true"}, IN), ({INJECT: "disabled"}, OUT), ({INJECT: "enabled"}, IN)):
            self.api.create(a_space(name, labels))
            self.addCleanup(self.api.delete, "v1", "Namespace", name, missing_ok=True)
            self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": name}})
            pod = self.api.create(a_pod("app", name, serviceAccountName="app"))
            self.assertEqual(containers(pod), wanted, labels)
            self.api.delete("v1", "Namespace", name)
            self.api.wait_gone("v1", "Namespace", name, patience=GONE)  # it queues behind those of other tests

    def test_many_creators(self):
        """Pods of namespaces that are in and out, by several at once, while labels of others change."""
        spaces = {self.space(inject="enabled"): IN, self.space(): OUT, self.space(labels={REQUIRE: "true"}): IN}
        restless, over = self.space(), threading.Event()

        def relabel():
            for value in itertools.cycle(("enabled", "disabled", None)):
                if over.is_set():
                    return
                self.api.label("v1", "Namespace", restless, **{INJECT: value})
        changing = threading.Thread(target=relabel)
        changing.start()
        try:
            names = list(spaces) * 40
            made = self.in_parallel([lambda space=space, n=n: self.api.create(a_pod(f"pod-{n}", space), dry_run=True)
                                     for n, space in enumerate(names)])
        finally:
            over.set()
            changing.join()
        self.assertEqual([containers(pod) for pod in made], [spaces[name] for name in names])

    def test_webhook_just_started(self):
        """It has no namespaces yet when it starts: it is not ready before it has them, and never lets a pod out by guess."""
        space, plain = self.space(inject="enabled"), self.space()
        for _ in range(3):
            self.assertEqual(self.webhook.process.stop(), 0)
            self.webhook.start()
            self.assertEqual(containers(self.api.create(a_pod("in", space), dry_run=True)), IN)
            self.assertEqual(containers(self.api.create(a_pod("out", plain), dry_run=True)), OUT)


if __name__ == "__main__":
    main()
