#!/usr/bin/env python3
"""fairlead authz explain, over files and over a cluster in memory: the same answer from both; each part of a rule by itself.

usage: cli_authz_test.py FAIRLEAD
"""
import json
import pathlib
import shutil
import sys
import subprocess
import tempfile
import unittest

from cli_cluster import MESH, app_pod, certificate, good, thing

FAIRLEAD = None
ROOT = certificate()
WEB, OTHER = "cluster.local/ns/shop/sa/web", "cluster.local/ns/other/sa/x"
RESOURCES = {"AuthorizationPolicy": "authorizationpolicies", "PeerAuthentication": "peerauthentications",
             "RequestAuthentication": "requestauthentications", "MeshSettings": "meshsettings", "Pod": "pods"}
JWKS = json.dumps({"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]})


def policy(name="p", action="ALLOW", rules=None, space="shop", **spec):
    return thing("AuthorizationPolicy", name, space, "fairlead.io/v1alpha1",
                 spec={"action": action, **({"rules": rules} if rules is not None else {}), **spec})


def mode(mtls, space="shop", name="default", **spec):
    return thing("PeerAuthentication", name, space, "fairlead.io/v1alpha1", spec={"mtls": {"mode": mtls}, **spec})


def source(**fields):
    return [{"from": [{"source": fields}]}]


def operation(**fields):
    return [{"to": [{"operation": fields}]}]


SHOP = ("--from", "shop/web")
# name → objects, arguments, allowed, who decides
ROWS = {
    "nothing is there": ([], SHOP, True, None),
    "an empty ALLOW allows nothing": ([policy()], SHOP, False, None),
    "an ALLOW of everything": ([policy(rules=[{}])], SHOP, True, "p"),
    "an empty DENY denies nothing": ([policy(action="DENY")], SHOP, True, None),
    "DENY wins": ([policy("a", rules=[{}]), policy("d", "DENY", [{}])], SHOP, False, "d"),
    "a principal": ([policy(rules=source(principals=[WEB]))], SHOP, True, "p"),
    "another principal": ([policy(rules=source(principals=[OTHER]))], SHOP, False, None),
    "a principal as a whole": ([policy(rules=source(principals=[OTHER]))], ("--from", f"spiffe://{OTHER}"), True, "p"),
    "anybody with an identity": ([policy(rules=source(principals=["*"]))], SHOP, True, "p"),
    "nobody has none": ([policy(rules=source(principals=["*"]))], ("--from", "none"), False, None),
    "a prefix": ([policy(rules=source(principals=["cluster.local/ns/shop/*"]))], SHOP, True, "p"),
    "a suffix": ([policy(rules=source(principals=["*/sa/web"]))], SHOP, True, "p"),
    "not a principal": ([policy(rules=source(notPrincipals=[WEB]))], SHOP, False, None),
    "a namespace": ([policy(rules=source(namespaces=["shop"]))], SHOP, True, "p"),
    "a namespace is not its beginning": ([policy(rules=source(namespaces=["sho"]))], SHOP, False, None),
    "a namespace of another trust domain": ([policy(rules=source(namespaces=["shop"]))], ("--from", "spiffe://evil/ns/shop/sa/web"), False, None),
    "namespaces by prefix": ([policy(rules=source(namespaces=["sh*"]))], SHOP, True, "p"),
    "namespaces by suffix": ([policy(rules=source(namespaces=["*op"]))], SHOP, True, "p"),
    "an address": ([policy(rules=source(ipBlocks=["10.0.0.0/8"]))], (*SHOP, "--ip", "10.9.1.1"), True, "p"),
    "an address that was not given": ([policy(rules=source(ipBlocks=["10.0.0.0/8"]))], SHOP, False, None),
    "another address": ([policy(rules=source(ipBlocks=["10.0.0.0/9"]))], (*SHOP, "--ip", "10.128.0.1"), False, None),
    "not an address": ([policy("d", "DENY", source(notIpBlocks=["10.0.0.0/8"]))], (*SHOP, "--ip", "10.1.1.1"), True, None),
    "a port": ([policy(rules=operation(ports=["8080"]))], SHOP, True, "p"),
    "another port": ([policy(rules=operation(ports=["9090"]))], SHOP, False, None),
    "a method": ([policy(rules=operation(methods=["GET"]))], (*SHOP, "-X", "GET"), True, "p"),
    "another method": ([policy(rules=operation(methods=["GET"]))], (*SHOP, "-X", "POST"), False, None),
    "a path": ([policy(rules=operation(paths=["/a/*"]))], (*SHOP, "/a/b?c"), True, "p"),
    "another path": ([policy(rules=operation(paths=["/a/*"]))], (*SHOP, "/b"), False, None),
    "a host with a port": ([policy(rules=operation(hosts=["web.shop"]))], (*SHOP, "--host", "WEB.shop:8080"), True, "p"),
    "a host by suffix": ([policy(rules=operation(hosts=["*.shop"]))], (*SHOP, "--host", "a.shop"), True, "p"),
    "another host": ([policy(rules=operation(hosts=["web.shop"]))], (*SHOP, "--host", "x"), False, None),
    "a header": ([policy(rules=[{"when": [{"key": "request.headers[x-a]", "values": ["1"]}]}])], (*SHOP, "-H", "X-A: 1"), True, "p"),
    "a header that is not there": ([policy(rules=[{"when": [{"key": "request.headers[x-a]", "values": ["*"]}]}])], SHOP, False, None),
    "opaque bytes and a rule for HTTP": ([policy(rules=operation(methods=["GET"]))], (*SHOP, "--tcp"), False, None),
    "opaque bytes and a DENY for HTTP": ([policy("d", "DENY", operation(methods=["GET"]))], (*SHOP, "--tcp"), False, "d"),
    "opaque bytes": ([policy(rules=source(principals=[WEB]))], (*SHOP, "--tcp"), True, "p"),
    "of other pods": ([policy(selector={"matchLabels": {"app": "x"}})], SHOP, True, None),
    "of another namespace": ([policy(space="other")], SHOP, True, None),
    "of the whole mesh": ([policy("all", "DENY", [{}], space=MESH)], SHOP, False, "all"),
    "dry run": ([policy("d", "DENY", [{}], dryRun=True)], SHOP, True, None),
    "one that is not understood": ([policy("broken", rules=[{"oxen": 1}])], SHOP, False, "broken"),
    "strict, and plaintext": ([mode("STRICT")], ("--from", "none"), False, None),
    "strict": ([mode("STRICT")], SHOP, True, None),
    "permissive": ([mode("PERMISSIVE")], ("--from", "none"), True, None),
    "without mTLS nobody has an identity": ([mode("DISABLE"), policy(rules=source(principals=[WEB]))], SHOP, False, None),
}


class Authz(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairlead-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def files(self, objects, *argv, target="web-1.shop:8080"):
        (self.folder / "a.yaml").write_text("---\n".join(json.dumps(one) + "\n" for one in [app_pod("web-1"), *objects]))
        return subprocess.run([FAIRLEAD, "authz", "explain", "--source", f"directory:{self.folder}", target, *argv], capture_output=True, text=True,
                              timeout=30, check=False)

    def cluster(self, objects, *argv, target="web-1.shop:8080"):
        cluster = good(ROOT)
        for one in objects:
            cluster.add(RESOURCES[one["kind"]], one)
        with cluster:
            return cluster.run(FAIRLEAD, "authz", "explain", target, *argv)

    def test_rows(self):
        for name, (objects, argv, allowed, decides) in ROWS.items():
            with self.subTest(name):
                done = self.files(objects, "-o", "json", *argv)
                self.assertEqual(done.returncode, 0 if allowed else 3, done.stderr + done.stdout)
                answer = json.loads(done.stdout)
                self.assertEqual(answer["allowed"], allowed)
                self.assertEqual((answer["policy"] or {}).get("name"), decides)
                self.assertEqual((answer["dry_run"] or {}).get("name"), "d" if name == "dry run" else None)
                self.assertEqual(self.cluster(objects, "-o", "json", *argv).stdout, done.stdout)

    def test_tokens(self):
        trusted = thing("RequestAuthentication", "t", "shop", "fairlead.io/v1alpha1", spec={"jwtRules": [{"issuer": "https://i.example", "jwks": JWKS}]})
        bob = policy(rules=source(requestPrincipals=["https://i.example/bob"]))
        for objects, argv, allowed in (([bob], ("--token", "https://i.example/bob"), False), ([trusted, bob], ("--token", "https://i.example/bob"), True),
                                       ([trusted, bob], ("--token", "https://i.example/ann"), False), ([trusted, bob], (), False),
                                       ([trusted, policy(rules=[{"when": [{"key": "request.auth.claims[g][h]", "values": ["a*"]}]}])],
                                        ("--claim", "g.h=ab"), True)):
            done = self.files(objects, *SHOP, *argv)
            self.assertEqual(done.returncode, 0 if allowed else 3, done.stdout + done.stderr)

    def test_a_mesh_elsewhere(self):
        """Policies for all are those of the namespace in which the mesh is, from files and from a cluster alike."""
        objects = [policy("ours", "DENY", operation(paths=["/a"]), space="mesh"), policy("theirs", "DENY", operation(paths=["/b"]), space=MESH)]
        for argv, path, decides in (((), "/a", None), ((), "/b", "theirs"), (("--mesh-namespace", "mesh"), "/a", "ours"), (("--mesh-namespace", "mesh"), "/b", None)):
            with self.subTest(argv=argv, path=path):
                for done in (self.files(objects, "-o", "json", *SHOP, *argv, path), self.cluster(objects, "-o", "json", *SHOP, *argv, path)):
                    self.assertEqual(done.returncode, 3 if decides else 0, done.stderr + done.stdout)
                    self.assertEqual((json.loads(done.stdout)["policy"] or {}).get("name"), decides)

    def test_in_words(self):
        done = self.files([mode("STRICT"), policy("a", rules=operation(methods=["POST"]) + source(principals=[OTHER])), policy("d", "DENY", operation(paths=["/x"]))],
                          *SHOP, "/y")
        self.assertEqual(done.stdout,
                         "pod shop/web-1 port 8080, from spiffe://cluster.local/ns/shop/sa/web: GET /y\n"
                         "  mTLS  STRICT\n"
                         "  ALLOW shop/a rule 0: method differs\n"
                         "  ALLOW shop/a rule 1: from differs\n"
                         "  DENY  shop/d rule 0: path differs\n"
                         "DENIED: ALLOW policies are for this pod, and none of their rules matches\n")

    def test_a_service_port(self):
        """A port that no container declares is told, where some are declared; the sidecar's own is no port of the app."""
        pod = app_pod("own")
        pod["spec"]["initContainers"][0]["ports"] = [{"containerPort": 15090}]
        self.assertNotIn("note", self.files([pod], *SHOP, target="own.shop:80").stdout)
        pod["spec"]["containers"][0]["ports"] = [{"containerPort": 8080}]
        self.assertIn("note  no container of the pod declares port 80", self.files([pod], *SHOP, target="own.shop:80").stdout)
        self.assertNotIn("note", self.files([pod], *SHOP, target="own.shop:8080").stdout)

    def test_a_pod_outside(self):
        objects = [app_pod("bare", sidecar=False), policy()]
        done = self.files(objects, *SHOP, target="bare.shop:80")
        self.assertEqual(done.returncode, 0)
        self.assertIn("ALLOWED: the pod is not in the mesh", done.stdout)

    def test_what_cannot_be_told(self):
        for argv, word in ((("explain", "web-9.shop:1", *SHOP), "not of a Service or workload"), (("explain", "web-1.shop:1", "--from", "web"), "--from: expected NAMESPACE/SERVICEACCOUNT")):
            with good(ROOT) as cluster:
                done = cluster.run(FAIRLEAD, "authz", *argv)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(word, done.stderr)
        cluster = good(ROOT)
        cluster.refused.add("authorizationpolicies")
        cluster.add("authorizationpolicies")
        with cluster:
            done = cluster.run(FAIRLEAD, "authz", "explain", "web-1.shop:1", *SHOP)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("forbidden", done.stderr)

    def test_usage(self):
        for argv, word in (((), "expected \"explain\""), (("explain",), "expected explain POD"), (("explain", "a:1"), "--from WHO is missing"),
                           (("explain", "a", *SHOP), "expected POD[.NAMESPACE]:PORT"), (("explain", "a:0", *SHOP), "expected POD"),
                           (("explain", "a:1", *SHOP, "--ip", "x"), "--ip: expected an IP"), (("explain", "a:1", *SHOP, "--token", "x"), "--token: expected"),
                           (("explain", "a:1", *SHOP, "--claim", "x"), "--claim: expected"), (("explain", "a:1", *SHOP, "-H", "x"), "--header: expected"),
                           (("explain", "a:1", *SHOP, "--source", "x"), "--source: expected")):
            done = subprocess.run([FAIRLEAD, "authz", *argv], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), argv)
            self.assertIn(word, done.stderr)


if __name__ == "__main__":
    FAIRLEAD = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
