#!/usr/bin/env python3
"""fairlead-control as a cluster's certificate authority, against an API server in memory: who floods it keeps nothing from
others, an API server that is away takes nothing from those who are known, and the processes around the key come and go.

usage: control_identity_test.py FAIRLEAD_CONTROL [unittest options]
"""
import base64
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import fake_api
from waiting import eventually
from wire import field, fields

try:
    import grpc

    import ads_client
except ImportError:
    grpc = ads_client = None

CONTROL = None
ADS = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_S = 20
SPACE = "fairlead-system"
SECRET = f"/api/v1/namespaces/{SPACE}/secrets/fairlead-ca"
NEEDS_GRPC = unittest.skipUnless(grpc, "Python's grpc is not here (Debian: python3-grpcio)")

fake_api.KINDS.update({"namespaces": "Namespace", "pods": "Pod", "services": "Service", "endpointslices": "EndpointSlice",
                       "serviceaccounts": "ServiceAccount", "configmaps": "ConfigMap"})


class Handler(fake_api.Handler):
    """And TokenReview; server-side apply of whole objects."""

    def write(self, path, query, body):
        if path.endswith("/tokenreviews"):
            token = json.loads(body)["spec"]["token"]
            with self.store.lock:
                self.store.reviewed.append((time.monotonic(), token))
            good = token.endswith(".Z29vZA")
            subject = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"] if good else ""
            return 201, {"kind": "TokenReview", "status": {
                "authenticated": True, "audiences": ["fairlead-ca"],
                "user": {"username": subject, "groups": ["system:serviceaccounts"]}} if good else {"error": "no"}}
        if self.headers["Content-Type"] == "application/apply-patch+yaml":
            with self.store.lock:
                item = json.loads(body)
                self.store.stamp(path, item, "MODIFIED" if path in self.store.objects else "ADDED")
                return 200, item
        return super().write(path, query, body)


def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def token(account, number=0, good=True, audience="fairlead-ca", left_s=3600):
    """As a service account's in form; the fake API server takes those that end with "good"."""
    claims = {"iss": "https://fake", "sub": f"system:serviceaccount:shop:{account}", "aud": [audience],
              "exp": int(time.time()) + left_s, "n": number}
    return f"{part({'alg': 'RS256'})}.{part(claims)}.{'Z29vZA' if good else 'YmFk'}"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    size = bytes([len(value)]) if len(value) < 127 else b"\x7f" + varint(len(value) - 127)
    return b"\x00" + bytes([len(name)]) + name + size + value


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


class Process:
    """fairlead-control, whose log lines are events."""

    def __init__(self, kubeconfig, *options):
        self.process = subprocess.Popen(
            [CONTROL, "--source", "kubernetes", "--kubeconfig", kubeconfig, "--namespace", SPACE, "--listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0", "--server-name", "localhost", "--lease-duration", "3", "--ca-look", "1", *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.entries, self.changed = [], threading.Condition()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.entries.append(json.loads(line) if line.startswith("{") else {"message": line})
                self.changed.notify_all()
        with self.changed:
            self.entries.append({"message": "(the end)"})
            self.changed.notify_all()

    def wait(self, message, count=1):
        end = time.monotonic() + WAIT_S
        with self.changed:
            while True:
                found = [entry for entry in self.entries if entry["message"] == message]
                if len(found) >= count:
                    return found[count - 1]
                assert time.monotonic() < end and self.process.poll() is None, f"never said {message}: {self.entries[-20:]}"
                self.changed.wait(0.5)

    def said(self, message):
        with self.changed:
            return [entry for entry in self.entries if entry["message"] == message]

    def said_all(self):
        with self.changed:
            return list(self.entries)

    def children(self, command):
        out = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="], capture_output=True, text=True)
        return [int(line.split()[0]) for line in out.stdout.splitlines() if f"fairlead-control {command} " in line]

    def folder(self):
        """Where the courier writes."""
        words = pathlib.Path(f"/proc/{self.children('courier')[0]}/cmdline").read_bytes().split(b"\0")
        return pathlib.Path(words[words.index(b"--folder") + 1].decode())

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.reader.join()
        self.process.stderr.close()
        return code


@NEEDS_GRPC
class Identity(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.api = fake_api.FakeApi(Handler)
        self.addCleanup(self.api.close)
        self.store = self.api.store
        self.store.reviewed = []
        self.kubeconfig = self.folder.name + "/kubeconfig"
        pathlib.Path(self.kubeconfig).write_text(self.api.kubeconfig())
        for name in ("shop", SPACE):
            self.store.create("/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})
        made = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-subj", "/", "-keyout", "/dev/null"], capture_output=True, check=True)
        self.csr = field(1, made.stdout)

    def start(self, *options):
        control = Process(self.kubeconfig, *options)
        self.addCleanup(lambda: self.assertIn(control.end(), (0, -signal.SIGKILL)))
        return control

    def root(self):
        return self.store.objects[f"/api/v1/namespaces/{SPACE}/configmaps/fairlead-root"]["data"]["root-cert.pem"].encode()

    def channel(self, control):
        port = control.wait("ready")["port"]
        self.store.wait(lambda store: f"/api/v1/namespaces/{SPACE}/configmaps/fairlead-root" in store.objects)
        channel = grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(self.root()),
                                      [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def create(self, channel, shown, wait_s=WAIT_S):
        return channel.unary_unary(CREATE)(self.csr, metadata=[("authorization", "Bearer " + shown)], timeout=wait_s)

    def refused(self, channel, shown):
        with self.assertRaises(grpc.RpcError) as caught:
            self.create(channel, shown)
        return caught.exception.code(), caught.exception.details()

    # -- floods -----------------------------------------------------------------------------------------------------------

    def flood(self, port, source, over, sent):
        """Subscriptions and CSRs with tokens that are made up, each another one, as fast as they are taken."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        message = b"\x00" + len(self.csr).to_bytes(4, "big") + self.csr
        number = 0
        while not over.is_set():
            try:
                raw = socket.create_connection(("127.0.0.1", port), WAIT_S, (source, 0))
                with context.wrap_socket(raw) as sock:
                    sock.sendall(PREFACE + frame(4, 0, 0))
                    for first in range(1, 4000, 16):
                        if over.is_set():
                            return
                        out = b""
                        for stream in range(first, first + 16, 2):
                            number += 1
                            kind = number % 4
                            made = [token("evil", f"{source} {number}", good=False), "a.b.c",
                                    token("evil", number, good=False, audience="other"),
                                    token("evil", f"{source} {number}", good=False)][kind]
                            path = ADS if kind == 0 else CREATE.encode()
                            head = b"\x83\x86" + b"".join(literal(*pair) for pair in (
                                (b":path", path), (b":authority", b"localhost"), (b"content-type", b"application/grpc"),
                                (b"te", b"trailers"), (b"authorization", b"Bearer " + made.encode())))
                            out += frame(1, 4, stream, head) + frame(0, 1, stream, b"" if kind == 0 else message)
                            sent[0] += 1
                        sock.sendall(out)
                        sock.settimeout(WAIT_S)
                        if not sock.recv(65536):
                            break
            except OSError:
                over.wait(0.01)  # sent away: it comes again

    def test_a_flood_keeps_nothing_from_others(self):
        control = self.start()
        channel, over, sent = self.channel(control), threading.Event(), [0]
        stream = ads_client.Stream("", "", channel=channel, headers=[("authorization", "Bearer " + token("watcher"))])
        self.addCleanup(stream.close)
        stream.ask(ads_client.CDS, ["*"])
        stream.acknowledge(stream.next())
        port = control.wait("ready")["port"]
        threads = [threading.Thread(target=self.flood, args=(port, f"127.0.0.{number}", over, sent)) for number in range(2, 6)]
        before, begin = len(self.store.reviewed), time.monotonic()
        for thread in threads:
            thread.start()
        known, renewals, pushes = token("honest"), [], []
        try:
            eventually(lambda: sent[0] > 500, "the flood")
            for number in range(20):
                # Half of them are known, half are shown for the first time.
                asked = time.monotonic()
                self.assertIn(b"BEGIN CERTIFICATE", self.create(channel, token("honest", number) if number % 2 else known))
                renewals.append(time.monotonic() - asked)
                changed = time.monotonic()
                self.store.create("/api/v1/namespaces/shop/services", {
                    "kind": "Service", "apiVersion": "v1", "metadata": {"name": f"s{number}", "namespace": "shop"},
                    "spec": {"clusterIPs": [f"10.2.0.{number + 1}"], "ports": [{"port": 80}]}})
                answer = stream.next()
                pushes.append(time.monotonic() - changed)
                stream.acknowledge(answer)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        seconds = time.monotonic() - begin
        evil = [shown for _, shown in self.store.reviewed[before:] if shown.endswith("YmFk")]
        print(f"{sent[0]} calls in {seconds:.1f} s, {len(evil)} of them reviewed; renewals {max(renewals) * 1000:.0f} ms, "
              f"pushes {max(pushes) * 1000:.0f} ms at most", file=sys.stderr)
        self.assertLess(max(renewals), 2)
        self.assertLess(max(pushes), 1)
        # A burst of 20, before the first refusal is known, then at most five a second: of four addresses.
        self.assertLess(len(evil), 4 * (20 + 5 * seconds))
        self.assertGreater(len(evil), 4)

    # -- the API server is away -------------------------------------------------------------------------------------------

    def test_an_api_server_that_is_away(self):
        control = self.start()
        channel = self.channel(control)
        known = token("known")
        self.create(channel, known)
        self.store.trouble = lambda method, path: "drop"
        self.create(channel, known)
        self.assertEqual(self.refused(channel, token("unknown")), (grpc.StatusCode.UNAVAILABLE, "authenticator_unavailable"))
        control.wait("the certificate authority's Secrets cannot be kept")
        self.create(channel, known)
        self.store.trouble = None
        self.create(channel, token("unknown"))
        control.wait("the certificate authority's Secrets are well again")

    def test_it_starts_while_the_api_server_is_away(self):
        self.store.trouble = lambda method, path: "drop"
        control = self.start()
        control.wait("the certificate authority's Secrets cannot be kept")
        self.assertEqual(control.said("ready"), [])
        self.store.trouble = None
        self.create(self.channel(control), token("web"))

    # -- processes --------------------------------------------------------------------------------------------------------

    def test_the_courier_dies(self):
        control = self.start()
        channel = self.channel(control)
        first = control.children("courier")[0]
        os.kill(first, signal.SIGKILL)
        self.create(channel, token("web"))
        second = eventually(lambda: [pid for pid in control.children("courier") if pid != first], "another courier")[0]
        self.assertTrue(control.children("issuer"))
        # What changes is brought by the new one.
        folder = control.folder()
        subprocess.run([CONTROL, "ca", "rotate", "--ca-secret", "fairlead-ca", "--kubeconfig", self.kubeconfig], check=True)
        eventually(lambda: (folder / "root-2.pem").exists(), "the second root")
        self.assertIn(second, control.children("courier"))
        self.store.wait(lambda store: self.root().count(b"BEGIN CERTIFICATE") == 2)

    def test_a_secret_that_somebody_deletes(self):
        control = self.start()
        channel, known = self.channel(control), token("web")
        self.create(channel, known)
        before = self.store.get(SECRET)["data"]
        self.store.delete(SECRET)
        self.store.wait(lambda store: SECRET in store.objects)
        self.assertEqual(self.store.get(SECRET)["data"], before)
        self.create(channel, known)

    def test_nothing_is_left_behind(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            control = self.start()
            control.wait("ready")
            folder = control.folder()
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual([name.name for name in folder.iterdir()], ["root-1.pem"])
            children = control.children("courier") + control.children("issuer")
            control.process.send_signal(number)
            control.process.wait(WAIT_S)
            eventually(lambda: not folder.exists(), "the folder is gone")
            for pid in children:
                eventually(lambda pid=pid: not pathlib.Path(f"/proc/{pid}").exists(), "a child is left")

    def test_two_that_start_at_once(self):
        """Both see that there is none, and both make one: the second is refused, and takes the first's."""
        gate = threading.Barrier(2, timeout=WAIT_S)

        def trouble(method, path):
            if method == "POST" and path.endswith("/secrets"):
                gate.wait()
        self.store.trouble = trouble
        both = [self.start(), self.start()]
        for control in both:
            control.wait("ready")
            self.create(self.channel(control), token("web"))
        self.assertEqual(list(self.store.objects[SECRET]["data"]), ["root-1.pem"])
        contents = {(control.folder() / "root-1.pem").read_bytes() for control in both}
        self.assertEqual(contents, {base64.b64decode(self.store.objects[SECRET]["data"]["root-1.pem"])})

    def test_a_root_of_a_short_life_is_followed_by_another(self):
        """20 s: the next one is made at half of it."""
        control = self.start("--ca-root-validity", "20", "--certificate-validity", "4", "--ca-overlap", "6")
        self.create(self.channel(control), token("web"))
        eventually(lambda: "root-2.pem" in self.store.objects[SECRET]["data"], "the second root")
        self.create(self.channel(control), token("web"))

    def test_an_overlap_that_is_too_short_is_told(self):
        """Proxies hear of a root with their next certificate."""
        short = self.start("--certificate-validity", "60", "--ca-overlap", "59")
        short.wait("ready")
        warned = [entry for entry in short.said_all() if entry["message"].startswith("--ca-overlap is shorter")]
        self.assertEqual([(entry["overlap_s"], entry["validity_s"]) for entry in warned], [(59, 60)])
        for options in (("--certificate-validity", "60", "--ca-overlap", "60"), ()):
            enough = self.start(*options)
            enough.wait("ready")
            self.assertFalse([entry for entry in enough.said_all() if "--ca-overlap" in entry["message"]], options)

    # -- revisions beside each other --------------------------------------------------------------------------------------

    def test_another_revision_leads_only_where_the_default_one_is_away(self):
        """Both serve; the one Lease is for whoever is trusted with all of the mesh."""
        def replica(*options):
            return self.start("--lease-duration", "9", *options)
        first = replica()
        self.assertEqual(first.wait("ready")["revision"], "default")
        first.wait("leading")
        canary, second = replica("--revision", "next"), replica("--revision", "default")
        ready = canary.wait("ready")
        self.assertEqual(ready["revision"], "next")
        second.wait("ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{ready['http_port']}/metrics", timeout=WAIT_S) as page:
            self.assertRegex(page.read().decode(), r'fairlead_control_build_info\{version="[^"]+",revision="next"\} 1')
        self.assertEqual(first.end(), 0)  # it gives the Lease up: both see at once that it is nobody's
        second.wait("leading")
        self.assertEqual(canary.said("leading"), [])
        self.assertEqual(second.end(), 0)
        canary.wait("leading")
        self.create(self.channel(canary), token("web"))

    def test_a_secret_that_is_no_good(self):
        self.store.create(f"/api/v1/namespaces/{SPACE}/secrets", {
            "kind": "Secret", "apiVersion": "v1", "metadata": {"name": "cacerts"}, "data": {"ca-cert.pem": "AAAA"}})
        control = self.start()
        said = control.wait("the certificate authority's Secrets cannot be kept")
        self.assertEqual(said["reason"], "Secret cacerts: ca-key.pem is missing")
        self.assertEqual(control.said("ready"), [])
        self.assertNotIn(SECRET, self.store.objects)  # it is somebody's wish that another one issues
        self.store.delete(f"/api/v1/namespaces/{SPACE}/secrets/cacerts")
        self.create(self.channel(control), token("web"))


if __name__ == "__main__":
    CONTROL = sys.argv.pop(1)
    unittest.main()
