#!/usr/bin/env python3
"""fairlead-control writes status back to a real API server: whose it is, when it moves, who writes, and how often."""
import re
import threading
import urllib.request

from support import gatewayapi, place
from support.api import ApiError
from support.gatewayapi import MESH, conditions, gateway, gateway_class, http_route, listener
from support.lane import Lane, main
from waiting import eventually

NEEDS = "api"

POLICY = ("fairlead.io/v1alpha1", "TrafficPolicy")
SERVICE = {"group": "", "kind": "Service", "name": "web"}


def lax(kind, plural):
    """A kind of ours that takes anything: what the API server would refuse comes through."""
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.fairlead.io"},
            "spec": {"group": "fairlead.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": anything, "subresources": {"status": {}}}]}}


class Status(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gatewayapi.install(cls)
        cls.create(lax("TrafficPolicy", "trafficpolicies"))
        cls.create(gateway_class())
        cls.system = cls.namespace("system")
        cls.first = cls.control()
        eventually(lambda: cls.metric(cls.first, "due") == 0 and cls.metric(cls.first, "writes_total") > 0, "it leads")
        cls.space = cls.namespace("status")
        for name in ("web", "more"):
            cls.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": cls.space}, "spec": {"ports": [{"name": "http", "port": 80}]}})

    @classmethod
    def control(cls):
        started = cls.program("fairlead-control", "--source", "kubernetes", "--kubeconfig", place.KUBECONFIG, "--namespace", cls.system,
                              "--listen", "none", "--listen-plaintext", "127.0.0.1:0", "--http", "127.0.0.1:0")
        started.port = started.wait("ready")["http_port"]
        return started

    @staticmethod
    def metric(program, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/metrics", timeout=10) as answer:
            found = re.search(rf"^fairlead_control_status_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0

    def parents(self, name, check):
        """status.parents, once it is as it should be."""
        return self.api.wait(gatewayapi.VERSION, "HTTPRoute", name, self.space,
                             lambda it: it and check(it.get("status", {}).get("parents", [])))["status"]["parents"]

    # -- routes -------------------------------------------------------------------------------------------------------

    def test_a_route(self):
        made = self.api.create(http_route("plain", self.space, [SERVICE, {"name": "nobody"}]))
        parents = self.parents("plain", bool)
        self.assertEqual([(row["parentRef"], row["controllerName"]) for row in parents], [(SERVICE, MESH)])
        self.assertEqual(conditions(parents[0]["conditions"])["Accepted"], ("True", "Accepted"))
        self.assertEqual({row["observedGeneration"] for row in parents[0]["conditions"]}, {made["metadata"]["generation"]})

    def test_transition_times(self):
        """They move with the status, and not with a generation."""
        self.api.create(http_route("times", self.space, [SERVICE], backend="web"))
        before = {row["type"]: row for row in self.parents("times", bool)[0]["conditions"]}
        def change(backend):
            thing = self.api.patch(gatewayapi.VERSION, "HTTPRoute", "times", [
                {"op": "replace", "path": "/spec/rules/0/backendRefs/0/name", "value": backend}], self.space)
            number = thing["metadata"]["generation"]
            rows = self.parents("times", lambda it: it and all(row["observedGeneration"] == number for row in it[0]["conditions"]))[0]["conditions"]
            return {row["type"]: row for row in rows}
        threading.Event().wait(1.1)  # the times have seconds
        after = change("gone")
        self.assertEqual(after["Accepted"]["lastTransitionTime"], before["Accepted"]["lastTransitionTime"])
        self.assertEqual((after["ResolvedRefs"]["status"], after["ResolvedRefs"]["reason"]), ("False", "BackendNotFound"))
        self.assertNotEqual(after["ResolvedRefs"]["lastTransitionTime"], before["ResolvedRefs"]["lastTransitionTime"])

    def test_others_entries(self):
        """Another controller's entry stays, also while both write; ours goes with its parent."""
        self.api.create(http_route("shared", self.space, [SERVICE, {**SERVICE, "name": "more"}]))
        self.parents("shared", lambda it: len(it) == 2)
        theirs = {"parentRef": SERVICE, "controllerName": "example.com/other",
                  "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
        for round_ in range(20):  # each drops ours, as a careless controller would
            self.write_parents("shared", [{**theirs, "conditions": [{**theirs["conditions"][0], "message": str(round_)}]}])
        parents = self.parents("shared", lambda it: len(it) == 3)
        self.assertEqual([row["controllerName"] for row in parents], ["example.com/other", MESH, MESH])
        self.assertEqual(parents[0]["conditions"][0]["message"], "19")
        self.api.patch(gatewayapi.VERSION, "HTTPRoute", "shared", {"spec": {"parentRefs": [SERVICE]}}, self.space)
        self.parents("shared", lambda it: [row["controllerName"] for row in it] == ["example.com/other", MESH])

    def write_parents(self, name, parents):
        path = self.api.path(gatewayapi.VERSION, "HTTPRoute", name, self.space) + "/status"
        self.api.request("PATCH", path, {"status": {"parents": parents}}, "application/merge-patch+json")

    # -- objects that are wrong ---------------------------------------------------------------------------------------

    def test_what_could_not_be_read(self):
        thing = {"apiVersion": POLICY[0], "kind": POLICY[1], "metadata": {"name": "wrong", "namespace": self.space},
                 "spec": {"targetRefs": [{"kind": "Service", "name": "web"}], "what": 1}}
        self.api.create(thing)
        told = self.api.wait(*POLICY, "wrong", self.space, lambda it: it and conditions(it).get("Accepted") == ("False", "Invalid"))
        self.assertIn("spec.what", told["status"]["conditions"][0]["message"])
        self.api.patch(*POLICY, "wrong", {"spec": {"what": None}}, self.space)
        self.api.wait(*POLICY, "wrong", self.space, lambda it: conditions(it).get("Accepted") == ("True", "Accepted"))

    # -- Gateways -----------------------------------------------------------------------------------------------------

    def test_the_class(self):
        thing = self.api.wait(gatewayapi.VERSION, "GatewayClass", "fairlead", None, lambda it: "SupportedVersion" in conditions(it))
        self.assertEqual(conditions(thing), {"Accepted": ("True", "Accepted"), "SupportedVersion": ("True", "SupportedVersion")})
        names = [row["name"] for row in thing["status"]["supportedFeatures"]]
        self.assertEqual(names, sorted(set(names)))
        self.assertLessEqual({"Gateway", "HTTPRoute", "ReferenceGrant"}, set(names))

    def programmed(self, name, status, reason):
        return self.api.wait(gatewayapi.VERSION, "Gateway", name, self.space,
                             lambda it: it and conditions(it).get("Programmed") == (status, reason))

    def test_a_gateway(self):
        """Without a deployer: what the Service and its endpoints say."""
        self.api.create(gateway("edge", self.space, [listener(80), listener(80, "TCP", name="twice")]))
        self.api.create(http_route("attached", self.space, [{"name": "edge"}]))
        thing = self.programmed("edge", "False", "Invalid")
        self.assertEqual({row["name"]: conditions(row["conditions"])["Conflicted"][0] for row in thing["status"]["listeners"]}, {"p80": "True", "twice": "True"})
        self.api.patch(gatewayapi.VERSION, "Gateway", "edge", {"spec": {"listeners": [listener(80)]}}, self.space)
        self.programmed("edge", "False", "AddressNotAssigned")
        service = self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "edge-fairlead", "namespace": self.space},
                                   "spec": {"type": "LoadBalancer", "ports": [{"name": "http-80", "port": 80}]}})
        thing = self.programmed("edge", "False", "Pending")
        self.assertEqual(thing["status"]["addresses"], [{"type": "IPAddress", "value": service["spec"]["clusterIP"]}])
        self.api.create({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "http-80", "port": 80}],
                         "metadata": {"name": "edge-fairlead-1", "namespace": self.space, "labels": {"kubernetes.io/service-name": "edge-fairlead"}},
                         "endpoints": [{"addresses": ["10.9.9.9"], "conditions": {"ready": True}}]})
        thing = self.programmed("edge", "True", "Programmed")
        self.assertEqual([(row["name"], row["attachedRoutes"]) for row in thing["status"]["listeners"]], [("p80", 1)])
        path = self.api.path("v1", "Service", "edge-fairlead", self.space) + "/status"
        self.api.request("PATCH", path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}, "application/merge-patch+json")
        self.api.wait(gatewayapi.VERSION, "Gateway", "edge", self.space,
                      lambda it: it["status"]["addresses"] == [{"type": "IPAddress", "value": "192.0.2.7"}])

    def test_a_secret_elsewhere(self):
        other = self.namespace("other")
        reference = {"certificateRefs": [{"name": "cert", "namespace": other}]}
        self.api.create(gateway("tls", self.space, [listener(443, "HTTPS", tls=reference)]))
        self.api.wait(gatewayapi.VERSION, "Gateway", "tls", self.space, lambda it: [
            conditions(row["conditions"]).get("ResolvedRefs") for row in it.get("status", {}).get("listeners", [])] == [("False", "RefNotPermitted")])

    # -- who writes ---------------------------------------------------------------------------------------------------

    def test_nothing_is_written_twice(self):
        """What changes elsewhere is no reason; an object that is gone is no error."""
        eventually(lambda: self.metric(self.first, "due") == 0, "nothing is due")
        before = self.metric(self.first, "writes_total"), self.metric(self.first, "failures_total")
        for number in range(20):
            self.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}", "namespace": self.space}, "spec": {"ports": [{"port": 80}]}})
        self.api.create(http_route("brief", self.space, [SERVICE]))
        try:
            self.api.delete(gatewayapi.VERSION, "HTTPRoute", "brief", self.space)
        except ApiError as error:
            self.assertEqual(error.status, 404)
        self.api.create(http_route("after", self.space, [SERVICE]))
        self.parents("after", bool)
        eventually(lambda: self.metric(self.first, "due") == 0, "nothing is due")
        self.assertLessEqual(self.metric(self.first, "writes_total") - before[0], 2)
        self.assertEqual(self.metric(self.first, "failures_total"), before[1])

    def test_z_the_next_leader(self):
        """Of two one writes; when it ends, the other does."""
        second = self.control()
        self.assertEqual(self.metric(second, "writes_total"), 0)
        self.assertEqual(self.first.stop(), 0)
        self.api.create(http_route("next", self.space, [SERVICE]))
        self.parents("next", bool)
        self.assertGreater(self.metric(second, "writes_total"), 0)


if __name__ == "__main__":
    main()
