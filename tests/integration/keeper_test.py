#!/usr/bin/env python3
"""fairlead-keeper as a process, against an API server in memory: Secrets, caBundles, Lease, trouble, and the rotation of
leaf and root under a stream of TLS handshakes that are verified as the API server does it, against the real webhook.

usage: keeper_test.py FOLDER-OF-PROGRAMS [unittest options]
"""
import base64
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import fake_api

PROGRAMS = None
NAMESPACE = "fairlead-system"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
TLS, CA, LEASE = f"{SECRETS}/fairlead-webhook-tls", f"{SECRETS}/fairlead-webhook-ca", f"{LEASES}/fairlead-keeper"
NAME = f"fairlead-webhook.{NAMESPACE}.svc"
# Leaf of 12 s, renewed after 4; root of 40 s, replaced after 20.
QUICK = ("--validity", "12", "--renew-before", "8", "--ca-validity", "40", "--propagation", "1", "--overlap", "6")


def configuration(name, *webhooks, labels=None):
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name, "labels": labels or {}},
            "webhooks": [{"name": webhook, "sideEffects": "None", "clientConfig": {"service": {
                "name": "fairlead-webhook", "namespace": NAMESPACE, "path": "/inject"}}} for webhook in webhooks]}


def decoded(item, key):
    return base64.b64decode(item["data"][key]).decode()


def bundles(store, path):
    """The caBundle of each webhook, as PEM; None where there is none."""
    return [base64.b64decode(hook["clientConfig"]["caBundle"]).decode() if hook["clientConfig"].get("caBundle") else None
            for hook in store.objects[path]["webhooks"]]


def roots(pem):
    return pem.count("BEGIN CERTIFICATE")


class Process:
    """A program whose log lines are events."""

    def __init__(self, arguments):
        self.lines, self.history = queue.Queue(), []
        self.process = subprocess.Popen([str(argument) for argument in arguments], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def wait(self, message, seconds=60, **fields):
        end = time.monotonic() + seconds
        while True:
            try:
                entry = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"never said {message!r} {fields}: {self.history[-6:]}") from None
            if entry is None:
                raise AssertionError(f"ended before it said {message!r}: {self.history[-6:]}")
            self.history.append(entry)
            if entry["message"] == message and all(entry.get(key) == value for key, value in fields.items()):
                return entry

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)
        self.process.stderr.close()


class KeeperTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-keeper-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.api = fake_api.FakeApi()
        self.addCleanup(self.api.close)
        self.store = self.api.store
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(self.api.kubeconfig())
        self.main = self.store.create(CONFIGURATIONS, configuration("fairlead-webhook", "a.fairlead.io", "b.fairlead.io"))
        self.path = f"{CONFIGURATIONS}/fairlead-webhook"

    def keeper(self, *options, configurations=("fairlead-webhook",), identity=None, **_):
        arguments = [PROGRAMS / "fairlead-keeper", "--kubeconfig", self.kubeconfig, "--log-level", "debug",
                     "--lease-duration", "3"]
        for name in configurations:
            arguments += ["--configuration", name]
        if identity:
            arguments += ["--identity", identity]
        process = Process([*arguments, *options])
        self.addCleanup(process.kill)
        return process

    def settled(self, keeper):
        return keeper.wait("waiting")

    def verify(self, leaf, bundle):
        """As the API server does: the chain, the time and the name."""
        for name, text in (("leaf", leaf), ("bundle", bundle)):
            (self.folder / f"{name}.pem").write_text(text)
        result = subprocess.run(["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", NAME, "-x509_strict", "-CAfile",
                                 self.folder / "bundle.pem", self.folder / "leaf.pem"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr + result.stdout)

    def text_of(self, pem):
        return subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, text=True,
                              check=True).stdout


class Fresh(KeeperTest):
    def test_everything_is_made_and_then_it_is_quiet(self):
        keeper = self.keeper()
        self.settled(keeper)
        tls, ca = self.store.objects[TLS], self.store.objects[CA]
        self.assertEqual(tls["type"], "kubernetes.io/tls")
        self.assertEqual(set(tls["data"]), {"tls.crt", "tls.key", "ca.crt"})
        self.assertEqual(set(ca["data"]), {"ca.crt", "ca.key"})
        self.assertNotIn("ca.key", tls["data"])
        for bundle in bundles(self.store, self.path):
            self.assertEqual(bundle, decoded(ca, "ca.crt"))
            self.verify(decoded(tls, "tls.crt"), bundle)
        leaf, root = self.text_of(decoded(tls, "tls.crt")), self.text_of(decoded(ca, "ca.crt"))
        self.assertIn(f"DNS:{NAME}, DNS:{NAME}.cluster.local\n", leaf)
        self.assertIn("TLS Web Server Authentication\n", leaf)
        self.assertIn("CA:TRUE, pathlen:0", root)
        self.assertIn("prime256v1", leaf)
        self.assertRegex(tls["metadata"]["annotations"]["fairlead.io/not-after"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        # Two more renewals of the Lease, and not one write or read beside them.
        writes, reads = len(self.store.writes), len([path for path in self.store.reads if path != LEASE])
        self.store.wait(lambda store: len(store.writes) >= writes + 2)
        self.assertEqual({path for _, path, _ in self.store.writes[writes:]}, {LEASE})
        self.assertLessEqual(len([path for path in self.store.reads if path != LEASE]) - reads, 8)
        self.assertEqual(keeper.end(), 0)
        self.assertEqual(self.store.objects[LEASE]["spec"]["holderIdentity"], "")

    def test_only_our_webhooks_are_written(self):
        other = configuration("fairlead-webhook-canary", "ours.fairlead.io", "other.fairlead.io", "url.fairlead.io")
        other["webhooks"][1]["clientConfig"]["service"]["name"] = "somebody-else"
        other["webhooks"][2]["clientConfig"] = {"url": "https://127.0.0.1:8443/inject"}
        self.store.create(CONFIGURATIONS, other)
        keeper = self.keeper(configurations=("fairlead-webhook", "fairlead-webhook-canary", "not-there"))
        self.settled(keeper)
        found = bundles(self.store, f"{CONFIGURATIONS}/fairlead-webhook-canary")
        root = decoded(self.store.objects[CA], "ca.crt")
        self.assertEqual(found, [root, None, root])
        self.assertEqual(bundles(self.store, self.path), [root, root])

    def test_by_selector_and_a_configuration_that_comes_later(self):
        self.store.edit(self.path, lambda item: item["metadata"].update(labels={"app": "fairlead"}))
        keeper = self.keeper("--configuration-selector", "app=fairlead", configurations=())
        self.settled(keeper)
        self.store.create(CONFIGURATIONS, configuration("fairlead-webhook-new", "n.fairlead.io", labels={"app": "fairlead"}))
        keeper.wait("publish", object="fairlead-webhook-new")
        self.assertEqual(bundles(self.store, f"{CONFIGURATIONS}/fairlead-webhook-new"),
                         [decoded(self.store.objects[CA], "ca.crt")])


class Edits(KeeperTest):
    def setUp(self):
        super().setUp()
        self.process = self.keeper("--propagation", "1", "--overlap", "1")
        self.settled(self.process)

    def test_a_wiped_bundle_comes_back(self):
        root = decoded(self.store.objects[CA], "ca.crt")
        self.store.edit(self.path, lambda item: item["webhooks"][0]["clientConfig"].pop("caBundle"))
        self.process.wait("publish")
        self.assertEqual(bundles(self.store, self.path), [root, root])

    def test_garbage_in_the_bundle_goes(self):
        root = decoded(self.store.objects[CA], "ca.crt")
        garbage = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
        self.store.edit(self.path, lambda item: item["webhooks"][1]["clientConfig"].update(caBundle=garbage))
        self.process.wait("publish")
        self.assertEqual(bundles(self.store, self.path), [root, root])

    def test_a_lost_leaf_is_made_anew(self):
        before = decoded(self.store.objects[TLS], "tls.crt")
        self.store.delete(TLS)
        self.process.wait("make leaf")
        self.assertNotEqual(decoded(self.store.objects[TLS], "tls.crt"), before)

    def test_garbage_in_the_leaf_secret_and_others_keys_stay(self):
        def spoil(item):
            item["data"]["tls.key"] = base64.b64encode(b"nothing").decode()
            item["data"]["keystore.p12"] = "AAAA"
            item["metadata"]["labels"]["team"] = "red"
        self.store.edit(TLS, spoil)
        self.process.wait("make leaf")
        item = self.store.objects[TLS]
        self.assertEqual(item["data"]["keystore.p12"], "AAAA")
        self.assertEqual(item["metadata"]["labels"]["team"], "red")
        self.verify(decoded(item, "tls.crt"), bundles(self.store, self.path)[0])

    def test_a_lost_root_is_replaced_beside_the_old_one(self):
        old, leaf = decoded(self.store.objects[CA], "ca.crt"), decoded(self.store.objects[TLS], "tls.crt")
        self.store.delete(CA)
        self.process.wait("make root")
        self.process.wait("publish")
        both = bundles(self.store, self.path)[0]
        self.assertEqual(roots(both), 2)
        self.verify(leaf, both)
        self.process.wait("make leaf")
        self.process.wait("drop old roots")
        self.process.wait("publish")
        last = bundles(self.store, self.path)[0]
        self.assertEqual(roots(last), 1)
        self.assertNotIn(old, last)
        self.verify(decoded(self.store.objects[TLS], "tls.crt"), last)

    def test_a_bundle_of_another_manager_is_left_and_told(self):
        stranger = base64.b64encode(decoded(self.store.objects[CA], "ca.crt").encode() * 0 + b"x").decode()

        def take(item):
            item["webhooks"][0]["clientConfig"]["caBundle"] = stranger
            item["metadata"]["owners"] = {"a.fairlead.io": "cainjector"}
        self.store.edit(self.path, take)
        entry = self.process.wait("the caBundle belongs to another field manager; see --force-conflicts")
        self.assertEqual((entry["configuration"], entry["manager"]), ("fairlead-webhook", "cainjector"))
        self.assertEqual(self.store.objects[self.path]["webhooks"][0]["clientConfig"]["caBundle"], stranger)


class Force(KeeperTest):
    def test_force_takes_the_field(self):
        def take(item):
            item["webhooks"][0]["clientConfig"]["caBundle"] = base64.b64encode(b"x").decode()
            item["metadata"]["owners"] = {"a.fairlead.io": "kubectl-edit"}
        self.store.edit(self.path, take)
        keeper = self.keeper("--force-conflicts")
        keeper.wait("publish")
        self.assertEqual(self.store.objects[self.path]["metadata"]["owners"]["a.fairlead.io"], "fairlead-keeper")


class External(KeeperTest):
    def test_another_manager_is_the_source(self):
        first = self.keeper()
        self.settled(first)
        self.assertEqual(first.end(), 0)
        self.store.delete(CA)
        self.store.edit(self.path, lambda item: [hook["clientConfig"].pop("caBundle") for hook in item["webhooks"]])
        self.store.edit(TLS, lambda item: item["metadata"].setdefault("annotations", {}).update(
            {"cert-manager.io/certificate-name": "webhook"}))
        refused = self.keeper()
        self.assertIn("cert-manager", refused.wait("will try again")["error"])
        self.assertEqual(refused.end(), 0)
        secret = json.dumps(self.store.objects[TLS])
        external = self.keeper("--external")
        external.wait("publish")
        self.assertEqual(bundles(self.store, self.path), [decoded(self.store.objects[TLS], "ca.crt")] * 2)
        self.settled(external)
        self.assertEqual(json.dumps(self.store.objects[TLS]), secret)
        self.assertNotIn(CA, self.store.objects)


class Trouble(KeeperTest):
    def test_an_api_server_that_often_fails_and_drops_connections(self):
        luck = random.Random(5)

        def trouble(method, path):
            number = luck.random()
            if number < 0.12:
                raise fake_api.Refused(503, "ServiceUnavailable", "etcd is on holiday")
            return "drop" if number < 0.18 else None
        self.store.trouble = trouble
        keeper = self.keeper("--lease-duration", "6")
        self.settled(keeper)
        self.assertEqual(bundles(self.store, self.path), [decoded(self.store.objects[CA], "ca.crt")] * 2)

    def test_one_configuration_that_may_not_be_written_keeps_nothing_from_the_others(self):
        self.store.create(CONFIGURATIONS, configuration("zzz", "z.fairlead.io"))

        def trouble(method, path):
            if method == "PATCH" and path == self.path:
                raise fake_api.Refused(403, "Forbidden", "a policy says no")
        self.store.trouble = trouble
        keeper = self.keeper(configurations=("fairlead-webhook", "zzz"))
        entry = keeper.wait("will try again")
        self.assertIn("fairlead-webhook: ", entry["error"])
        self.assertIn("a policy says no", entry["error"])
        self.assertEqual(bundles(self.store, f"{CONFIGURATIONS}/zzz"), [decoded(self.store.objects[CA], "ca.crt")])
        self.store.trouble = None
        self.settled(keeper)
        self.assertEqual(bundles(self.store, self.path), [decoded(self.store.objects[CA], "ca.crt")] * 2)

    def test_it_starts_while_the_api_server_is_away(self):
        away = threading.Event()
        away.set()
        seen = threading.Event()

        def trouble(method, path):
            seen.set()
            return "drop" if away.is_set() else None
        self.store.trouble = trouble
        keeper = self.keeper()
        keeper.wait("cannot keep the Lease")
        self.assertTrue(seen.is_set())
        away.clear()
        self.settled(keeper)
        self.assertEqual(keeper.end(), 0)

    def test_somebody_is_quicker_with_the_secret(self):
        """Made between our read and our write: 409, and theirs is taken as it is."""
        once = threading.Event()
        other = self.keeper()
        self.settled(other)
        self.assertEqual(other.end(), 0)
        theirs = self.store.get(CA)
        self.store.delete(CA)

        def trouble(method, path):
            if method == "POST" and path == SECRETS and not once.is_set():
                once.set()
                self.store.create(SECRETS, theirs)
        self.store.trouble = trouble
        keeper = self.keeper()
        self.settled(keeper)
        self.assertTrue(once.is_set())
        self.assertEqual(self.store.objects[CA]["data"], theirs["data"])


class Election(KeeperTest):
    def test_one_of_two_acts_and_the_other_takes_over_when_it_is_killed(self):
        one = self.keeper(identity="one")
        self.settled(one)
        two = self.keeper(identity="two")
        two.wait("ready")
        writes = len(self.store.writes)
        self.store.wait(lambda store: len(store.writes) > writes + 2)
        self.assertEqual(self.store.objects[LEASE]["spec"]["holderIdentity"], "one")
        one.kill()
        self.assertEqual(two.wait("acquired the Lease")["identity"], "two")
        self.assertEqual(self.store.objects[LEASE]["spec"]["leaseTransitions"], 1)
        self.settled(two)
        self.store.delete(TLS)
        two.wait("make leaf")

    def test_a_released_lease_is_taken_at_once(self):
        one = self.keeper("--lease-duration", "60", identity="one")
        self.settled(one)
        self.assertEqual(one.end(), 0)
        two = self.keeper("--lease-duration", "60", identity="two")
        two.wait("acquired the Lease")

    def test_a_holder_whose_lease_is_stolen_stops(self):
        one = self.keeper(identity="one")
        self.settled(one)
        self.store.edit(LEASE, lambda item: item["spec"].update(holderIdentity="thief", leaseDurationSeconds=3600))
        entry = one.wait("lost the Lease")
        self.assertEqual(entry["holder"], "thief")
        writes = len(self.store.writes)
        reads = len(self.store.reads)
        self.store.delete(TLS)
        end = time.monotonic() + 60
        while len(self.store.reads) < reads + 2:  # it goes on reading the Lease, and does nothing else
            self.assertLess(time.monotonic(), end)
            threading.Event().wait(0.05)
        self.assertEqual(len(self.store.writes), writes)
        self.assertNotIn(TLS, self.store.objects)


class Mirror:
    """What the kubelet does with a Secret's volume: a new folder, and `..data` renamed onto it. A little late."""

    def __init__(self, folder, store, delay):
        self.folder, self.store, self.delay = folder, store, delay
        folder.mkdir()
        self.number, self.version = 0, None
        self.stopping = threading.Event()
        self.update()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def update(self):
        item = self.store.get(TLS)
        if item["metadata"]["resourceVersion"] == self.version:
            return
        self.version = item["metadata"]["resourceVersion"]
        self.swap({key: base64.b64decode(value) for key, value in item["data"].items()})

    def swap(self, files):
        self.number += 1
        fresh = self.folder / f"..{self.number}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        (self.folder / "..data_tmp").symlink_to(fresh.name)
        old = self.folder / "..data"
        before = os.readlink(old) if old.is_symlink() else None
        os.rename(self.folder / "..data_tmp", old)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before:
            shutil.rmtree(self.folder / before)

    def run(self):
        while not self.stopping.wait(random.uniform(0, self.delay)):
            self.update()

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()


class Rotation(KeeperTest):
    def webhook(self, volume):
        namespaces = self.folder / "namespaces.yaml"
        namespaces.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
        process = Process([PROGRAMS / "fairlead-webhook", "--listen", "127.0.0.1:0", "--tls-cert", volume / "tls.crt",
                           "--tls-key", volume / "tls.key", "--namespaces", namespaces])
        self.addCleanup(process.kill)
        return process, process.wait("ready")["port"]

    def handshake(self, port, bundle):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=bundle)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname=NAME) as stream:
                return stream.getpeercert(binary_form=True)

    def test_leaf_and_root_under_a_stream_of_handshakes(self):
        """Two webhooks that get their Secret late, and API servers that use a caBundle of a moment ago. A keeper is
        killed on the way; the next one goes on."""
        keeper = self.keeper(*QUICK, identity="one")
        self.settled(keeper)
        ports, mirrors = [], []
        for number in range(2):
            mirror = Mirror(self.folder / f"volume{number}", self.store, 1)
            mirrors.append(mirror)
            ports.append(self.webhook(mirror.folder)[1])
            mirror.start()
            self.addCleanup(mirror.stop)
        failures, leaves, seen_bundles = [], set(), set()
        stopping = threading.Event()

        def ask(port):
            late = None
            while not stopping.is_set():
                now = bundles(self.store, self.path)
                for bundle in [late or now[0], *now]:  # one that is a handshake old
                    seen_bundles.add(bundle)
                    try:
                        leaves.add(self.handshake(port, bundle))
                    except (OSError, ssl.SSLError) as error:
                        failures.append((time.time(), str(error), roots(bundle)))
                late = now[0]
                stopping.wait(0.02)
        threads = [threading.Thread(target=ask, args=(port,)) for port in ports]
        for thread in threads:
            thread.start()
        try:
            keeper.wait("make next root")
            keeper.kill()
            keeper = self.keeper(*QUICK, identity="two")
            for step in ("promote next root", "make leaf", "drop old roots", "publish"):
                keeper.wait(step)
            keeper.wait("make leaf")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(len(leaves), 3)
        self.assertGreaterEqual(len(seen_bundles), 3)
        self.assertEqual(keeper.end(), 0)

    def test_a_volume_that_is_swapped_fails_no_handshake(self):
        """The webhook alone: thirty swaps of `..data` between two pairs of one root."""
        keeper = self.keeper()
        self.settled(keeper)
        pairs = []
        for _ in range(2):
            pairs.append({key: base64.b64decode(value) for key, value in self.store.objects[TLS]["data"].items()})
            self.store.delete(TLS)
            keeper.wait("make leaf")
        self.assertNotEqual(*pairs)
        bundle = bundles(self.store, self.path)[0]
        mirror = Mirror(self.folder / "volume", self.store, 1)
        webhook, port = self.webhook(mirror.folder)
        failures, done = [], threading.Event()

        def ask():
            while not done.is_set():
                try:
                    self.handshake(port, bundle)
                except (OSError, ssl.SSLError) as error:
                    failures.append(str(error))
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            for number in range(30):
                mirror.swap(pairs[number % 2])
                if number % 10 == 9:
                    webhook.process.send_signal(signal.SIGHUP)
                    webhook.wait("reloaded", what="certificate")
        finally:
            done.set()
            thread.join()
        self.assertEqual(failures, [])
        leaf = ssl.PEM_cert_to_DER_cert(pairs[1]["tls.crt"].decode())
        self.assertEqual(self.handshake(port, bundle), leaf)


class CommandLine(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run([PROGRAMS / "fairlead-keeper", *map(str, arguments)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    def test_what_is_wrong_is_told(self):
        good = ("--configuration", "c")
        rows = [
            ((), "--configuration NAME"),
            ((*good, "--configuration-selector", "a=b"), "one of the two"),
            ((*good, "--secret", "x", "--ca-secret", "x"), "must not see"),
            ((*good, "--namespace", "a/b"), "--namespace"),
            (("--configuration", "../secrets"), "--configuration"),
            ((*good, "--dns-name", "a b"), "--dns-name"),
            ((*good, "--validity", "-1"), "seconds"),
            ((*good, "--validity", "10"), "--renew-before"),
            ((*good, "--renew-before", "10"), "--propagation and --overlap"),
            ((*good, "--ca-validity", "86400"), "--ca-validity"),
            ((*good, "--lease-duration", "2"), "--lease-duration"),
            ((*good, "--identity", ""), "--identity"),
            ((*good, "--context", "x"), "--kubeconfig"),
            (("--check",), "--heartbeat"),
            ((*good, "--frobnicate"), "unknown option"),
            ((*good, "more"), "unexpected argument"),
        ]
        for arguments, word in rows:
            with self.subTest(arguments=arguments):
                result = self.run_it(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(word, result.stderr)

    def test_without_a_cluster_it_does_not_start(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
        result = subprocess.run([PROGRAMS / "fairlead-keeper", "--configuration", "c"], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=60, env=environment)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(json.loads(result.stderr)["message"], "cannot start")


class Heartbeat(KeeperTest):
    def check(self):
        return subprocess.run([PROGRAMS / "fairlead-keeper", "--check", "--heartbeat", self.folder / "beat"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def test_a_probe_without_a_listener(self):
        self.assertEqual(self.check().returncode, 1)
        keeper = self.keeper("--heartbeat", self.folder / "beat")
        self.settled(keeper)
        self.assertEqual(self.check().returncode, 0, self.check().stderr)
        keeper.kill()  # or it would write the file again in between
        (self.folder / "beat").write_text("1\n")
        result = self.check()
        self.assertEqual(result.returncode, 1)
        self.assertIn("no heartbeat", result.stderr)
        (self.folder / "beat").write_text("soon\n")
        self.assertEqual(self.check().returncode, 1)


if __name__ == "__main__":
    PROGRAMS = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
