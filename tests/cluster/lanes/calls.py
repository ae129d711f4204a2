#!/usr/bin/env python3
"""GRPCRoutes in an installed mesh, by method, header and weight, with calls of one kept connection: the conformance suite looks at
the weight alone. Server and client are the echo programs of that suite (tests/conformance/gatewayapi)."""
import collections
import re

from support import place
from support.api import is_ready
from support.lane import Lane, main
from support.mesh import Client, Mesh
from support.place import run
from waiting import eventually

NEEDS = "mesh"
BUILD = "conformance/gatewayapi/build"  # before the cluster is up: it needs Go's modules

IMAGE = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1"
SERVICE = "proto.EchoTestService"  # its methods: Echo, which the client calls, and ForwardEcho
PARENT = [{"group": "", "kind": "Service", "name": "echo", "port": 7070}]


def pod(name, space):
    app = {"name": "app", "image": IMAGE, "args": ["--grpc=7070"], "readinessProbe": {"tcpSocket": {"port": 7070}, "periodSeconds": 1}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": {"app": "echo", "version": name}}, "spec": {
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [app]}}


def service(name, space, **selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": {
        "selector": selector, "ports": [{"name": "grpc", "port": 7070, "appProtocol": "grpc"}]}}


def to(name, **more):
    return {"name": name, "port": 7070, **more}


def by_method(method, backend):
    return {"matches": [{"method": {"service": SERVICE, "method": method}}], "backendRefs": [to(backend)]}


class Grpc(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run(place.TOP / "tests" / "conformance" / "gatewayapi" / "load", "echo-advanced")
        cls.mesh = Mesh(cls)
        cls.space = cls.mesh.space(cls)
        for name in ("v1", "v2", "client"):
            cls.api.create(pod(name, cls.space))
        for name, selector in (("echo", {"app": "echo"}), ("v1", {"version": "v1"}), ("v2", {"version": "v2"})):
            cls.api.create(service(name, cls.space, **selector))
        for name in ("v1", "v2", "client"):
            cls.api.wait("v1", "Pod", name, cls.space, is_ready)
        cls.client = Client("client", cls.space)

    def call(self, count=1, **headers):
        """Pod → how many of the calls it answered; "failed" → the client's words where one was not answered."""
        words = [word for name, value in headers.items() for word in ("-H", f"{name.replace('_', '-')}: {value}")]
        said = self.client.run("/usr/local/bin/client", f"grpc://echo.{self.space}:7070", f"--count={count}", "--timeout=5s", *words)
        counted = collections.Counter(re.findall(r"Hostname=(\S+)", said))
        return dict(counted) if sum(counted.values()) == count else {"failed": said}

    def route(self, *rules):
        self.mesh.apply("GRPCRoute", "echo", self.space, {"parentRefs": PARENT, "rules": list(rules)})
        self.addCleanup(self.api.delete, "gateway.networking.k8s.io/v1", "GRPCRoute", "echo", self.space, missing_ok=True)

    def becomes(self, expected, **headers):
        """Routes are in force a moment after status says that they are accepted."""
        seen = [None]

        def is_so():
            seen[0] = self.call(4, **headers)
            return seen[0] == expected
        try:
            eventually(is_so, "the route is in force", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen[0]}, not {expected}") from None

    def test_method(self):
        """Only the method that the client calls decides; a call that no rule takes is UNIMPLEMENTED, not somebody else's."""
        self.route(by_method("ForwardEcho", "v1"), by_method("Echo", "v2"))
        self.becomes({"v2": 4})
        self.route(by_method("Echo", "v1"), by_method("ForwardEcho", "v2"))
        self.becomes({"v1": 4})
        self.route(by_method("ForwardEcho", "v2"))
        eventually(lambda: "Unimplemented" in self.call().get("failed", ""), "no rule takes the call", 30)

    def test_header(self):
        self.route({"matches": [{"headers": [{"name": "x-version", "value": "two"}]}], "backendRefs": [to("v2")]}, {"backendRefs": [to("v1")]})
        self.becomes({"v2": 4}, x_version="two")
        self.assertEqual(self.call(4), {"v1": 4})

    def test_weight(self):
        """90 to 10, of 200 calls on one connection: each goes its own way."""
        self.route({"backendRefs": [to("v1", weight=100), to("v2", weight=0)]})
        self.becomes({"v1": 4})
        self.route({"backendRefs": [to("v1", weight=90), to("v2", weight=10)]})
        eventually(lambda: "v2" in self.call(40), "the route is in force", 30)
        counted = self.call(200)
        self.assertNotIn("failed", counted)
        self.assertTrue(4 <= counted["v2"] <= 45, counted)


if __name__ == "__main__":
    main()
