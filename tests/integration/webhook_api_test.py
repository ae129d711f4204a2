#!/usr/bin/env python3
"""fairlead-webhook with namespaces of an API server: a fake one, which lags, forgets, refuses and goes away.

usage: webhook_api_test.py FOLDER-OF-PROGRAMS [unittest options]
"""
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

import kube_api
import webhook_test
from webhook_test import Authority, pod, review

ENABLED = {"fairlead.io/inject": "enabled"}
PRIVATE_MAX_KIB = 10 << 10  # of the webhook with 10,000 namespaces


class Webhook(webhook_test.Webhook):
    def __init__(self, folder, authority, api):
        self.api = api
        super().__init__(folder, authority, "--kubeconfig", str(api.kubeconfig()), namespaces=None)

    def ready(self):
        response, text = self.ask("GET", "/readyz")
        return response.status, text

    def until_metric(self, name, value):
        """A metric comes in time: nothing else tells that a watch has been told of a change."""
        end = time.monotonic() + 15
        while self.metric(name) != value:
            if time.monotonic() > end:
                raise AssertionError(f"{name} is {self.metric(name)}, not {value}")

    def until_namespaces(self, count):
        self.until_metric("fairlead_webhook_namespaces", count)

    def gets(self, result="found"):
        return self.metric(f'fairlead_webhook_namespace_gets_total{{result="{result}"}}')


class Base(webhook_test.Base):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-webhook-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority(self.folder)
        self.api = kube_api.Api(self.folder, self.authority)
        self.addCleanup(self.api.stop)
        self.addCleanup(self.api.gate.set)
        self.prepare()
        self.webhook = Webhook(self.folder, self.authority, self.api)
        self.addCleanup(self.webhook.stop)
        self.settle()

    def prepare(self):
        self.api.put("shop", ENABLED)
        self.api.put("plain")

    def settle(self):
        self.webhook.wait("namespaces synced")
        self.api.wait_for(lambda: self.api.streams == 1)

    def injected(self, namespace, thing=None):
        answer = self.admit(review(thing or pod(), namespace=namespace))
        self.assertTrue(answer["allowed"], answer)
        return "patch" in answer

    def refused(self, namespace, words, thing=None):
        answer = self.admit(review(thing or pod(), namespace=namespace))
        self.assertFalse(answer["allowed"])
        self.assertEqual((answer["status"]["code"], answer["status"]["reason"]), (503, "ServiceUnavailable"))
        self.assertIn(words, answer["status"]["message"])
        self.assertIn("[namespace_unknown]", answer["status"]["message"])
        self.assertEqual(answer["auditAnnotations"]["reason"], "namespace_unknown")


class Followed(Base):
    def test_list_and_changes(self):
        self.assertEqual(self.webhook.ready()[0], 200)
        self.assertTrue(self.injected("shop"))
        self.assertEqual(self.webhook.gets(), 0)  # what is known and in needs no question
        self.api.put("more", ENABLED)
        self.webhook.until_namespaces(3)
        self.assertTrue(self.injected("more"))
        self.assertEqual(self.webhook.gets(), 0)
        self.api.delete("more")
        self.webhook.until_namespaces(2)
        self.assertEqual(self.api.bad_accepts, [])  # metadata alone

    def test_annotations_of_the_namespace(self):
        self.api.put("set", ENABLED, {"fairlead.io/log-level": "debug", "other": "x" * 1000})
        self.webhook.until_namespaces(3)
        answer = self.admit(review(namespace="set"))
        self.assertIn("debug", webhook_test.base64.b64decode(answer["patch"]).decode())

    def follows(self):
        """A change is told by the stream; so it has proved good, and the next back-off begins anew."""
        known = len(self.api.objects)
        self.api.put(f"one-more-{known}", ENABLED)
        self.webhook.until_namespaces(known + 1)

    def test_cut_while_things_change(self):
        self.api.put("gone", ENABLED)
        self.webhook.until_namespaces(3)
        self.api.answers["watch"] = (503, {})
        self.api.cut()
        self.api.wait_for(lambda: self.api.streams == 0)
        self.api.delete("gone")
        self.api.put("come", ENABLED)
        self.api.put("come-too", ENABLED)
        self.api.compact()  # so that no event will tell
        self.api.answers.clear()
        self.webhook.until_namespaces(4)
        self.assertTrue(self.injected("come"))
        self.refused("gone", "not found")

    def test_streams_that_are_broken(self):
        for garbage in (b'{"type":"ADDED","object":{"metadata":{"na', b"not JSON\n", b"x" * (5 << 20),
                        b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'):
            with self.subTest(garbage[:20]):
                self.api.wait_for(lambda: self.api.streams == 1)
                before = len(self.api.requests)
                self.api.garbage = garbage
                self.api.cut()
                self.api.wait_for(lambda: self.api.garbage is None and self.api.streams == 1 and
                                  len(self.api.requests) >= before + 2)
                self.assertTrue(self.injected("shop"))
                self.follows()

    def test_refused_for_a_while(self):
        for kind, answer in (("watch", (429, {"Retry-After": "1"})), ("watch", (500, {})), ("watch", (403, {})),
                             ("list", (500, {}))):
            with self.subTest(kind, answer=answer):
                troubles = self.webhook.metric("fairlead_webhook_namespace_watch_troubles_total")
                self.api.answers[kind] = answer
                if kind == "list":
                    self.api.compact()
                self.api.cut()
                end = time.monotonic() + 15
                while self.webhook.metric("fairlead_webhook_namespace_watch_troubles_total") == troubles:
                    self.assertLess(time.monotonic(), end)
                self.assertTrue(self.injected("shop"))  # what was known still is
                self.assertEqual(self.webhook.ready()[0], 200)
                self.api.answers.clear()
                self.api.wait_for(lambda: self.api.streams == 1)
                self.follows()


class Stale(Base):
    def test_unknown_namespace(self):
        self.api.hold_watches(True)
        self.api.put("new", ENABLED)
        self.assertTrue(self.injected("new"))
        self.assertEqual(self.webhook.gets(), 1)
        self.assertTrue(self.injected("new"))  # now it is known
        self.assertEqual(self.webhook.gets(), 1)

    def test_label_that_is_known_too_late(self):
        self.api.hold_watches(True)
        self.api.put("plain", ENABLED)
        self.assertTrue(self.injected("plain"))
        self.api.put("shop", {"fairlead.io/inject": "enabled", "fairlead.io/require": "true"})
        answer = self.admit(review(pod(labels={"fairlead.io/inject": "disabled"}), namespace="shop"))
        self.assertFalse(answer["allowed"])  # required, which only the API server knew
        self.assertIn("[required]", answer["status"]["message"])

    def test_out_is_confirmed(self):
        self.assertFalse(self.injected("plain"))
        self.assertEqual(self.webhook.gets(), 1)

    def test_together_200_times(self):
        uninjected = []
        for i in range(200):
            self.api.hold_watches(i % 3 == 0)
            self.api.put(f"together-{i}", ENABLED)
            if not self.injected(f"together-{i}"):
                uninjected.append(i)
        self.assertEqual(uninjected, [])

    def test_many_share_one(self):
        self.api.hold_watches(True)
        self.api.put("crowd", ENABLED)
        self.api.gate.clear()
        results = []

        def one():
            results.append(self.injected("crowd"))

        first = threading.Thread(target=one)
        first.start()
        self.api.wait_for(lambda: "/api/v1/namespaces/crowd" in self.api.requests)
        others = [threading.Thread(target=one) for _ in range(20)]
        for thread in others:
            thread.start()
        self.api.gate.set()
        for thread in (first, *others):
            thread.join()
        self.assertEqual(results, [True] * 21)
        self.assertLessEqual(self.api.gets("crowd"), 3)

    def test_a_label_set_while_it_is_asked_for(self):
        """Who came after the question was sent gets the answer of the next one."""
        self.api.hold_watches(True)
        self.api.gate.clear()
        self.api.put("late")
        answers = {}
        first = threading.Thread(target=lambda: answers.update(first=self.injected("late")))
        first.start()
        self.api.wait_for(lambda: "/api/v1/namespaces/late" in self.api.requests)
        self.api.put("late", ENABLED)
        second = threading.Thread(target=lambda: answers.update(second=self.injected("late")))
        second.start()
        self.api.gate.set()
        first.join()
        second.join()
        self.assertTrue(answers["second"])

    def test_an_answer_that_the_watch_overtook(self):
        """An answer is older than what the watch told while it was on its way: it must not stay."""
        self.api.overtaken = True
        self.api.gate.clear()
        out = pod(labels={"fairlead.io/inject": "disabled"})
        asking = threading.Thread(target=lambda: self.injected("shop", out))
        asking.start()
        self.api.wait_for(lambda: "/api/v1/namespaces/shop" in self.api.requests)
        self.api.put("shop", ENABLED, {"fairlead.io/log-level": "debug"})
        self.api.put("marker")
        self.webhook.until_namespaces(3)  # the watch has told of both
        self.api.gate.set()
        asking.join()
        answer = self.admit(review(namespace="shop"))
        self.assertIn("debug", webhook_test.base64.b64decode(answer["patch"]).decode())
        self.assertEqual(self.webhook.gets(), 1)

    def test_not_there(self):
        self.refused("nowhere", 'namespaces "nowhere" not found')
        self.assertEqual(self.webhook.gets("absent"), 1)

    def test_names_that_are_none(self):
        for name in ("a/b", "..", "A", "x" * 64, "a?watch=1"):
            with self.subTest(name):
                answer = self.admit(review(namespace=name))
                self.assertFalse(answer["allowed"])
        self.assertFalse([path for path in self.api.requests if path.startswith("/api/v1/namespaces/")])


class Away(Base):
    def test_later(self):
        self.api.stop()
        self.assertTrue(self.injected("shop"))
        self.refused("plain", "try again")
        self.refused("unknown", "try again", pod(labels=ENABLED))
        self.api.put("unknown")
        self.api.start()
        self.assertTrue(self.injected("unknown", pod(labels=ENABLED)))
        self.assertFalse(self.injected("plain"))
        self.webhook.until_namespaces(3)

    def test_silent(self):
        self.api.gate.clear()
        self.refused("plain", "try again")
        self.assertEqual(self.webhook.gets("failed"), 1)
        self.assertTrue(self.injected("shop"))

    def test_forbidden(self):
        self.api.answers["get"] = (403, {})
        self.refused("plain", "403 Forbidden: as the test wants it")
        self.assertEqual(self.webhook.gets("refused"), 1)

    def test_token_that_rotates(self):
        self.api.set_token("second")
        self.assertFalse(self.injected("plain"))
        self.assertEqual(self.webhook.gets(), 1)
        self.api.set_token("third", accept=False)  # not good (yet)
        self.refused("plain", "401 Unauthorized")
        self.api.set_token("third")
        self.assertFalse(self.injected("plain"))

    def test_drain_while_one_waits(self):
        self.api.gate.clear()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.injected("plain")))
        thread.start()
        self.api.wait_for(lambda: "/api/v1/namespaces/plain" in self.api.requests)
        self.webhook.process.send_signal(signal.SIGTERM)
        self.webhook.wait("draining")
        self.api.gate.set()
        thread.join()
        self.assertEqual(answers, [False])
        self.end()


class AwayAtStart(Base):
    def prepare(self):
        super().prepare()
        self.api.stop()

    def settle(self):
        pass

    def test_comes_later(self):
        self.webhook.wait("trouble with the API server, will try again")
        status, text = self.webhook.ready()
        self.assertEqual((status, text), (503, b"the namespaces are not known yet\n"))
        self.assertEqual(self.webhook.ask("GET", "/healthz")[0].status, 200)
        self.refused("shop", "try again")
        self.api.start()
        self.webhook.wait("namespaces synced", namespaces=2)
        self.assertEqual(self.webhook.ready()[0], 200)
        self.assertTrue(self.injected("shop"))


class Thousands(Base):
    COUNT = 10000

    def prepare(self):
        for i in range(self.COUNT):
            self.api.put(f"team-{i}", {"kubernetes.io/metadata.name": f"team-{i}", "owner": "x" * 60,
                                       **(ENABLED if i % 2 else {})}, {"note": "y" * 400})

    def private_kib(self):
        text = pathlib.Path(f"/proc/{self.webhook.process.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))

    def test_memory(self):
        self.assertEqual(self.webhook.metric("fairlead_webhook_namespaces"), self.COUNT)
        self.assertTrue(self.injected("team-9999"))
        private = self.private_kib()
        print(f"\n{self.COUNT} namespaces: {private} KiB private", file=sys.stderr)
        if b"__asan" not in pathlib.Path(webhook_test.PROGRAM).read_bytes():  # whose memory is another matter
            self.assertLess(private, PRIVATE_MAX_KIB)


if __name__ == "__main__":
    webhook_test.PROGRAM = os.path.join(sys.argv.pop(1), "fairlead-webhook")
    unittest.main()
