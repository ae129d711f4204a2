#!/usr/bin/env python3
"""Who calls fairlead-webhook: certificates and tokens of the API server, strangers, and clients that want it busy.

usage: webhook_caller_test.py FOLDER-OF-PROGRAMS [unittest options]
"""
import base64
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import webhook_test
from webhook_test import Authority, Webhook, openssl, review

AUDIENCE = "https://fairlead-webhook.fairlead-system.svc:443/inject"
ISSUER = "https://kubernetes.default.svc"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs as the API server does, with a key of its own."""

    def __init__(self, folder, name):
        self.key, self.name = folder / f"{name}.pem", name
        openssl("genrsa", "-out", self.key, "2048")

    def keys(self):
        said = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True)
        modulus = bytes.fromhex(said.stdout.decode().split("=")[1].strip())
        return json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.name, "n": encode(modulus),
                                     "e": "AQAB"}]})

    def token(self, drop=(), **changes):
        now = int(time.time())
        ours = {"namespace": "kube-system", "serviceaccount": {"name": "apiserver", "uid": "1"},
                "attestations": {"admissionReviewAPIGroups": ["*"]},
                "mutatingwebhookconfiguration": {"name": "fairlead-webhook", "uid": "2"}}
        claims = {"iss": ISSUER, "sub": "system:serviceaccount:kube-system:apiserver", "aud": [AUDIENCE], "iat": now,
                  "nbf": now, "exp": now + 600, "kubernetes.io": ours}
        for name in drop:
            claims.pop(name, None)
            ours.pop(name, None)
        for name, value in changes.items():
            (ours if name in ours else claims)[name] = value
        head = encode(json.dumps({"alg": "RS256", "kid": self.name}).encode())
        text = f"{head}.{encode(json.dumps(claims).encode())}"
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True,
                                capture_output=True).stdout
        return f"{text}.{encode(signed)}"


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-webhook-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority(self.folder)

    def start(self, *options):
        webhook = Webhook(self.folder, self.authority, *map(str, options))
        self.addCleanup(webhook.stop)
        return webhook

    def ask(self, webhook, token=None, path="/inject", body=None):
        headers = {"Content-Type": "application/json", **({"Authorization": token} if token else {})}
        response, text = webhook.ask("POST", path, body or json.dumps(review()), headers)
        return response.status, text.decode()


class Certificates(Base):
    def setUp(self):
        super().setUp()
        self.other = self.folder / "other"
        self.other.mkdir()
        self.roots = self.folder / "client-ca.crt"
        self.theirs = Authority(self.other)
        shutil.copy(self.theirs.root, self.roots)
        self.webhook = self.start("--client-ca", self.roots, "--client-name", "kube-apiserver", "--client-name", "api")

    def issue(self, authority, name, usage="clientAuth"):
        base = authority.folder / f"client-{name}-{usage}"
        openssl("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}",
                "-keyout", f"{base}.key", "-out", f"{base}.csr")
        (authority.folder / "ext").write_text(f"extendedKeyUsage={usage}\n" if usage else "basicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", authority.root, "-CAkey", authority.folder / "root.key",
                "-days", "2", "-extfile", authority.folder / "ext", "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"

    def show(self, pair):
        context = ssl.create_default_context(cafile=str(self.authority.root))
        if pair:
            context.load_cert_chain(*pair)
        self.webhook.context = context

    def test_who_may_ask(self):
        for pair, status, words in ((None, 403, "no certificate"),
                                    (self.issue(self.theirs, "kube-apiserver"), 200, '"patch"'),
                                    (self.issue(self.theirs, "api"), 200, '"patch"'),
                                    (self.issue(self.theirs, "kubelet"), 403, "names"),
                                    (self.issue(self.theirs, "kube-apiserver", "serverAuth"), 403, "not for clients"),
                                    (self.issue(self.theirs, "kube-apiserver", None), 403, "not for clients"),
                                    (self.issue(self.authority, "kube-apiserver"), 403, "root")):
            with self.subTest(pair):
                self.show(pair)
                got, text = self.ask(self.webhook)
                self.assertEqual(got, status, text)
                self.assertIn(words, text)
                self.assertEqual(self.webhook.ask("GET", "/healthz")[0].status, 200)  # probes and scrapes need none
        count = self.webhook.metric
        self.assertEqual(count('fairlead_webhook_callers_total{check="certificate",result="good"}'), 2)
        self.assertEqual(count('fairlead_webhook_callers_total{check="certificate",result="missing"}'), 1)
        self.assertEqual(count('fairlead_webhook_callers_total{check="certificate",result="untrusted"}'), 3)
        self.assertEqual(count('fairlead_webhook_callers_total{check="certificate",result="name"}'), 1)
        self.assertEqual(count('fairlead_webhook_requests_total{outcome="invalid",reason="client_certificate"}'), 5)

    def test_a_strangers_body_is_not_read(self):
        self.show(None)
        with self.webhook.raw() as connection:
            connection.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Content-Length: 6000000\r\n\r\n")
            self.assertIn(b" 403 ", connection.recv(1000))

    def test_roots_change(self):
        """Both roots, then the new one; a kept connection is asked again. A bad file leaves the old."""
        old, new = self.issue(self.theirs, "api"), self.issue(self.authority, "api")
        self.show(old)
        kept = self.webhook.connect()
        self.assertEqual(self.webhook.inject(review(), connection=kept)[0], 200)
        self.webhook.write(self.roots, self.theirs.root.read_text() + self.authority.root.read_text())
        self.webhook.wait("reloaded", what="client_ca")
        self.assertEqual(self.webhook.inject(review(), connection=kept)[0], 200)
        self.show(new)
        self.assertEqual(self.ask(self.webhook)[0], 200)
        self.webhook.write(self.roots, "nonsense\n")
        self.assertIn("client-ca.crt", self.webhook.wait("not reloaded, the old one stays", what="client_ca")["error"])
        self.assertEqual(self.ask(self.webhook)[0], 200)
        self.webhook.write(self.roots, self.authority.root.read_text())
        self.webhook.wait("reloaded", what="client_ca")
        self.assertEqual(self.webhook.inject(review(), connection=kept)[0], 403)
        self.assertEqual(self.ask(self.webhook)[0], 200)
        kept.close()


class Tokens(Base):
    def setUp(self):
        super().setUp()
        self.issuer, self.stranger = Issuer(self.folder, "ours"), Issuer(self.folder, "theirs")
        self.keys = self.folder / "keys.json"
        self.keys.write_text(self.issuer.keys())

    def begin(self, mode):
        return self.start("--token", mode, "--token-keys", self.keys, "--token-issuer", ISSUER, "--token-audience",
                          AUDIENCE)

    def test_who_may_ask(self):
        webhook, token = self.begin("require"), self.issuer.token
        now = int(time.time())
        for what, header, result in (
                ("good", f"Bearer {token()}", "good"), ("good, lower case", f"bearer {token()}", "good"),
                ("none", None, "missing"), ("another scheme", "Basic YTpi", "malformed"),
                ("garbage", "Bearer a.b.c", "malformed"), ("another's key", f"Bearer {self.stranger.token()}", "untrusted"),
                ("expired", f"Bearer {token(exp=now - 100)}", "expired"), ("early", f"Bearer {token(nbf=now + 200)}", "expired"),
                ("for ever", f"Bearer {token(drop=['exp'])}", "malformed"),
                ("another issuer", f"Bearer {token(iss='https://a')}", "name"),
                ("another audience", f"Bearer {token(aud=['https://a.b.svc:443/inject'])}", "audience"),
                # What whoever makes pods may have: a projected token for any audience.
                ("a pod's", f"Bearer {token(drop=['attestations', 'mutatingwebhookconfiguration'])}", "attestation"),
                ("attested for one group", f"Bearer {token(attestations={'admissionReviewAPIGroups': ['apps']})}", "attestation"),
                ("not bound", f"Bearer {token(drop=['mutatingwebhookconfiguration'])}", "attestation")):
            with self.subTest(what):
                name = f'fairlead_webhook_callers_total{{check="token",result="{result}"}}'
                before = webhook.metric(name)
                status, text = self.ask(webhook, header)
                self.assertEqual(status, 200 if result == "good" else 401, text)
                self.assertEqual(webhook.metric(name), before + 1)
        self.assertEqual(webhook.wait("invalid")["reason"], "client_token")
        response, _ = webhook.ask("POST", "/inject", "{}", {"Content-Type": "application/json"})
        self.assertEqual(response.getheader("WWW-Authenticate"), "Bearer")

    def test_when_present(self):
        webhook = self.begin("when-present")
        self.assertEqual(self.ask(webhook)[0], 200)
        self.assertEqual(self.ask(webhook, f"Bearer {self.issuer.token()}")[0], 200)
        self.assertEqual(self.ask(webhook, f"Bearer {self.stranger.token()}")[0], 401)

    def test_keys_change(self):
        webhook = self.begin("require")
        webhook.write(self.keys, self.stranger.keys())
        webhook.wait("reloaded", what="token_keys")
        self.assertEqual(self.ask(webhook, f"Bearer {self.issuer.token()}")[0], 401)
        self.assertEqual(self.ask(webhook, f"Bearer {self.stranger.token()}")[0], 200)
        webhook.write(self.keys, "{}")
        webhook.wait("not reloaded, the old one stays", what="token_keys")
        self.assertEqual(self.ask(webhook, f"Bearer {self.stranger.token()}")[0], 200)


class Options(unittest.TestCase):
    def test_usage(self):
        base = ["--listen", "127.0.0.1:0", "--tls-cert", "c", "--tls-key", "k", "--namespaces", "n"]
        for more, words in ((["--client-ca", "x"], "--client-name"), (["--client-name", "x"], "--client-ca"),
                            (["--token", "maybe"], "maybe"), (["--token", "require"], "--token-keys"),
                            (["--token-keys", "x"], "--token")):
            result = subprocess.run([webhook_test.PROGRAM, *base, *more], capture_output=True, text=True, timeout=30,
                                    check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words, result.stderr)


class Crowd(Base):
    """One address with more connections than there are places: 127.0.0.2. The API server is 127.0.0.1."""

    def crowd(self, webhook, count):
        """Plain ones, half handshakes, whole ones with a slow large body, in turn."""
        context = ssl.create_default_context(cafile=str(self.authority.root))
        for i in range(count):
            one = socket.create_connection(("127.0.0.1", webhook.port), timeout=15, source_address=("127.0.0.2", 0))
            self.addCleanup(one.close)
            try:
                if i % 8 == 1:
                    one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                elif i % 8 == 2:
                    tls = context.wrap_socket(one, server_hostname="127.0.0.1")
                    self.addCleanup(tls.close)
                    tls.sendall(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                                b"Content-Length: 6000000\r\n\r\n" + b" " * 10000)
            except OSError:
                pass  # it was in the way

    def test_admissions_go_on(self):
        webhook = self.start()
        kept = webhook.connect()
        self.assertEqual(webhook.inject(review(), connection=kept)[0], 200)
        for _ in range(4):
            self.crowd(webhook, 300)
            for _ in range(10):
                self.assertEqual(webhook.inject(review(), connection=kept)[0], 200)  # never the one that gives way
                self.assertEqual(webhook.inject(review())[0], 200)                   # and a new one gets in
        kept.close()

    def test_behind_one_address(self):
        """The API server behind the crowd's own address: what was served already is kept, new ones are heard."""
        webhook = self.start()
        kept = webhook.connect()
        kept.source_address = ("127.0.0.2", 0)
        self.assertEqual(webhook.inject(review(), connection=kept)[0], 200)
        for _ in range(3):
            self.crowd(webhook, 300)
            self.assertEqual(webhook.inject(review(), connection=kept)[0], 200)
            new = webhook.connect()
            new.source_address = ("127.0.0.2", 0)
            self.assertEqual(webhook.inject(review(), connection=new)[0], 200)
            new.close()
        kept.close()


if __name__ == "__main__":
    webhook_test.PROGRAM = pathlib.Path(sys.argv.pop(1)) / "fairlead-webhook"
    unittest.main(verbosity=1)
