#!/usr/bin/env python3
"""fairlead-control deployer over a real API server: what becomes of Gateways, what is mended, and what is never touched.
It has the rights that the chart gives it, and is held by the chart's policy."""
from support import chart, gatewayapi, place
from support.api import ApiError
from support.gatewayapi import conditions, gateway, gateway_class, listener
from support.lane import Lane, main
from waiting import eventually

NEEDS = "api"

DEPLOYED = "fairlead.io/Deployed"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ValidatingAdmissionPolicy",
          "ValidatingAdmissionPolicyBinding")
OBJECTS = (("v1", "ServiceAccount"), ("v1", "Service"), ("apps/v1", "Deployment"), ("policy/v1", "PodDisruptionBudget"))


class Deployer(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        gatewayapi.install(cls)
        cls.create(gateway_class())
        cls.create(gateway_class("theirs", "example.com/other"))
        cls.system = cls.namespace("system")
        for thing in chart.render({"policies.enabled": True}, namespace=cls.system):
            if thing["kind"] in RIGHTS and thing["metadata"]["name"].split(".")[0] == "fairlead-deployer":
                cls.create(thing)
        own = cls.api.kubeconfig(cls.folder() / "kubeconfig", "fairlead-deployer", cls.system)
        cls.deployer = cls.program("fairlead-control", "deployer", *cls.options("fairlead-control", own))
        cls.deployer.wait("leading")
        cls.space = cls.namespace("edge", labels={"pod-security.kubernetes.io/enforce": "restricted"})

    @classmethod
    def options(cls, control, kubeconfig=place.KUBECONFIG):
        return ("--kubeconfig", kubeconfig, "--namespace", cls.system, "--proxy-image", "fairlead.local/proxy:test",
                "--control-address", f"{control}.fairlead-system.svc:15012")

    def deployed(self, name, status="True", reason="Deployed", generation=None, space=None):
        def there(thing):
            rows = [row for row in (thing or {}).get("status", {}).get("conditions", []) if row["type"] == DEPLOYED]
            return rows and (rows[0]["status"], rows[0]["reason"]) == (status, reason) and rows[0]["observedGeneration"] >= (generation or 1)
        return self.api.wait(gatewayapi.VERSION, "Gateway", name, space or self.space, there)

    def made(self, version, kind, name, space=None):
        try:
            return self.api.get(version, kind, f"{name}-fairlead", space or self.space)
        except ApiError as error:
            self.assertEqual(error.status, 404)
            return None

    def test_made_and_gone(self):
        mine = self.api.create(gateway("edge", self.space, [listener(80), listener(443, "TLS", tls={"mode": "Passthrough"})]))
        self.deployed("edge")
        for version, kind in OBJECTS[:3]:
            thing = self.made(version, kind, "edge")
            owner = thing["metadata"]["ownerReferences"][0]
            self.assertEqual((owner["kind"], owner["uid"], owner["controller"]), ("Gateway", mine["metadata"]["uid"], True))
            self.assertEqual(thing["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], "edge")
        self.assertIsNone(self.made(*OBJECTS[3], "edge"))  # one replica needs no budget
        self.assertEqual([row["port"] for row in self.made("v1", "Service", "edge")["spec"]["ports"]], [80, 443])
        pod = self.made("apps/v1", "Deployment", "edge")["spec"]["template"]["spec"]["containers"][0]
        self.assertIn({"name": "FAIRLEAD_GATEWAY", "value": f"{self.space}/edge"}, pod["env"])
        selector = "gateway.networking.k8s.io/gateway-name=edge"  # they come under the restricted standard
        eventually(lambda: self.api.list("v1", "Pod", self.space, labelSelector=selector), "a pod of the Gateway is admitted")
        self.api.delete(gatewayapi.VERSION, "Gateway", "edge", self.space)
        for version, kind in OBJECTS[:3]:
            self.api.wait_gone(version, kind, "edge-fairlead", self.space)

    def test_a_listener_rolls_no_pod(self):
        self.api.create(gateway("ports", self.space))
        self.deployed("ports")
        before = self.made("apps/v1", "Deployment", "ports")["metadata"]["generation"]
        changed = self.api.patch(gatewayapi.VERSION, "Gateway", "ports", {"spec": {"listeners": [listener(80), listener(8080)]}}, self.space)
        self.deployed("ports", generation=changed["metadata"]["generation"])
        self.assertEqual([row["port"] for row in self.made("v1", "Service", "ports")["spec"]["ports"]], [80, 8080])
        self.assertEqual(self.made("apps/v1", "Deployment", "ports")["metadata"]["generation"], before)

    def test_drift_is_mended(self):
        self.api.create(gateway("drift", self.space))
        self.deployed("drift")
        self.api.patch("apps/v1", "Deployment", "drift-fairlead", [
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/evil"}], self.space)
        self.api.wait("apps/v1", "Deployment", "drift-fairlead", self.space,
                      lambda it: it["spec"]["template"]["spec"]["containers"][0]["image"] == "fairlead.local/proxy:test")
        self.api.delete("v1", "Service", "drift-fairlead", self.space)
        self.api.wait("v1", "Service", "drift-fairlead", self.space, lambda it: it is not None)

    def test_a_name_that_is_taken(self):
        """What is somebody else's is left as it was, and nothing else is made; once it is gone the Gateway gets its objects."""
        labels = {"app": "mine"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": place.BUSYBOX_IMAGE}]}}
        theirs = self.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "taken-fairlead", "namespace": self.space},
                                  "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}})
        self.api.create(gateway("taken", self.space))
        refused = self.deployed("taken", "False", "NameTaken")
        message = next(row["message"] for row in refused["status"]["conditions"] if row["type"] == DEPLOYED)
        self.assertIn("Deployment taken-fairlead that is not this Gateway's", message)
        self.assertEqual(self.made("apps/v1", "Deployment", "taken")["spec"], theirs["spec"])
        self.assertIsNone(self.made("v1", "Service", "taken"))
        self.assertIsNone(self.made("v1", "ServiceAccount", "taken"))
        self.api.delete("apps/v1", "Deployment", "taken-fairlead", self.space)
        self.api.wait_gone("apps/v1", "Deployment", "taken-fairlead", self.space)
        self.api.label(gatewayapi.VERSION, "Gateway", "taken", self.space, again="yes")
        self.deployed("taken")

    def test_names_that_cannot_be(self):
        for name in ("a" * 55, "with.dot"):
            self.api.create(gateway(name, self.space))
            self.deployed(name, "False", "NameNotUsable")

    def test_parameters(self):
        reference = {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "settings"}}
        self.api.create(gateway("asks", self.space, infrastructure={**reference, "labels": {"team": "a"}}))
        self.deployed("asks", "False", "InvalidParameters")
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": self.space}, "data": {"replica": "2"}}
        self.api.create(settings)
        self.api.label(gatewayapi.VERSION, "Gateway", "asks", self.space, look="one")
        eventually(lambda: any("replica: no such parameter" in row["message"] for row in
                               self.api.get(gatewayapi.VERSION, "Gateway", "asks", self.space)["status"]["conditions"]), "the key is named")
        self.api.patch("v1", "ConfigMap", "settings", {"data": {"replica": None, "replicas": "2", "serviceType": "ClusterIP"}}, self.space)
        self.api.label(gatewayapi.VERSION, "Gateway", "asks", self.space, look="two")
        self.deployed("asks")
        self.assertEqual(self.made("v1", "Service", "asks")["spec"]["type"], "ClusterIP")
        self.assertEqual(self.made("apps/v1", "Deployment", "asks")["spec"]["replicas"], 2)
        self.assertEqual(self.made(*OBJECTS[3], "asks")["metadata"]["labels"]["team"], "a")
        self.api.patch("v1", "ConfigMap", "settings", {"data": {"replicas": "1"}}, self.space)
        self.api.label(gatewayapi.VERSION, "Gateway", "asks", self.space, look="three")
        self.api.wait_gone("policy/v1", "PodDisruptionBudget", "asks-fairlead", self.space)

    def test_parameters_that_are_too_large(self):
        """They are refused by name, and Gateways of other namespaces do not wait for any of it."""
        attacker, other = self.namespace("attacker"), self.namespace("other")
        for name, text in (("fat", "<" * 900_000), ("many", "x")):
            self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": attacker},
                             "data": {f"k{i}": text for i in range(1 if name == "fat" else 50_000)}})
        for i in range(20):
            self.api.create(gateway(f"g{i}", attacker, infrastructure={"parametersRef": {
                "group": "", "kind": "ConfigMap", "name": ("fat", "many")[i % 2]}}))
        self.api.create(gateway("good", other))
        self.deployed("good", space=other)
        for i in range(20):
            self.deployed(f"g{i}", "False", "InvalidParameters", space=attacker)
        self.assertFalse(self.deployer.said("a Gateway's proxies could not be applied"))

    def test_addresses(self):
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside", "namespace": self.space}, "data": {"serviceType": "ClusterIP"}}
        self.api.create(settings)
        inside = {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "inside"}}
        self.api.create(gateway("outofrange", self.space, addresses=[{"type": "IPAddress", "value": "192.0.2.77"}], infrastructure=inside))
        self.deployed("outofrange", "False", "AddressNotUsable")
        self.api.create(gateway("named", self.space, addresses=[{"type": "Hostname", "value": "a.example"}]))
        self.deployed("named", "False", "UnsupportedAddress")

    def test_other_classes(self):
        """Another controller's Gateway gets nothing; one that goes over to it loses what we made."""
        self.api.create(gateway("theirs", self.space, class_name="theirs"))
        self.api.create(gateway("leaves", self.space))
        self.deployed("leaves")
        self.assertNotIn(DEPLOYED, conditions(self.api.get(gatewayapi.VERSION, "Gateway", "theirs", self.space)))
        self.assertIsNone(self.made("v1", "Service", "theirs"))
        self.api.patch(gatewayapi.VERSION, "Gateway", "leaves", {"spec": {"gatewayClassName": "theirs"}}, self.space)
        for version, kind in OBJECTS[:3]:
            self.api.wait_gone(version, kind, "leaves-fairlead", self.space)

    def control_of(self, name):
        thing = self.made("apps/v1", "Deployment", name)
        env = thing["spec"]["template"]["spec"]["containers"][0]["env"] if thing else ()
        return next((row["value"].split(".")[0] for row in env if row["name"] == "FAIRLEAD_CONTROL_ADDRESS"), None)

    def test_revisions(self):
        """Two deployers, each for the Gateways of its revision; one that is moved keeps its objects, and its pods have the other's control plane."""
        def named(name, revision):
            thing = gateway(name, self.space)
            thing["metadata"]["labels"] = {"fairlead.io/rev": revision}
            return self.api.create(thing)
        named("moves", "canary")
        named("stays", "default")  # as on a namespace: the one that has no name
        self.deployed("stays")
        self.assertEqual((self.control_of("stays"), self.control_of("moves")), ("fairlead-control", None))
        other = self.program("fairlead-control", "deployer", *self.options("fairlead-control-canary"), "--revision", "canary", "--lease", "fairlead-deployer-canary")
        other.wait("leading")
        self.deployed("moves")
        self.assertEqual((self.control_of("stays"), self.control_of("moves")), ("fairlead-control", "fairlead-control-canary"))
        before = self.made("apps/v1", "Deployment", "moves")
        self.assertEqual(before["spec"]["template"]["metadata"]["labels"]["fairlead.io/rev"], "canary")
        self.api.patch(gatewayapi.VERSION, "Gateway", "moves", {"metadata": {"labels": {"fairlead.io/rev": None}}}, self.space)
        eventually(lambda: self.control_of("moves") == "fairlead-control", "the first deployer has it")
        after = self.made("apps/v1", "Deployment", "moves")
        self.assertEqual(after["metadata"]["uid"], before["metadata"]["uid"])
        self.assertNotIn("fairlead.io/rev", after["spec"]["template"]["metadata"]["labels"])

    def test_who_may_not_follow_does_not_lead(self):
        """One that holds the Lease and can do nothing gives it up, says why, and wants it again: then it may be better."""
        space, group = self.namespace("stuck"), "rbac.authorization.k8s.io"
        subjects = [{"kind": "ServiceAccount", "name": "it", "namespace": space}]
        self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "it", "namespace": space}})
        self.api.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "lease", "namespace": space},
                         "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]}]})
        self.api.create({"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": "lease", "namespace": space},
                         "roleRef": {"apiGroup": group, "kind": "Role", "name": "lease"}, "subjects": subjects})
        deployer = self.program("fairlead-control", "deployer", "--kubeconfig", self.api.kubeconfig(self.folder() / "kubeconfig", "it", space),
                                "--namespace", space, "--revision", "stuck", "--proxy-image", "fairlead.local/proxy:test", "--control-address",
                                "fairlead-control.fairlead-system.svc:15012")
        line = deployer.wait("cannot follow the API server: the Lease is given up, and wanted again later", 120)
        self.assertIn("forbidden", line["error"])
        self.api.wait("coordination.k8s.io/v1", "Lease", "fairlead-deployer", space, lambda it: it and not it["spec"].get("holderIdentity"))
        self.create({"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"lane-{space}"},
                     "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": subjects})
        eventually(lambda: len(deployer.said("leading")) > 1, "it leads again", 120)

    def test_very_many(self):
        """Forty at once: one after the other, and one in between is served too."""
        space = self.namespace("many")
        for number in range(40):
            self.api.create(gateway(f"g{number}", space))
        self.api.create(gateway("late", self.space))
        self.deployed("late")
        for number in range(40):
            self.deployed(f"g{number}", space=space)
        self.assertEqual(self.deployer.said("a Gateway's proxies could not be applied"), [])


if __name__ == "__main__":
    main()
