"""One proxy on loopback between clients and a server: listeners in clear text for any version, HTTP/1 and HTTP/2 alone, one with TLS,
one for HTTP/1 that is lenient; all lead to the same port. The proxy is fairlead-proxy, or what $CONFORMANCE_SUBJECT names ("envoy": $ENVOY): the runner itself is tried so.

    with One(program, origin_port, h2=False) as proxy:
        proxy.plain, proxy.http1, proxy.http2, proxy.tls, proxy.lenient     # ports
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from waiting import eventually, free_port  # noqa: E402

SUBJECT = os.environ.get("CONFORMANCE_SUBJECT", "fairlead")
TYPE = "type.googleapis.com/envoy."
PATIENCE = 20


def certificate(folder):
    """A self-signed one for localhost: (certificate, key)."""
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
                    f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    return f"{folder}/cert.pem", f"{folder}/key.pem"


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": TYPE + kind, **fields}}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def manager(name, codec="AUTO"):
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}
    connect = {"match": {"connect_matcher": {}}, "route": {"cluster": "origin", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}}
    return typed("hcm", "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix=name,
                 codec_type=codec, upgrade_configs=[{"upgrade_type": "websocket"}],
                 **({"http2_protocol_options": {"allow_connect": True}} if SUBJECT != "fairlead" else {}),
                 route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route] if SUBJECT == "fairlead" else [connect, route]}]},
                 http_filters=[typed("router", "extensions.filters.http.router.v3.Router")])


def cluster(port, h2):
    protocol = {"explicit_http_config": {"http2_protocol_options" if h2 else "http_protocol_options": {}}}
    options = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions", **protocol}}
    return {"name": "origin", "type": "STATIC", "connect_timeout": "5s", **({"typed_extension_protocol_options": options} if h2 else {}),
            "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}


class One:
    def __init__(self, program, origin, h2=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-conformance-"))
        chain, key = certificate(self.folder)
        self.plain, self.http1, self.http2, self.tls, self.lenient, self.admin = (free_port() for _ in range(6))
        tls = typed("tls", "extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}]})
        listeners = [
            {"name": "plain", "address": address(self.plain), "filter_chains": [{"filters": [manager("plain")]}]},
            {"name": "http1", "address": address(self.http1), "filter_chains": [{"filters": [manager("http1", "HTTP1")]}]},
            {"name": "http2", "address": address(self.http2), "filter_chains": [{"filters": [manager("http2", "HTTP2")]}]},
            {"name": "tls", "address": address(self.tls), "filter_chains": [{"filters": [manager("tls")], "transport_socket": tls}]},
            {"name": "lenient", "address": address(self.lenient), "filter_chains": [{"filters": [manager("lenient", "HTTP1")]}],
             "metadata": {"filter_metadata": {"fairlead": {"lenient": True}}}}]
        (self.folder / "bootstrap.json").write_text(json.dumps({
            "node": {"id": "one", "cluster": "one"}, "admin": {"address": address(self.admin)},
            "static_resources": {"listeners": listeners, "clusters": [cluster(origin, h2)]}}))
        self.log = open(self.folder / "log", "w+", encoding="utf-8")
        command = [program, "-c", self.folder / "bootstrap.json", "--concurrency", "1"]
        if SUBJECT == "envoy":
            command = [os.environ.get("ENVOY", "envoy"), *command[1:], "--disable-hot-restart", "-l", "error"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def is_ready(self):
        assert self.process.poll() is None, self.said()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.admin), PATIENCE) as sock:
            sock.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in sock.recv(64)
        return False

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def __enter__(self):
        try:
            eventually(self.is_ready, "the proxy is ready")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        alive = self.process.poll() is None
        if alive:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        text = self.said()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert alive, "the proxy has died:\n" + text


def connect(port):
    """A connection to a port of loopback."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.settimeout(PATIENCE)
    return sock


def listen():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock, sock.getsockname()[1]


def timed(begin):
    return f"{time.monotonic() - begin:.1f} s"
