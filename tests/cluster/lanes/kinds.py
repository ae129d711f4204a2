#!/usr/bin/env python3
"""The kinds of fairlead.io on a real API server: what the reader takes it takes, what the reader refuses it refuses first, by member.

Every object of examples, docs and goldens; a table of what is wrong, which the reader is asked about as well; and the life of the
kinds: printed columns, status apart from spec, an uninstallation that leaves them and their objects, and a new one that takes them over.
"""
import os
import re
import sys

import yaml
from support import chart, place
from support.api import ApiError
from support.lane import Lane, main
from waiting import eventually

NEEDS = "api"

sys.path.insert(0, str(place.TOP / "tests" / "charts"))
os.environ.setdefault("FAIRLEAD_CONTROL", str(place.PROGRAMS / "fairlead-control"))
os.environ.setdefault("HELM", str(place.BIN / "helm"))
from schema_test import JWKS, Reader  # noqa: E402 (needs what stands above)

API, SYSTEM = "fairlead.io/v1alpha1", "fairlead-system"
GOLDENS = place.TOP / "tests" / "golden"
TARGET = {"targetRefs": [{"kind": "Service", "name": "a"}]}


def rule(**parts):
    return {"rules": [parts]}


def source(**parts):
    return rule(**{"from": [{"source": parts}]})


def operation(**parts):
    return rule(to=[{"operation": parts}])


def when(key, **parts):
    return rule(when=[{"key": key, **parts}])


def jwt(**parts):
    return {"jwtRules": [{"issuer": "i", "jwks": JWKS, **parts}]}


def expression(**parts):
    return {"selector": {"matchExpressions": [parts]}}


# (kind, spec, what the API server's answer says): wrong, and the reader refuses it too.
WRONG = [
    ("AuthorizationPolicy", {"selector": {}, "targetRefs": [{"kind": "Gateway", "name": "a"}]}, "selector and targetRefs exclude each other"),
    ("AuthorizationPolicy", {"targetRefs": [{"kind": "Service", "name": "a"}]}, r"spec.targetRefs\[0\].kind"),
    ("AuthorizationPolicy", {"targetRefs": []}, "spec.targetRefs"),
    ("AuthorizationPolicy", {"targetRefs": [{"kind": "Gateway", "name": "A"}]}, r"spec.targetRefs\[0\].name"),
    ("AuthorizationPolicy", {"action": "AUDIT"}, "spec.action"),
    ("AuthorizationPolicy", {"dryRun": "yes"}, "spec.dryRun"),
    ("AuthorizationPolicy", rule(**{"from": []}), r"spec.rules\[0\].from"),
    ("AuthorizationPolicy", rule(**{"from": [{}]}), r"spec.rules\[0\].from\[0\].source: Required"),
    ("AuthorizationPolicy", source(), 'a source that says nothing; to mean everybody leave "from" out'),
    ("AuthorizationPolicy", source(principals=[]), r"from\[0\].source.principals"),
    ("AuthorizationPolicy", source(principals=["spiffe://"]), r"from\[0\].source.principals\[0\]"),
    ("AuthorizationPolicy", source(principals=["a*b"]), r"from\[0\].source.principals\[0\]"),
    ("AuthorizationPolicy", source(namespaces=[""]), r"from\[0\].source.namespaces\[0\]"),
    ("AuthorizationPolicy", source(ipBlocks=["10.0.0.256"]), r"from\[0\].source.ipBlocks\[0\]"),
    ("AuthorizationPolicy", source(ipBlocks=["10.0.0.0/33"]), r"from\[0\].source.ipBlocks\[0\]"),
    ("AuthorizationPolicy", operation(), 'an operation that says nothing; to mean every one leave "to" out'),
    ("AuthorizationPolicy", operation(paths=["/a*b"]), r"to\[0\].operation.paths\[0\]"),
    ("AuthorizationPolicy", operation(paths=["**"]), r"to\[0\].operation.paths\[0\]"),
    ("AuthorizationPolicy", operation(ports=["0"]), r"to\[0\].operation.ports\[0\]"),
    ("AuthorizationPolicy", operation(ports=["65536"]), r"to\[0\].operation.ports\[0\]"),
    ("AuthorizationPolicy", operation(ports=[65536]), r"to\[0\].operation.ports\[0\]"),
    ("AuthorizationPolicy", operation(ports=["http"]), r"to\[0\].operation.ports\[0\]"),
    ("AuthorizationPolicy", operation(headers=[{"name": "x"}]), "values or notValues is required"),
    ("AuthorizationPolicy", operation(headers=[{"name": "x y", "values": ["a"]}]), r"headers\[0\].name"),
    ("AuthorizationPolicy", when("source.mood", values=["good"]), r"when\[0\].key"),
    ("AuthorizationPolicy", when("request.headers[x][y]", values=["a"]), r"when\[0\].key"),
    ("AuthorizationPolicy", when("request.headers[x y]", values=["a"]), r"when\[0\].key"),
    ("AuthorizationPolicy", when("request.auth.claims[a][b][c][d][e][f][g][h]", values=["a"]), r"when\[0\].key"),
    ("AuthorizationPolicy", when("request.auth.claims[a]"), "values or notValues is required"),
    ("AuthorizationPolicy", {"rules": [{}] * 257}, "spec.rules: Too many"),
    ("AuthorizationPolicy", expression(key="a", operator="In"), "operators In and NotIn need values"),
    ("AuthorizationPolicy", expression(key="a", operator="Exists", values=["b"]), "Exists and DoesNotExist have none"),
    ("AuthorizationPolicy", expression(key="a", operator="Is", values=["b"]), r"matchExpressions\[0\].operator"),
    ("RequestAuthentication", {"jwtRules": [{"issuer": "i"}]}, r"spec.jwtRules\[0\].jwks: Required"),
    ("RequestAuthentication", {"jwtRules": [{"jwks": JWKS}]}, r"spec.jwtRules\[0\].issuer: Required"),
    ("RequestAuthentication", jwt(issuer=""), r"spec.jwtRules\[0\].issuer"),
    ("RequestAuthentication", jwt(fromHeaders=[{"name": "a b"}]), r"fromHeaders\[0\].name"),
    ("RequestAuthentication", jwt(fromHeaders=[{"prefix": "a"}]), r"fromHeaders\[0\].name: Required"),
    ("RequestAuthentication", jwt(audiences=[""]), r"audiences\[0\]"),
    ("RequestAuthentication", {"jwtRules": [jwt()["jwtRules"][0]] * 17}, "spec.jwtRules: Too many"),
    ("PeerAuthentication", {"mtls": {"mode": "strict"}}, "spec.mtls.mode"),
    ("PeerAuthentication", {"portLevelMtls": {"80": {"mode": "STRICT"}}}, "portLevelMtls needs a selector"),
    ("PeerAuthentication", {"selector": {}, "portLevelMtls": {"0": {}}}, "members of portLevelMtls are port numbers"),
    ("PeerAuthentication", {"selector": {}, "portLevelMtls": {"65536": {}}}, "members of portLevelMtls are port numbers"),
    ("PeerAuthentication", {"selector": {}, "portLevelMtls": {"http": {}}}, "spec.portLevelMtls"),
    ("TrafficPolicy", None, "spec: Required"),
    ("TrafficPolicy", {}, "spec.targetRefs: Required"),
    ("TrafficPolicy", {"targetRefs": [{"kind": "Gateway", "name": "a"}]}, r"spec.targetRefs\[0\].kind"),
    ("TrafficPolicy", {**TARGET, "loadBalancer": "Random"}, "spec.loadBalancer"),
    ("TrafficPolicy", {**TARGET, "connectTimeout": "5 minutes"}, "spec.connectTimeout"),
    ("TrafficPolicy", {**TARGET, "connectTimeout": "0s"}, "a duration above 0"),
    ("TrafficPolicy", {**TARGET, "connectTimeout": "1194h"}, "below 1193h"),
    ("TrafficPolicy", {**TARGET, "outlierDetection": {"interval": "0s"}}, "a duration above 0"),
    ("TrafficPolicy", {**TARGET, "outlierDetection": {"maxEjectionPercent": 101}}, "spec.outlierDetection.maxEjectionPercent"),
    ("TrafficPolicy", {**TARGET, "circuitBreakers": {"maxConnections": 0}}, "spec.circuitBreakers.maxConnections"),
    ("TrafficPolicy", {**TARGET, "circuitBreakers": {"maxRequests": 4294967296}}, "spec.circuitBreakers.maxRequests"),
    ("TrafficPolicy", {**TARGET, "retries": {}}, "spec.retries.attempts: Required"),
    ("TrafficPolicy", {**TARGET, "retries": {"attempts": 1, "codes": [200]}}, r"spec.retries.codes\[0\]"),
    ("TrafficPolicy", {**TARGET, "retries": {"attempts": 1, "retryOn": ["always"]}}, r"spec.retries.retryOn\[0\]"),
    ("TrafficPolicy", {**TARGET, "retries": {"attempts": 1, "backoff": {"base": "fast"}}}, "spec.retries.backoff.base"),
    ("TrafficPolicy", {**TARGET, "retries": {"attempts": 1, "budget": {"percent": 101}}}, "spec.retries.budget.percent"),
    ("Telemetry", {"tracing": {"endpoint": "https://a:4318"}}, "spec.tracing.endpoint"),
    ("Telemetry", {"tracing": {"endpoint": "http://a b"}}, "spec.tracing.endpoint"),
    ("Telemetry", {"tracing": {"endpoint": "http://A"}}, "spec.tracing.endpoint"),
    ("Telemetry", {"tracing": {"samplingPercent": 100.1}}, "spec.tracing.samplingPercent"),
    ("Telemetry", {"accessLogging": {"path": ""}}, "spec.accessLogging.path"),
    ("MeshSettings", {"trustDomain": "Not/A/Domain"}, "spec.trustDomain"),
    ("MeshSettings", {"egress": "ALLOW_ANY"}, "spec.egress"),
    ("MeshSettings", {"meshCIDRs": ["10.0.0.0/8", "all"]}, r"spec.meshCIDRs\[1\]"),
    ("MeshSettings", {"clusterDomain": "Cluster.Local"}, "spec.clusterDomain"),
]
# The reader's alone to refuse: a schema cannot say it.
READERS = [
    ("RequestAuthentication", jwt(jwks="{}"), "no JWKS"),
    ("RequestAuthentication", jwt(jwks='{"keys":[{"kty":"RSA","n":"abc"}]}'), "no JWKS"),
    ("AuthorizationPolicy", source(ipBlocks=["::ffff:10.0.0.1"]), "IPv4-mapped"),
    ("Telemetry", {"tracing": {"endpoint": "http://a:70000"}}, "http://host:port"),
]
# Both take it: what lies at the edges.
RIGHT = [
    ("AuthorizationPolicy", None), ("AuthorizationPolicy", {}), ("AuthorizationPolicy", {"rules": []}), ("AuthorizationPolicy", {"rules": [{}]}),
    ("AuthorizationPolicy", {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]}),
    ("AuthorizationPolicy", source(principals=["*", "spiffe://cluster.local/ns/a/*", "*/sa/b"], notIpBlocks=["::1", "10.0.0.1", "10.0.0.1/8", "fd00::/8"])),
    ("AuthorizationPolicy", operation(ports=["65535", 1, "80"], notPorts=[65535], headers=[{"name": "X-A", "notValues": ["*"]}])),
    ("AuthorizationPolicy", when("request.auth.claims[a.b/c][d e]", values=["x"])), ("AuthorizationPolicy", when("request.headers[X-A]", notValues=["*x"])),
    ("AuthorizationPolicy", expression(key="a", operator="DoesNotExist")), ("AuthorizationPolicy", expression(key="a", operator="NotIn", values=[""])),
    ("RequestAuthentication", {}), ("RequestAuthentication", jwt(audiences=[], fromHeaders=[{"name": "X-T", "prefix": ""}], fromParams=["t"])),
    ("PeerAuthentication", {}), ("PeerAuthentication", {"selector": {}, "portLevelMtls": {"1": {}, "65535": {"mode": "UNSET"}}}),
    ("PeerAuthentication", {"portLevelMtls": {}}),
    ("TrafficPolicy", {**TARGET, "connectTimeout": "1h30m1.5s2ms", "retries": {"attempts": 0, "perTryTimeout": "0s", "codes": [400, 599]}}),
    ("TrafficPolicy", {**TARGET, "circuitBreakers": {"maxRequests": 4294967295}, "outlierDetection": {"consecutive5xxErrors": 0, "interval": "1ms"}}),
    ("Telemetry", {"tracing": {"endpoint": "http://[fd00::1]:4318/v1/traces?x", "samplingPercent": 0.001}}),
    ("Telemetry", {"tracing": {"endpoint": "http://otel.example"}, "accessLogging": {"enabled": False}}),
    ("MeshSettings", {"trustDomain": "a_b.example", "meshCIDRs": ["10.0.0.1", "fd00::/8"], "egress": "Refuse", "istioPeers": True}),
]


def policy(kind, spec, name, namespace):
    thing = {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    return thing if spec is None else {**thing, "spec": spec}


def documents(*paths):
    """Those of our kinds: (where it stands, object)."""
    for path in paths:
        text = path.read_text()
        texts = re.findall(r"```ya?ml\n(.*?)```", text, re.DOTALL) if path.suffix == ".md" else [text]
        for number, document in enumerate(document for text in texts for document in yaml.safe_load_all(text)):
            if isinstance(document, dict) and document.get("apiVersion") == API:
                yield f"{path.relative_to(place.TOP)}:{number}", document


def install(*settings):
    chart.helm("upgrade", "--install", "fairlead-crds", place.CHARTS / "fairlead-crds", "--namespace", SYSTEM, "--create-namespace", *settings)


class Kinds(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kinds = {thing["spec"]["names"]["kind"]: thing["metadata"]["name"] for thing in chart.render(chart="fairlead-crds")}
        cls.addClassCleanup(cls.remove)
        install()
        for name in cls.kinds.values():
            found = cls.api.wait("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, None, lambda thing: states(thing).get("Established") == "True")
            assert states(found).get("NonStructuralSchema", "False") == "False", found["status"]
        eventually(cls.served, "the kinds are served")

    @classmethod
    def served(cls):
        try:
            return len(cls.api.request("GET", f"/apis/{API}")["resources"]) == 2 * len(cls.kinds)
        except ApiError:
            return False

    @classmethod
    def remove(cls):
        chart.helm("uninstall", "fairlead-crds", "--namespace", SYSTEM, "--ignore-not-found", "--wait")
        for name in cls.kinds.values():
            cls.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, missing_ok=True)
        cls.api.delete("v1", "Namespace", SYSTEM, missing_ok=True)
        cls.api.wait_gone("v1", "Namespace", SYSTEM)

    def refusal(self, thing):
        """What the API server says, or None."""
        try:
            self.api.create(thing, dry_run=True, fieldValidation="Strict")
            return None
        except ApiError as error:
            return error.message

    def test_examples_are_good(self):
        space = self.namespace("examples")
        paths = [*sorted((place.TOP / "examples").rglob("*.yaml")), *sorted((place.TOP / "docs").glob("*.md")),
                 *sorted((GOLDENS / "xds").glob("*.yaml")), GOLDENS / "control" / "mesh.yaml", GOLDENS / "control" / "gateway.yaml"]
        count = 0
        for where, thing in documents(*(path for path in paths if path.exists())):
            if thing["metadata"]["name"] in BROKEN_ON_PURPOSE:
                continue
            count += 1
            thing["metadata"] = {"name": thing["metadata"]["name"], "namespace": space}
            with self.subTest(where):
                self.assertIsNone(self.refusal(thing))
        self.assertGreater(count, 20)

    def test_what_is_wrong_is_refused(self):
        """By the API server with the member's name or the reason, and by the reader if it came to that."""
        space = self.namespace("wrong")
        for kind, spec, words in WRONG:
            with self.subTest(kind, spec=str(spec)[:200]):
                self.assertRegex(self.refusal(policy(kind, spec, "it", space)) or "it was taken", words)
        refused = self.readers([(kind, spec) for kind, spec, _ in WRONG])
        self.assertEqual([WRONG[number] for number in range(len(WRONG)) if number not in refused], [])

    def test_what_is_right_is_taken(self):
        space = self.namespace("right")
        for kind, spec in RIGHT:
            with self.subTest(kind, spec=str(spec)[:200]):
                self.assertIsNone(self.refusal(policy(kind, spec, "it", space)))
        self.assertEqual({RIGHT[number][0]: text for number, text in self.readers(RIGHT).items()}, {})

    def test_what_the_reader_alone_refuses(self):
        space = self.namespace("readers")
        refused = self.readers([(kind, spec) for kind, spec, _ in READERS])
        for number, (kind, spec, words) in enumerate(READERS):
            with self.subTest(kind, spec=str(spec)[:200]):
                self.assertIsNone(self.refusal(policy(kind, spec, "it", space)))
                self.assertIn(words, refused.get(number, "it was taken"))

    def test_a_member_that_is_misspelt(self):
        """Never dropped in silence: an error where the client validates strictly or applies on the server, a warning else."""
        space = self.namespace("misspelt")
        thing = policy("AuthorizationPolicy", {"acton": "DENY"}, "it", space)
        self.assertIn('unknown field "spec.acton"', self.refusal(thing))
        self.assertIn('unknown field "spec.acton"', " ".join(self.api.create(thing, dry_run=True).warnings))
        with self.assertRaisesRegex(ApiError, "spec.acton"):
            self.api.apply(thing, "somebody")

    @staticmethod
    def readers(rows):
        """{number: what the reader says is wrong}"""
        refused = {}
        with Reader([policy(kind, spec, f"n{number}", "shop") for number, (kind, spec) in enumerate(rows)]) as status:
            for thing in (*status["objects"], *status["problems"]):
                name = thing.get("metadata", {}).get("name", "")
                bad = [row["message"] for row in thing["status"].get("conditions", ()) if row["type"] == "Accepted"
                       and row["status"] == "False" and row["reason"] == "Invalid"]
                bad += [row["message"] for row in thing["status"].get("problems", ())]
                if bad:
                    refused[int(name[1:])] = bad[0]
        return refused

    # -- their life ---------------------------------------------------------------------------------------------------

    def test_what_is_printed(self):
        space = self.namespace("printed")
        self.api.create(policy("AuthorizationPolicy", {"action": "DENY", "dryRun": True}, "closed", space))
        self.api.create(policy("TrafficPolicy", {"targetRefs": [{"kind": "Service", "name": "a"}, {"kind": "Service", "name": "b"}]}, "calls", space))
        text = place.kubectl("-n", space, "get", "fairlead")
        for row in (r"NAME +ACTION +DRY-RUN +ACCEPTED +AGE", r"closed +DENY +true", r"NAME +SERVICE +ACCEPTED +AGE", r"calls +a "):
            self.assertRegex(text, row)
        self.assertIn("closed", place.kubectl("-n", space, "get", "flap"))

    def test_status_is_apart(self):
        """Who writes the spec does not write the status, nor the other way round; a generation counts changes of the spec alone."""
        space = self.namespace("status")
        made = self.api.create({**policy("PeerAuthentication", {"mtls": {"mode": "STRICT"}}, "it", space), "status": {"conditions": []}})
        self.assertNotIn("status", made)
        row = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        path = self.api.path(API, "PeerAuthentication", "it", space) + "/status"
        merge = "application/merge-patch+json"
        told = self.api.request("PATCH", path, {"status": {"conditions": [row]}, "spec": {"mtls": {"mode": "DISABLE"}}}, merge)
        self.assertEqual((told["spec"]["mtls"]["mode"], told["status"]["conditions"][0]["status"], told["metadata"]["generation"]), ("STRICT", "True", 1))
        with self.assertRaises(ApiError):
            self.api.request("PATCH", path, {"status": {"conditions": [{**row, "status": "Maybe"}]}}, merge)
        self.assertRegex(place.kubectl("-n", space, "get", "peerauthentications", "it"), r"it +STRICT +True")

    def test_they_outlive_their_release(self):
        """An uninstallation leaves kinds and objects; the next installation takes the kinds over."""
        space = self.namespace("kept")
        self.api.create(policy("PeerAuthentication", {"mtls": {"mode": "STRICT"}}, "it", space))
        said = chart.helm("uninstall", "fairlead-crds", "--namespace", SYSTEM, "--wait")
        self.assertIn("authorizationpolicies.fairlead.io", said)
        self.assertEqual(self.api.get(API, "PeerAuthentication", "it", space)["spec"]["mtls"]["mode"], "STRICT")
        install()
        self.assertEqual(self.api.get(API, "PeerAuthentication", "it", space)["spec"]["mtls"]["mode"], "STRICT")


BROKEN_ON_PURPOSE = ("typo",)  # of tests/golden/control/mesh.yaml


def states(thing):
    return {row["type"]: row["status"] for row in ((thing or {}).get("status", {}).get("conditions") or ())}


if __name__ == "__main__":
    main()
