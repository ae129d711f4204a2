#!/usr/bin/env python3
"""fairlead-webhook as a process: HTTPS on 127.0.0.1, real certificates, signals, files that change, slow clients.

usage: webhook_test.py FOLDER-OF-PROGRAMS [unittest options]
"""
import base64
import http.client
import json
import os
import pathlib
import queue
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

PROGRAM = None
LIMIT = 6 << 20

NAMESPACES = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {fairlead.io/inject: %s}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    """A root, and serving certificates of it."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "root.crt"
        openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2",
                "-subj", "/CN=root", "-keyout", folder / "root.key", "-out", self.root,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name):
        base = self.folder / name
        openssl("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}",
                "-keyout", f"{base}.key", "-out", f"{base}.csr")
        (self.folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.root, "-CAkey", self.folder / "root.key",
                "-days", "2", "-extfile", self.folder / "ext", "-out", f"{base}.crt")
        return pathlib.Path(f"{base}.crt"), pathlib.Path(f"{base}.key")


class Webhook:
    """The process. Its log lines are parsed as they come; waiting for one is waiting for an event, not for time."""

    def __init__(self, folder, authority, *options, namespaces=NAMESPACES % "enabled"):
        self.folder, self.authority = folder, authority
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.namespaces = folder / "namespaces.yaml"
        self.use(*authority.issue("one"))
        if namespaces is not None:
            self.write(self.namespaces, namespaces)
            options = ("--namespaces", self.namespaces, *options)
        self.lines = queue.Queue()
        self.history = []
        self.process = subprocess.Popen(
            [PROGRAM, "--listen", "127.0.0.1:0", "--tls-cert", self.cert, "--tls-key", self.key,
             "--log-level", "debug", *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.port = self.wait("ready")["port"]
        self.context = ssl.create_default_context(cafile=str(authority.root))

    def read(self):
        for line in self.process.stderr:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def wait(self, message, **fields):
        """The next log line with this message and these fields."""
        end = time.monotonic() + 15
        while True:
            entry = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            if entry is None:
                raise AssertionError(f"the program ended before it said {message!r}: {self.history[-5:]}")
            self.history.append(entry)
            if entry["message"] == message and all(entry.get(key) == value for key, value in fields.items()):
                return entry

    @staticmethod
    def write(path, text):
        """As the kubelet and careful editors do: a new file, renamed into place."""
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(path)

    def use(self, cert, key):
        self.write(self.cert, cert.read_text())
        self.write(self.key, key.read_text())

    def connect(self, timeout=15):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context)

    def raw(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")

    def ask(self, method, path, body=None, headers=None, connection=None):
        own = connection is None
        connection = connection or self.connect()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            if own:
                connection.close()

    def inject(self, body, content_type="application/json", connection=None):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers = {"Content-Type": content_type} if content_type else {}
        response, text = self.ask("POST", "/inject?timeout=10s", body, headers, connection)
        return response.status, text

    def metric(self, name):
        _, text = self.ask("GET", "/metrics")
        for line in text.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()


def pod(**more):
    metadata = {"name": "web", "labels": more.pop("labels", {}), "annotations": more.pop("annotations", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": [{"name": "app", "image": "nginx"}], **more}}


def review(thing=None, namespace="shop", **request):
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "6d3a7c0a", "operation": "CREATE", "namespace": namespace,
                        "kind": {"group": "", "version": "v1", "kind": "Pod"},
                        "resource": {"group": "", "version": "v1", "resource": "pods"},
                        "object": thing or pod(), **request}}


class Base(unittest.TestCase):
    options = ()

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-webhook-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority(self.folder)
        self.webhook = Webhook(self.folder, self.authority, *self.options)
        self.addCleanup(self.webhook.stop)

    def admit(self, body, connection=None):
        """The response of a review that must be answered by one."""
        status, text = self.webhook.inject(body, connection=connection)
        self.assertEqual(status, 200, text)
        answer = json.loads(text)
        self.assertEqual((answer["apiVersion"], answer["kind"]), ("admission.k8s.io/v1", "AdmissionReview"))
        self.assertEqual(answer["response"]["uid"], "6d3a7c0a")
        self.assertEqual("patch" in answer["response"], "patchType" in answer["response"])
        return answer["response"]

    def end(self):
        self.assertEqual(self.webhook.process.wait(timeout=30), 0)


class Admission(Base):
    def test_injected(self):
        response = self.admit(review())
        self.assertTrue(response["allowed"])
        patch = json.loads(base64.b64decode(response["patch"]))
        self.assertIn("/spec/initContainers/0", [operation["path"] for operation in patch])
        line = self.webhook.wait("injected")
        self.assertEqual((line["namespace"], line["pod"], line["reason"]), ("shop", "web", "namespace_enabled"))

    def test_untouched(self):
        response = self.admit(review(namespace="plain"))
        self.assertTrue(response["allowed"])
        self.assertNotIn("patch", response)
        self.assertNotIn("warnings", response)
        self.assertEqual(response["auditAnnotations"]["reason"], "no_label")
        self.assertEqual(self.webhook.wait("skipped")["level"], "debug")

    def test_host_network(self):
        response = self.admit(review(pod(hostNetwork=True)))
        self.assertTrue(response["allowed"])
        self.assertNotIn("patch", response)
        self.assertIn("host's network", response["warnings"][0])
        self.assertTrue(all(len(warning) <= 120 for warning in response["warnings"]))

    def test_denied(self):
        for thing, words in (
                (pod(annotations={"fairlead.io/inbound-include-ports": "http"}), ["fairlead.io/inbound-include-ports"]),
                (pod(securityContext={"runAsUser": 1337}), ["runAsUser", "1337"]),
                (pod(initContainers=[{"name": "i", "securityContext": {"runAsGroup": 1337}}]), ["runAsGroup", "i"]),
                (pod(labels={"fairlead.io/inject": "true"}), ["fairlead.io/inject", "enabled"])):
            response = self.admit(review(thing))
            self.assertFalse(response["allowed"])
            self.assertGreaterEqual(response["status"]["code"], 400)
            for word in words:
                self.assertIn(word, response["status"]["message"])

    def test_routes(self):
        for method, path, status in (("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/metrics", 200),
                                     ("HEAD", "/healthz", 200), ("GET", "/inject", 405), ("PUT", "/inject", 405),
                                     ("POST", "/healthz", 405), ("GET", "/", 404), ("POST", "/inject/x", 404),
                                     ("GET", "/metrics/../healthz", 404)):
            response, _ = self.webhook.ask(method, path)
            self.assertEqual(response.status, status, (method, path))
            if status == 405:
                self.assertTrue(response.getheader("Allow"))

    def test_metrics(self):
        self.admit(review())
        self.admit(review(namespace="plain"))
        metric = self.webhook.metric
        self.assertEqual(metric('fairlead_webhook_requests_total{outcome="injected",reason="namespace_enabled"}'), 1)
        self.assertEqual(metric('fairlead_webhook_requests_total{outcome="skipped",reason="no_label"}'), 1)
        self.assertEqual(metric("fairlead_webhook_request_duration_seconds_count"), 2)
        self.assertGreater(metric("fairlead_webhook_certificate_expiry_timestamp_seconds"), time.time())
        self.assertEqual(metric("fairlead_webhook_namespaces"), 2)

    def test_keep_alive(self):
        connection = self.webhook.connect()
        for _ in range(50):
            self.admit(review(), connection)
        connection.close()


class BadInput(Base):
    def test_statuses(self):
        good = json.dumps(review())
        deep = good.replace('"nginx"', "[" * 200 + "]" * 200)
        cases = (
            ("not JSON", "hello", 400), ("empty", "", 400), ("cut", good[:-1], 400), ("more behind", good + "x", 400),
            ("a number", "7", 400), ("a Pod", json.dumps(pod()), 400),
            ("another kind", good.replace("AdmissionReview", "AdmissionReport"), 400),
            ("v1beta1", good.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400),
            ("no request", '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', 400),
            ("no uid", good.replace('"uid": "6d3a7c0a", ', ""), 400), ("empty uid", good.replace("6d3a7c0a", ""), 400),
            ("deep", deep, 400), ("very deep", "[" * 1000000, 400), ("two names", good.replace('"uid"', '"uid": "a", "uid"'), 400),
            ("NUL", good.replace("nginx", "a\\u0000b"), 400), ("raw NUL", good.replace("nginx", "a\0b"), 400),
            ("not UTF-8", good.encode().replace(b"nginx", b"\xff\xfe"), 400),
            ("other letters", good.replace('"uid"', '"UID"'), 400))
        for name, body, status in cases:
            with self.subTest(name):
                got, text = self.webhook.inject(body)
                self.assertEqual(got, status, text)
                self.assertTrue(text.strip(), "no reason was told")
        self.assertTrue(self.admit(review())["allowed"])

    def test_content_types(self):
        body = json.dumps(review())
        for content_type, status in (("application/json", 200), ("application/json; charset=utf-8", 200),
                                     ("application/json;charset=UTF-8", 200), ("APPLICATION/JSON", 200),
                                     ("text/plain", 415), ("application/yaml", 415), ("application/jsonx", 415),
                                     (None, 415), ("", 415)):
            with self.subTest(content_type):
                self.assertEqual(self.webhook.inject(body, content_type)[0], status)

    def test_sizes(self):
        body = json.dumps(review())
        fits = body + " " * (LIMIT - len(body))
        self.assertEqual(self.webhook.inject(fits)[0], 200)
        with self.webhook.raw() as connection:
            connection.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
            self.assertIn(b" 413 ", connection.recv(100))
        with self.webhook.raw() as connection:
            connection.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            try:
                for _ in range((LIMIT >> 16) + 1):
                    connection.sendall(chunk)
                connection.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # it may answer and close before it was told everything
            self.assertIn(b" 413 ", connection.recv(100))
        self.assertTrue(self.admit(review())["allowed"])
        self.assertEqual(
            self.webhook.metric('fairlead_webhook_requests_total{outcome="invalid",reason="too_large"}'), 2)

    def test_expect_continue(self):
        body = json.dumps(review()).encode()
        with self.webhook.raw() as connection:
            connection.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            self.assertIn(b"100 ", connection.recv(100))
            connection.sendall(body)
            self.assertIn(b" 200 ", connection.recv(100))

    def test_large_pod(self):
        """As large as the API server lets a pod be: answered, quickly."""
        annotations = {f"example.com/a{i}": "x" * 1000 for i in range(1500)}
        thing = pod(annotations=annotations)
        thing["spec"]["containers"] += [{"name": f"c{i}", "image": "i", "env": [{"name": f"E{j}", "value": "v" * 50}
                                                                             for j in range(50)]} for i in range(100)]
        begin = time.monotonic()
        self.assertIn("patch", self.admit(review(thing)))
        self.assertLess(time.monotonic() - begin, 5)

    def test_plaintext_and_garbage(self):
        for first in (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 100):
            with socket.create_connection(("127.0.0.1", self.webhook.port), timeout=15) as connection:
                try:
                    connection.sendall(first)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass
                except OSError:
                    pass  # thrown out at once is fine, too
        self.assertTrue(self.admit(review())["allowed"])

    def test_slow_clients_hold_nobody(self):
        """Half a handshake, half a head, half a body, many of them: others are answered as ever."""
        idle = [socket.create_connection(("127.0.0.1", self.webhook.port), timeout=15) for _ in range(50)]
        slow = [self.webhook.raw() for _ in range(10)]
        for i, connection in enumerate(slow):
            head = b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            connection.sendall(head[:30] if i % 2 else head + b"Content-Length: 1000\r\n\r\n{")
        begin = time.monotonic()
        for _ in range(20):
            self.assertTrue(self.admit(review())["allowed"])
        self.assertLess(time.monotonic() - begin, 10)
        for connection in idle + slow:
            connection.close()

    def test_logs_cannot_be_forged(self):
        evil = 'x"}\n{"level":"error","message":"forged"}'
        self.admit(review(pod(labels={"fairlead.io/inject": evil})))
        self.assertIn("forged", self.webhook.wait("denied")["error"])  # inside the value, on the same line


class Reload(Base):
    def serial(self):
        with self.webhook.raw() as connection:
            return connection.getpeercert()["serialNumber"]

    def test_certificate(self):
        """The new pair is served soon after both halves are there; until then the old one; no request is lost."""
        before, failures, stop = self.serial(), [], threading.Event()

        def load():
            while not stop.is_set():
                try:
                    self.admit(review())
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(error)

        kept = self.webhook.connect()
        self.admit(review(), kept)
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        cert, key = self.authority.issue("two")
        self.webhook.write(self.webhook.cert, cert.read_text())
        self.assertIn("do not belong together",
                      self.webhook.wait("not reloaded, the old one stays", what="certificate")["error"])
        self.assertEqual(self.serial(), before)
        self.webhook.write(self.webhook.key, key.read_text())
        self.webhook.wait("reloaded", what="certificate")
        self.assertNotEqual(self.serial(), before)
        self.admit(review(), kept)  # a connection from before goes on
        kept.close()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.webhook.metric('fairlead_webhook_reloads_total{what="certificate",result="success"}'), 1)

    def test_namespaces(self):
        self.assertIn("patch", self.admit(review()))
        self.webhook.write(self.webhook.namespaces, NAMESPACES % "disabled")
        self.webhook.wait("reloaded", what="namespaces")
        self.assertNotIn("patch", self.admit(review()))
        self.webhook.write(self.webhook.namespaces, "apiVersion: v1\nkind: Pod\n")
        error = self.webhook.wait("not reloaded, the old one stays", what="namespaces")["error"]
        self.assertIn("namespaces.yaml:2:7", error)
        self.assertNotIn("patch", self.admit(review()))
        self.assertEqual(self.webhook.metric('fairlead_webhook_reloads_total{what="namespaces",result="failure"}'), 1)
        self.webhook.namespaces.unlink()
        self.webhook.wait("not reloaded, the old one stays", what="namespaces")
        self.webhook.write(self.webhook.namespaces, NAMESPACES % "enabled")
        self.webhook.wait("reloaded", what="namespaces")
        self.assertIn("patch", self.admit(review()))

    def test_sighup(self):
        self.webhook.process.send_signal(signal.SIGHUP)
        self.webhook.wait("reloaded", what="namespaces")
        self.webhook.wait("reloaded", what="certificate")
        self.assertIn("patch", self.admit(review()))


class Configured(Base):
    def setUp(self):
        self.config = pathlib.Path(tempfile.mkstemp(prefix="fl-webhook-config-")[1])
        self.addCleanup(self.config.unlink)
        self.config.write_text("proxyImage: host.example/a:1\n")
        self.options = ("--config", self.config)
        super().setUp()

    def image(self):
        patch = json.loads(base64.b64decode(self.admit(review())["patch"]))
        return next(o["value"] for o in patch if o["path"] == "/spec/initContainers/0")["image"]

    def test_reload(self):
        self.assertEqual(self.image(), "host.example/a:1")
        self.webhook.write(self.config, "proxyImage: host.example/a:2\n")
        self.webhook.wait("reloaded", what="config")
        self.assertEqual(self.image(), "host.example/a:2")
        self.webhook.write(self.config, "proxyImage: host.example/a:3\nnonsense: 1\n")
        error = self.webhook.wait("not reloaded, the old one stays", what="config")["error"]
        self.assertIn(":2:1", error)
        self.assertIn("nonsense", error)
        self.assertEqual(self.image(), "host.example/a:2")


class Drain(Base):
    def test_idle(self):
        connection = self.webhook.connect()
        self.admit(review(), connection)
        self.webhook.process.send_signal(signal.SIGTERM)
        self.webhook.wait("stopped")
        self.end()
        connection.close()

    def test_requests_under_way_are_answered(self):
        body = json.dumps(review()).encode()
        with self.webhook.raw() as connection:
            connection.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            self.assertIn(b"100 ", connection.recv(100))  # the server is inside the request now
            self.webhook.process.send_signal(signal.SIGTERM)
            self.webhook.wait("draining")
            connection.sendall(body)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        self.assertIn(b"connection: close", answer.lower())
        self.end()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", self.webhook.port), timeout=5)


class DrainDelay(Base):
    options = ("--drain-delay", "2")

    def test_still_accepting(self):
        """For a while after SIGTERM new connections are served, while readiness says that there should be none."""
        self.webhook.process.send_signal(signal.SIGTERM)
        self.webhook.wait("draining")
        response, _ = self.webhook.ask("GET", "/readyz")
        self.assertEqual(response.status, 503)
        self.assertEqual(response.getheader("Connection").lower(), "close")
        self.assertIn("patch", self.admit(review()))
        self.end()


class Start(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-webhook-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_it(self, *arguments):
        return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False)

    def test_usage(self):
        good = ["--listen", "127.0.0.1:0", "--tls-cert", "c", "--tls-key", "k", "--namespaces", "n"]
        for arguments, words in ((good[2:], "--listen"),
                                 (good[:2] + good[4:], "--tls-cert"), (good[:4] + good[6:], "--tls-key"),
                                 (good + ["--kubeconfig", "x"], "one of them"), (good + ["--context", "x"], "--kubeconfig"), (good + ["--nonsense"], "--nonsense"),
                                 (good + ["more"], "more"), (good + ["--log-level", "loud"], "loud"),
                                 (good + ["--log-format", "xml"], "xml"), (good + ["--drain-delay", "-1"], "-1"),
                                 (["--listen"], "--listen"), (["--listen", "8443"] + good[2:], "ADDR:PORT"),
                                 (["--listen", "a:99999"] + good[2:], "ADDR:PORT"), ([], "--listen")):
            with self.subTest(arguments):
                result = self.run_it(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn(words, result.stderr)

    def test_help(self):
        result = self.run_it("--help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("--namespaces FILE", result.stdout)
        result = self.run_it("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"^fairlead-webhook \d+\.\d+\.\d+\n$")

    def test_cannot_start(self):
        authority = Authority(self.folder)
        cert, key = authority.issue("one")
        _, other = authority.issue("two")
        (self.folder / "n").write_text("")
        (self.folder / "bad").write_text("a: [\n")
        files = ["--tls-cert", cert, "--tls-key", key, "--namespaces", self.folder / "n"]
        listen = ["--listen", "127.0.0.1:0"]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            for arguments, words in ((["--listen", f"127.0.0.1:{taken.getsockname()[1]}"] + files, "127.0.0.1"),
                                     (listen + files + ["--tls-key", other], "do not belong together"),
                                     (listen + files + ["--tls-cert", "/nowhere"], "/nowhere"),
                                     (listen + files + ["--namespaces", self.folder / "bad"], "bad:"),
                                     (listen + files + ["--config", self.folder / "bad"], "bad:"),
                                     (listen + files[:4], "this is not a pod"),
                                     (listen + files[:4] + ["--kubeconfig", "/nowhere"], "/nowhere"),
                                     (listen + files[:4] + ["--kubeconfig", self.folder / "bad"], "bad:")):
                with self.subTest(arguments):
                    result = self.run_it(*arguments)
                    self.assertEqual(result.returncode, 1)
                    self.assertIn(words, json.loads(result.stderr)["error"])


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)) / "fairlead-webhook"
    os.environ.pop("SSL_CERT_FILE", None)
    unittest.main(verbosity=1)
