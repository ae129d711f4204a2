#!/usr/bin/env python3
"""fairlead-control over a real API server (--source kubernetes): objects of every kind come, change and go; watch streams cut at any
byte, history compacted, the API server killed, CRDs that come late and go, hostile objects, 10,000 Services at once, rights that lack.

The CRDs here take anything, so that what the API server would refuse comes through: what counts is what the control plane makes of it.
What it knows is seen as any xDS client does: clusters and endpoints of everything, and /status.
"""
import concurrent.futures
import http.client
import json
import pathlib
import random
import re
import socket
import ssl
import threading
import time

import ads_client
from support import place
from support.api import ApiError
from support.lane import Lane, main
from waiting import eventually

NEEDS = "api"
MINUTES = 20

PATIENCE = 60
GATEWAY, OURS = "gateway.networking.k8s.io", "fairlead.io"
CONTROLLER = "fairlead.io/gateway-controller"
# kind: (group, version, plural, namespaced)
CRDS = {
    "GatewayClass": (GATEWAY, "v1", "gatewayclasses", False), "Gateway": (GATEWAY, "v1", "gateways", True),
    "HTTPRoute": (GATEWAY, "v1", "httproutes", True), "TCPRoute": (GATEWAY, "v1alpha2", "tcproutes", True),
    "ReferenceGrant": (GATEWAY, "v1beta1", "referencegrants", True),
    "AuthorizationPolicy": (OURS, "v1alpha1", "authorizationpolicies", True),
    "RequestAuthentication": (OURS, "v1alpha1", "requestauthentications", True),
    "PeerAuthentication": (OURS, "v1alpha1", "peerauthentications", True),
    "TrafficPolicy": (OURS, "v1alpha1", "trafficpolicies", True), "Telemetry": (OURS, "v1alpha1", "telemetries", True),
    "MeshSettings": (OURS, "v1alpha1", "meshsettings", True),
}
METRIC = re.compile(r'^fairlead_control_source_(\w+)\{kind="(\w+)"\} (\S+)$', re.MULTILINE)

REQUEST = re.compile(rb"^((?:GET|POST|PUT|PATCH|DELETE) \S+) HTTP/1.1\r$", re.MULTILINE)


def crd(kind):
    group, version, plural, namespaced = CRDS[kind]
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
            "spec": {"group": group, "scope": "Namespaced" if namespaced else "Cluster",
                     "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": version, "served": True, "storage": True, "schema": anything}]}}


def thing(kind, name, namespace, spec, **metadata):
    version = {"Service": "v1", "Secret": "v1", "EndpointSlice": "discovery.k8s.io/v1"}.get(kind) or "/".join(CRDS[kind][:2])
    return {"apiVersion": version, "kind": kind, "spec": spec,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}}


def service(name, namespace, port=80, **spec):
    return thing("Service", name, namespace, {"ports": [{"name": "http", "port": port}], **spec})


def endpoints(name, namespace, *addresses):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-a", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]}


class Control:
    """fairlead-control, ready when this returns (or not, where wait is False)."""

    def __init__(self, lane, kubeconfig=place.KUBECONFIG, wait=True, namespace="fairlead-system"):
        self.program = lane.program("fairlead-control", "--source", "kubernetes", "--kubeconfig", kubeconfig, "--namespace",
                                    namespace, "--listen", "none", "--listen-plaintext", "127.0.0.1:0", "--http",
                                    "127.0.0.1:0" if wait else "127.0.0.1:15914")
        ready = self.program.wait("ready", PATIENCE) if wait else {"http_port": 15914}
        self.http, self.xds = ready["http_port"], f"127.0.0.1:{ready.get('plaintext_port')}"

    def page(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def metric(self, name, kind):
        return next((float(value) for key, label, value in METRIC.findall(self.page("/metrics")[1]) if (key, label) == (name, kind)),
                    None)

    def status(self, kind, namespace):
        """name: (all conditions' reasons, all messages), of what is in force and of what is not."""
        told = json.loads(self.page(f"/status?kind={kind}&namespace={namespace}")[1])
        return {row["metadata"]["name"]: json.dumps(row) for row in told["problems"] + told["objects"]}

    def world(self):
        """All clusters and endpoints, as bytes, by name."""
        stream, found = ads_client.Stream(self.xds, "lane"), {}
        for kind in (ads_client.CDS, ads_client.EDS):
            names = [name for name in found if name.startswith("outbound|")] if kind == ads_client.EDS else []
            if kind == ads_client.EDS and not names:
                break
            stream.ask(kind, subscribe=names)
            wanted = set(names)
            while True:
                answer = stream.next()
                found.update({(name if kind == ads_client.CDS else f"endpoints {name}"): data
                              for name, (_, data) in answer.resources.items()})
                stream.acknowledge(answer)
                wanted -= set(answer.resources) | set(answer.removed)
                if not wanted and stream.quiet():
                    break
        stream.close()
        return found

    def clusters(self, namespace):
        return {name for name in self.world() if name.startswith("outbound|") and f".{namespace}." in name}

    def memory(self):
        """Private KiB now, and the most that was ever resident."""
        proc = pathlib.Path(f"/proc/{self.program.pid}")
        private = sum(int(kib) for kib in re.findall(r"Private_(?:Clean|Dirty): +(\d+)", (proc / "smaps_rollup").read_text()))
        return private, int(re.search(r"VmHWM:\s+(\d+)", (proc / "status").read_text())[1])

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.program.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Cutter:
    """A way to the API server in plaintext, for whoever comes: its answers are cut after so many bytes, drawn anew for each
    connection, wherever that is. The administrator's certificate is shown for them. What was asked is remembered."""

    def __init__(self, lane, most):
        self.most, self.cuts, self.seed, self.asked = most, 0, random.Random(most), []
        self.context = ssl.create_default_context(cafile=str(place.PKI / "ca.crt"))
        self.context.load_cert_chain(place.PKI / "admin.crt", place.PKI / "admin.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.over = False
        lane.later(self.stop)
        threading.Thread(target=self.accept, daemon=True).start()
        self.kubeconfig = lane.folder() / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it", "users": [],
            "contexts": [{"name": "it", "context": {"cluster": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{self.listener.getsockname()[1]}"}}]}))

    def accept(self):
        while not self.over:
            try:
                client, _ = self.listener.accept()
                server = self.context.wrap_socket(socket.create_connection((place.NODE_IP, 6443)), server_hostname=place.NODE_IP)
            except OSError:
                continue
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, cut):
        """Also of connections that were there before `most` was set."""
        left = None
        try:
            while left != 0 and (data := source.recv(65536)):
                self.asked += [line.decode() for line in REQUEST.findall(data)]
                if cut and self.most and left is None:
                    left = self.seed.randrange(1, self.most)
                sink.sendall(data[:left])
                left = None if left is None else max(0, left - len(data))
            self.cuts += left == 0
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def stop(self):
        self.over = True
        self.listener.close()


class Source(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for kind in CRDS:
            cls.know(kind)
        cls.control = Control(cls)

    @classmethod
    def know(cls, kind):
        made = cls.create(crd(kind))
        cls.api.wait(made["apiVersion"], made["kind"], made.name, None, lambda it: it and any(
            row["type"] == "Established" and row["status"] == "True" for row in it.get("status", {}).get("conditions") or ()))
        cls.api.paths.clear()

    def until(self, check, what, patience=PATIENCE):
        return eventually(check, what, patience)

    # -- objects ------------------------------------------------------------------------------------------------------

    def test_core_objects_come_change_and_go(self):
        space = self.namespace()
        self.api.create(service("web", space))
        self.api.create(endpoints("web", space, "10.9.0.1", "10.9.0.2"))
        name = f"outbound|80||web.{space}.svc.cluster.local"
        world = self.until(lambda: (found := self.control.world()) and f"endpoints {name}" in found and found, "the Service is known")
        self.assertIn(b"10.9.0.2", world[f"endpoints {name}"])
        self.api.patch("discovery.k8s.io/v1", "EndpointSlice", "web-a", {"endpoints": [
            {"addresses": ["10.9.0.3"], "conditions": {"ready": True}}]}, space)
        self.until(lambda: b"10.9.0.3" in self.control.world()[f"endpoints {name}"], "its endpoint is another")
        self.assertNotIn(b"10.9.0.1", self.control.world()[f"endpoints {name}"])
        self.api.patch("v1", "Service", "web", {"spec": {"ports": [{"name": "http", "port": 81}]}}, space)
        self.until(lambda: f"outbound|81||web.{space}.svc.cluster.local" in self.control.clusters(space), "its port is another")
        self.api.delete("v1", "Service", "web", space)
        self.until(lambda: not self.control.clusters(space), "the Service is gone")

    def test_every_kind_of_ours_comes_changes_and_goes(self):
        space = self.namespace()
        key = {"kty": "EC", "crv": "P-256", "kid": "a", "alg": "ES256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
               "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
        specs = {
            "Gateway": {"gatewayClassName": "lane", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]},
            "HTTPRoute": {"parentRefs": [{"name": "web", "kind": "Service", "group": ""}], "hostnames": ["a.example"]},
            "TCPRoute": {"parentRefs": [{"name": "web", "kind": "Service", "group": "", "port": 80}],
                         "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
            "ReferenceGrant": {"from": [{"group": GATEWAY, "kind": "HTTPRoute", "namespace": "other"}],
                               "to": [{"group": "", "kind": "Service"}]},
            "AuthorizationPolicy": {"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["PUT"]}}]}]},
            "RequestAuthentication": {"jwtRules": [{"issuer": "a", "jwks": json.dumps({"keys": [key]})}]},
            "PeerAuthentication": {"mtls": {"mode": "STRICT"}},
            "TrafficPolicy": {"targetRefs": [{"kind": "Service", "group": "", "name": "web"}], "connectTimeout": "3s"},
            "Telemetry": {"accessLogging": {"enabled": False}},
            "MeshSettings": {"egress": "Refuse"},
        }
        self.create(thing("GatewayClass", "lane", None, {"controllerName": CONTROLLER}))
        before = {kind: self.control.metric("objects", kind) for kind in specs}
        for kind, spec in specs.items():
            self.api.create(thing(kind, "it", space, spec))
        for kind in specs:
            with self.subTest(kind=kind):
                self.until(lambda kind=kind: self.control.metric("objects", kind) == before[kind] + 1, f"a {kind} came")
        for kind in ("AuthorizationPolicy", "HTTPRoute"):
            version = "/".join(CRDS[kind][:2])
            with self.subTest(broken=kind):
                self.api.patch(version, kind, "it", {"spec": {"rules": "none", "hostnames": 7}}, space)
                self.until(lambda kind=kind: "$.spec." in self.control.status(kind, space).get("it", ""), f"the {kind} is broken")
                told = self.control.status(kind, space)["it"]
                self.assertRegex(told, "InvalidKept" if kind == "HTTPRoute" else "everything is denied")
                self.assertEqual(self.control.metric("objects", kind), before[kind] + 1)
        for kind in specs:
            self.api.delete("/".join(CRDS[kind][:2]), kind, "it", space)
        for kind in specs:
            with self.subTest(gone=kind):
                self.until(lambda kind=kind: self.control.metric("objects", kind) == before[kind], f"the {kind} is gone")
                self.assertNotIn("it", self.control.status(kind, space))

    def test_a_mesh_elsewhere(self):
        """The MeshSettings that count are those of the namespace in which this control plane is installed."""
        ours, theirs = self.namespace("ours"), self.namespace("theirs")
        for space in (ours, theirs):
            self.create(thing("MeshSettings", "default", space, {"egress": "Refuse"}))
        control = Control(self, namespace=ours)
        self.until(lambda: '"Accepted"' in control.status("MeshSettings", ours).get("default", ""), "ours are told")
        self.assertNotIn("Unused", control.status("MeshSettings", ours)["default"])
        self.assertIn(f"MeshSettings count as {ours}/default alone", control.status("MeshSettings", theirs)["default"])
        self.assertIn("MeshSettings count as fairlead-system/default alone", self.control.status("MeshSettings", ours)["default"])

    def test_what_a_tenant_reaches_for_elsewhere(self):
        """Its Gateway names another namespace's Secret: nobody even asks for it, until a ReferenceGrant there permits that."""
        bank, shop = self.namespace("bank"), self.namespace("shop")
        self.create(thing("GatewayClass", "reach", None, {"controllerName": CONTROLLER}))
        for space, name in ((bank, "theirs"), (shop, "own"), (shop, "unnamed")):
            self.api.create({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                             "metadata": {"name": name, "namespace": space},
                             "stringData": {"tls.crt": "certificate", "tls.key": "key"}})
        way = Cutter(self, 0)
        control = Control(self, way.kubeconfig)
        path = "GET /api/v1/namespaces/{}/secrets/{}"
        tls = {"certificateRefs": [{"name": "theirs", "namespace": bank}, {"name": "own"}]}
        self.api.create(thing("Gateway", "g", shop, {"gatewayClassName": "reach", "listeners": [
            {"name": "a", "port": 443, "protocol": "HTTPS", "tls": tls}]}))
        self.until(lambda: path.format(shop, "own") in way.asked, "its own Secret is fetched")
        self.until(lambda: "RefNotPermitted" in control.status("Gateway", shop).get("g", ""), "the reference is refused")
        self.assertEqual({asked for asked in way.asked if "secrets" in asked}, {path.format(shop, "own")})
        self.api.create(thing("ReferenceGrant", "g", bank, {"from": [{"group": GATEWAY, "kind": "Gateway", "namespace": shop}],
                                                            "to": [{"group": "", "kind": "Secret", "name": "theirs"}]}))
        self.until(lambda: path.format(bank, "theirs") in way.asked, "the other one is fetched")
        self.until(lambda: "RefNotPermitted" not in control.status("Gateway", shop)["g"], "the reference is permitted")
        self.assertFalse([asked for asked in way.asked if not asked.startswith("GET ") and "/leases" not in asked])

    def test_hostile_objects(self):
        """Each is let in by the API server. The rest stays in force, and each that is wrong is told by name, field and why."""
        space = self.namespace()
        self.api.create(service("web", space))
        self.api.create(thing("HTTPRoute", "good", space, {"parentRefs": [{"name": "web", "kind": "Service", "group": ""}]}))
        deep = json.loads('{"a":' * 90 + "1" + "}" * 90)
        hostile = {
            "a-text": thing("HTTPRoute", "a-text", space, "text"),
            "a-list": thing("HTTPRoute", "a-list", space, {"rules": [[[]]]}),
            "a-port": thing("HTTPRoute", "a-port", space, {"parentRefs": [{"name": "web", "port": 1e40}]}),
            "deep": thing("HTTPRoute", "deep", space, {"rules": [deep]}),
            "long": thing("HTTPRoute", "long", space, {"hostnames": ["x" * 1000000]}),
            "many": thing("HTTPRoute", "many", space, {"rules": [{"matches": [{"path": {"value": f"/{i}"}}]} for i in range(9000)]}),
            "named": thing("HTTPRoute", "named", space, {"parentRefs": [{"name": "../../x\n\u202e\u0000", "kind": "Service"}]}),
            "null": thing("HTTPRoute", "null", space, None),
        }
        for name, object_ in hostile.items():
            self.api.create(object_)
        self.api.create(thing("AuthorizationPolicy", "closed", space, {"rules": {"from": deep}}))
        self.api.create({**service("headers", space), "metadata": {
            "name": "headers", "namespace": space, "annotations": {f"fairlead.io/{i}": "x" * 1000 for i in range(250)}}})
        self.until(lambda: "closed" in self.control.status("AuthorizationPolicy", space), "the last one is known")
        self.until(lambda: "null" in self.control.status("HTTPRoute", space), "the last route is known")
        told = self.control.status("HTTPRoute", space)
        for name in set(hostile) - {"named"}:
            with self.subTest(object=name):
                self.assertIn("UnknownMember" if name == "deep" else '"Invalid"', told[name])
        self.assertIn('"type": "Accepted", "status": "True"', told["good"])
        self.assertIn(f"outbound|80||web.{space}.svc.cluster.local", self.control.clusters(space))
        lines = self.control.program.said("object refused")
        self.assertTrue(all(len(json.dumps(line)) < 4096 for line in lines))

    def test_very_many_broken_objects(self):
        """Told in a list that is bounded, logged some, and what is good comes through beside them."""
        space, count = self.namespace(), 3000
        before = self.control.program.said("object refused")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: self.api.create(thing("Telemetry", f"t-{i}", space, {"nothing": i})), range(count)))
        self.api.create(service("beside", space))
        self.until(lambda: self.control.clusters(space), "a good object comes through")
        self.until(lambda: float(re.search(r"^fairlead_control_problems (\S+)$", self.control.page("/metrics")[1], re.MULTILINE)[1])
                   >= count, "all are counted")
        told = json.loads(self.control.page(f"/status?kind=Telemetry&namespace={space}")[1])
        self.assertLessEqual(len(told["problems"]), 1001)
        self.assertLess(len(self.control.program.said("object refused")) - len(before), count)
        self.api.request("DELETE", self.api.path(f"{OURS}/v1alpha1", "Telemetry", None, space))
        self.until(lambda: not json.loads(self.control.page(f"/status?kind=Telemetry&namespace={space}")[1])["problems"],
                   "all are gone")

    # -- an API server with troubles ----------------------------------------------------------------------------------

    def test_streams_cut_at_any_byte(self):
        """Behind a way that cuts every connection somewhere, everything comes out as it does for one that starts afterwards."""
        space = self.namespace()
        for most in (900, 6000, 60000):
            cutter = Cutter(self, 0)
            control = Control(self, cutter.kubeconfig)
            cutter.most, seed = most, random.Random(most)
            self.api.create(service(f"first-{most}", space))
            there = set()
            for i in range(150):
                name = f"s-{most}-{seed.randrange(20)}"
                if name not in there:
                    self.api.create(service(name, space))
                    self.api.create(endpoints(name, space, f"10.9.{seed.randrange(250)}.{i + 1}"))
                    there.add(name)
                elif seed.random() < 0.4:
                    self.api.delete("v1", "Service", name, space)
                    self.api.delete("discovery.k8s.io/v1", "EndpointSlice", f"{name}-a", space)
                    there.discard(name)
                else:
                    self.api.patch("discovery.k8s.io/v1", "EndpointSlice", f"{name}-a", {"endpoints": [
                        {"addresses": [f"10.9.{seed.randrange(250)}.{i + 1}"], "conditions": {"ready": True}}]}, space)
            self.api.create(service(f"last-{most}", space))
            cutter.most = 0
            fresh = Control(self)
            with self.subTest(most=most):
                self.until(lambda control=control, fresh=fresh: control.world() == fresh.world(), "both know the same", 90)
                self.assertGreater(cutter.cuts, 3)

    def test_the_api_server_is_killed(self):
        """What is in force stays; the log says so, a few lines; what changes afterwards comes."""
        space = self.namespace()
        self.api.create(service("before", space))
        self.until(lambda: self.control.clusters(space), "the Service is known")
        lines = len(self.control.program.entries)
        place.run(place.HERE / "restart", "kube-apiserver")
        self.assertTrue(self.control.clusters(space))
        self.assertEqual(self.control.page("/readyz")[0], 200)
        self.api.close()

        def changed():
            try:
                return self.api.create(service("after", space))
            except (OSError, http.client.HTTPException, ApiError):
                self.api.close()
                return None
        self.until(changed, "the API server is there again", 120)
        self.until(lambda: len(self.control.clusters(space)) == 2, "what changed is known", 60)
        told = [entry["message"] for entry in self.control.program.entries[lines:] if "kind" in entry]  # others go on: models, the Lease
        self.assertLess(len(told), 4 * len(CRDS) + 40, told)

    def test_crds_that_come_late_and_go(self):
        control = Control(self)
        group, version, plural, _ = CRDS["Telemetry"]
        self.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}")
        self.api.wait_gone("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}")
        self.until(lambda: control.metric("synced", "Telemetry") == -1, "the kind is gone", 120)
        late = Control(self)  # starts without it
        self.assertEqual(late.metric("synced", "Telemetry"), -1)
        self.know("Telemetry")
        space = self.namespace()
        self.api.create(thing("Telemetry", "it", space, {"accessLogging": {"enabled": False}}))
        for one in (control, late):
            self.until(lambda one=one: one.metric("objects", "Telemetry") == 1, "its object is known", 60)
        self.api.delete(f"{group}/{version}", "Telemetry", "it", space)
        for one in (control, late, self.control):
            self.until(lambda one=one: (one.metric("synced", "Telemetry"), one.metric("objects", "Telemetry")) == (1, 0), "it is gone", 120)

    # -- rights -------------------------------------------------------------------------------------------------------

    def account(self, name, rules):
        space = self.namespace(name)
        self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "control", "namespace": space}})
        role = self.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                            "metadata": {"name": f"lane-{space}"}, "rules": rules})
        self.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                     "metadata": {"name": f"lane-{space}"},
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.name},
                     "subjects": [{"kind": "ServiceAccount", "name": "control", "namespace": space}]})
        return role, self.api.kubeconfig(self.folder() / "kubeconfig", "control", space)

    def test_the_rights_that_it_takes(self):
        """list and watch of what it follows, get of Secrets: nothing else. One that lacks is told with verb and kind."""
        rights = [{"apiGroups": [""], "resources": ["namespaces", "services", "pods"], "verbs": ["list", "watch"]},
                  {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
                  {"apiGroups": [OURS, GATEWAY], "resources": ["*"], "verbs": ["list", "watch"]},
                  {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
        _, kubeconfig = self.account("rights", rights)
        control = Control(self, kubeconfig)
        self.assertFalse(control.program.said("the API server refuses a kind: what is in force stays"))
        control.program.stop()
        role, kubeconfig = self.account("fewer", [rights[0], rights[2]])
        control = Control(self, kubeconfig, wait=False)
        line = control.program.wait("the API server refuses a kind: what is in force stays", kind="EndpointSlice")
        self.assertRegex(line["error"], 'cannot list resource "endpointslices"')
        self.until(lambda: control.metric("synced", "HTTPRoute") == 1, "the others are followed")
        self.assertEqual(control.page("/readyz")[0], 503)
        self.api.patch("rbac.authorization.k8s.io/v1", "ClusterRole", role.name, {"rules": rights})
        control.program.wait("ready", 60)

    # -- size ---------------------------------------------------------------------------------------------------------

    def test_very_many_services_at_once(self):
        """Without addresses: the API server gives out some dozen a second."""
        space, count = self.namespace(), 10000
        before, begun, cpu = self.control.memory(), time.monotonic(), self.control.cpu()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: self.api.create(service(f"s-{i}", space, clusterIP="None")), range(count)))
        made = time.monotonic()
        self.until(lambda: self.control.metric("objects", "Service") == self.services() > count, "all are known")
        told, after = time.monotonic(), self.control.memory()
        fresh = Control(self)
        print(f"\n{count} Services: made in {made - begun:.1f} s, known {told - made:.2f} s after the last one,"
              f" {self.control.cpu() - cpu:.1f} s of CPU; private {before[0] / 1024:.1f} → {after[0] / 1024:.1f} MiB,"
              f" at most {after[1] / 1024:.1f} MiB resident; one that starts now: private {fresh.memory()[0] / 1024:.1f},"
              f" at most {fresh.memory()[1] / 1024:.1f} MiB resident, {fresh.cpu():.2f} s of CPU", flush=True)
        self.assertLess(told - made, 5)
        self.assertLess(after[1], 200 << 10)
        self.assertEqual(fresh.metric("objects", "Service"), self.services())
        self.until(lambda: self.emptied(space), "they are gone", 300)
        self.until(lambda: self.control.metric("objects", "Service") == self.services(), "that is known")

    def services(self):
        answer = self.api.request("GET", "/api/v1/services", limit=1)
        return len(answer["items"]) + (answer["metadata"].get("remainingItemCount") or 0)

    def emptied(self, space):
        """Deletes what is left of its Services, as far as one request comes."""
        try:
            self.api.request("DELETE", self.api.path("v1", "Service", None, space))
        except (OSError, http.client.HTTPException, ApiError):
            self.api.close()
        return not self.api.request("GET", self.api.path("v1", "Service", None, space), limit=1)["items"]


if __name__ == "__main__":
    main()
