#!/usr/bin/env python3
"""What the objects of Gateway API and of ours do to traffic in an installed mesh: routes by header, weight and path (with what arrives,
which the conformance suite does not look at), retries, ejection, authorization by identity, path and token, and a Gateway with TLS."""
import base64
import collections
import json
import subprocess

from support import server
from support.api import is_ready
from support.certificate import Authority
from support.lane import Lane, main
from support.mesh import Mesh
from support.place import kubectl, outside, run
from waiting import eventually

NEEDS = "mesh"

WEB = [{"group": "", "kind": "Service", "name": "web", "port": 80}]
ISSUER = "https://issuer.test"
PATIENCE = 60  # seconds


def backend(name, **more):
    return {"name": name, "port": 80, **more}


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Traffic(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = Mesh(cls)
        cls.space = cls.mesh.space(cls)
        cls.api.create(server.config_map(cls.space))
        for name, labels, options in (("v1", {"app": "web", "version": "v1"}, ()), ("v2", {"app": "web", "version": "v2"}, ()),
                                      ("flaky", {"app": "flaky"}, ("flaky",)), ("broken", {"app": "shaky"}, ("broken",)),
                                      ("sound", {"app": "shaky"}, ())):
            cls.api.create(server.pod(name, cls.space, labels, *options))
        for name, selector in (("web", {"app": "web"}), ("v1", {"version": "v1"}), ("v2", {"version": "v2"}), ("flaky", {"app": "flaky"}),
                               ("shaky", {"app": "shaky"})):
            cls.api.create(server.service(name, cls.space, **selector))
        cls.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": cls.space}})
        cls.client = cls.mesh.pod("client", cls.space)
        cls.other = cls.mesh.pod("other", cls.space, serviceAccountName="other")
        for name in ("v1", "v2", "flaky", "broken", "sound"):
            cls.api.wait("v1", "Pod", name, cls.space, is_ready)

    def ask(self, url="http://web/", client=None, **headers):
        """What the server tells of the request, or the status that wget saw instead of 200."""
        said = (client or self.client).get(url, **headers)
        try:
            return json.loads(said)
        except ValueError:
            code = [word for word in said.split() if word.isdigit() and len(word) == 3]
            return int(code[0]) if code else said

    def pods_of(self, url, count):
        """Who answered so many requests of one loop in the client's pod."""
        loop = f"i=0; while [ $i -lt {count} ]; do wget -qO- {url} 2>/dev/null || echo failed; i=$((i+1)); done"
        lines = self.client.run("sh", "-c", loop).splitlines()
        return [json.loads(line)["pod"] if line.startswith("{") else line for line in lines]

    def becomes(self, expected, check, what):
        """Routes are in force a moment after status says that they are accepted."""
        seen = []

        def is_so():
            seen[:] = [check()]
            return seen[0] == expected
        try:
            eventually(is_so, what, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen[0]!r}, not {expected!r}") from None

    def route(self, *rules, kind="HTTPRoute", name="web", parents=None, **more):
        self.mesh.apply(kind, name, self.space, {"parentRefs": parents or WEB, "rules": list(rules), **more})
        self.addCleanup(self.api.delete, "gateway.networking.k8s.io/v1", kind, name, self.space, missing_ok=True)

    def policy(self, kind, name, spec):
        self.mesh.apply(kind, name, self.space, spec)
        self.addCleanup(self.api.delete, "fairlead.io/v1alpha1", kind, name, self.space, missing_ok=True)

    # -- routes -------------------------------------------------------------------------------------------------------

    def test_header_and_path(self):
        self.route({"matches": [{"headers": [{"name": "x-version", "value": "two"}]}], "backendRefs": [backend("v2")]},
                   {"matches": [{"path": {"type": "PathPrefix", "value": "/old"}}], "backendRefs": [backend("v2")],
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}}]},
                   {"backendRefs": [backend("v1")]})
        self.becomes("v2", lambda: self.pod_of(self.ask(x_version="two")), "the header decides")
        for _ in range(5):
            self.assertEqual(self.pod_of(self.ask()), "v1")
        said = self.ask("http://web/old/page?a=b")
        self.assertEqual((said["pod"], said["path"], said["host"]), ("v2", "/new/page?a=b", "web"))
        self.assertEqual(self.ask("http://web/older")["pod"], "v1", "a prefix ends at a slash")

    @staticmethod
    def pod_of(said):
        return said["pod"] if isinstance(said, dict) else said

    def test_weight(self):
        """90 to 10, of 200 requests from one loop in the pod."""
        self.route({"backendRefs": [backend("v1", weight=90), backend("v2", weight=10)]})
        self.becomes(True, lambda: self.pod_of(self.ask()) in ("v1", "v2"), "the route is in force")
        counted = collections.Counter(self.pods_of("http://web/", 200))
        self.assertEqual(sum(counted.values()), 200, counted)
        self.assertEqual(counted["failed"], 0)
        self.assertTrue(4 <= counted["v2"] <= 45, counted)

    def test_retries(self):
        """Every other request of the server fails; with a retry none of the client's does."""
        self.assertIn(503, [self.ask("http://flaky/") for _ in range(2)])
        self.policy("TrafficPolicy", "flaky", {"targetRefs": [{"kind": "Service", "name": "flaky"}], "retries": {"attempts": 3, "codes": [503]}})
        self.becomes(["flaky"] * 6, lambda: self.pods_of("http://flaky/", 6), "no request fails")

    def test_ejection(self):
        """A pod that answers every request with 503 is left alone after five of them."""
        self.policy("TrafficPolicy", "shaky", {"targetRefs": [{"kind": "Service", "name": "shaky"}], "loadBalancer": "RoundRobin", "outlierDetection": {
            "consecutive5xxErrors": 5, "interval": "1s", "baseEjectionTime": "60s", "maxEjectionPercent": 50}})
        self.becomes(["sound"] * 8, lambda: self.pods_of("http://shaky/", 8), "only the sound pod is asked")

    # -- who may ------------------------------------------------------------------------------------------------------

    def test_by_identity_and_path(self):
        self.policy("AuthorizationPolicy", "only", {"selector": {"matchLabels": {"app": "web"}}, "action": "ALLOW", "rules": [
            {"from": [{"source": {"principals": [f"cluster.local/ns/{self.space}/sa/default"]}}]},
            {"to": [{"operation": {"paths": ["/open/*"]}}]}]})
        self.becomes(403, lambda: self.ask(client=self.other), "another identity is refused")
        self.assertIn(self.pod_of(self.ask()), ("v1", "v2"))
        self.assertIn(self.pod_of(self.ask("http://web/open/page", client=self.other)), ("v1", "v2"))

    def token(self, folder, issuer=ISSUER, subject="jane"):
        """Signed by the key of the folder."""
        head, body = ({"alg": "RS256", "kid": "one"}, {"iss": issuer, "sub": subject, "exp": 4102444800})
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, body))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", folder / "key"], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        return f"{text}.{base64url(signed)}"

    def test_by_token(self):
        """No token, a forged one and somebody else's: refused. The right one: answered."""
        folder, forger = self.folder(), self.folder()
        for one in (folder, forger):
            run("openssl", "genrsa", "-out", one / "key", "2048")
        modulus = run("openssl", "rsa", "-in", folder / "key", "-noout", "-modulus").strip().partition("=")[2]
        keys = {"keys": [{"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "e": "AQAB", "n": base64url(bytes.fromhex(modulus))}]}
        selector = {"matchLabels": {"app": "web"}}
        self.policy("RequestAuthentication", "tokens", {"selector": selector, "jwtRules": [{"issuer": ISSUER, "jwks": json.dumps(keys)}]})
        self.policy("AuthorizationPolicy", "tokens", {"selector": selector, "action": "ALLOW", "rules": [
            {"from": [{"source": {"requestPrincipals": [f"{ISSUER}/jane"]}}]}]})
        self.becomes(403, self.ask, "a request without a token is refused")
        self.becomes(True, lambda: isinstance(self.ask(authorization=f"Bearer {self.token(folder)}"), dict), "the right token is taken")
        self.assertEqual(self.ask(authorization=f"Bearer {self.token(forger)}"), 401)
        self.assertEqual(self.ask(authorization=f"Bearer {self.token(folder, subject='joe')}"), 403)

    # -- from outside -------------------------------------------------------------------------------------------------

    def test_gateway(self):
        """A Gateway becomes a Deployment and a Service; HTTPS from outside of the cluster ends there, and goes on by mutual TLS."""
        folder = self.folder()
        authority = Authority(folder)
        certificate, key = authority.issue("shop.example", "DNS:shop.example")
        data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in (("tls.crt", certificate), ("tls.key", key))}
        self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge", "namespace": self.space}, "type": "kubernetes.io/tls", "data": data})
        self.mesh.apply("Gateway", "edge", self.space, {"gatewayClassName": "fairlead", "listeners": [
            {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": "shop.example", "tls": {"mode": "Terminate", "certificateRefs": [{"name": "edge"}]}}]})
        self.route({"backendRefs": [backend("v1")]}, name="shop", parents=[{"name": "edge"}], hostnames=["shop.example"])
        gateway = self.api.wait("gateway.networking.k8s.io/v1", "Gateway", "edge", self.space, lambda one: one.get("status", {}).get("addresses") and any(
            row["type"] == "Programmed" and row["status"] == "True" for row in one["status"]["conditions"]), 90)
        address = gateway["status"]["addresses"][0]["value"]
        kubectl("-n", self.space, "rollout", "status", "deployment/edge-fairlead", "--timeout=60s")

        def ask():
            said = outside("curl", "-sS", "-m", "5", "--cacert", authority.certificate, "--resolve", f"shop.example:443:{address}", "https://shop.example/x",
                           check=False)
            return json.loads(said)["pod"] if said.startswith("{") else said
        self.becomes("v1", ask, "answered from outside")


if __name__ == "__main__":
    main()
