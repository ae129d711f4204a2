"""A Gateway of one machine: fairlead-control over a folder, fairlead-proxy as the gateway, and backends that tell what
arrived. Nothing here needs root."""
import base64
import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading

import control_support

WAIT_S = 20

CONTROL_NAME = "fairlead-control.fairlead-system.svc"
BOOTSTRAP = """
node:
  id: "router~127.0.0.1~main.edge~edge.svc.cluster.local"
  cluster: main
  metadata:
    NAMESPACE: edge
    SERVICE_ACCOUNT: main-fairlead
    FAIRLEAD_GATEWAY: edge/main
    FAIRLEAD_CA_ADDRESS: "127.0.0.1:{xds}"
    FAIRLEAD_CA_NAME: {name}
    FAIRLEAD_ROOT_FILE: "{folder}/ca/root-cert.pem"
    FAIRLEAD_TOKEN_FILE: "{folder}/token"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {xds}}}}}}}}}]}}]
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {name}
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificate_sds_secret_configs: [{{name: default, sds_config: {{ads: {{}}}}}}]
          validation_context:
            trusted_ca: {{filename: "{folder}/ca/root-cert.pem"}}
            match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: {name}}}}}]
"""


def free_port():
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def certificate(folder, name, names, *options):
    """name.pem and its key, signed by itself, or as options say."""
    key = name.replace("cert", "key")
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2",
                    "-subj", "/CN=test", "-addext", f"subjectAltName={names}", "-keyout", f"{folder}/{key}.pem",
                    "-out", f"{folder}/{name}.pem", *options], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return pathlib.Path(folder, f"{name}.pem").read_text(), pathlib.Path(folder, f"{key}.pem").read_text()


class Backend:
    """An HTTP server that answers with what arrived, as JSON, and keeps it: `seen`. The path /status/N sets the status."""

    def __init__(self, name):
        self.name, self.seen, self.changed = name, [], threading.Condition()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("content-length", 0))
                told = {"backend": backend.name, "method": self.command, "path": self.path, "host": self.headers["host"],
                        "headers": {key.lower(): ",".join(self.headers.get_all(key)) for key in self.headers},
                        "body": self.rfile.read(size).decode()}
                with backend.changed:
                    backend.seen.append(told)
                    backend.changed.notify_all()
                body = json.dumps(told).encode()
                parts = self.path.split("?")[0].split("/")
                self.send_response(int(parts[2]) if parts[1] == "status" else 200)
                self.send_header("content-length", str(len(body)))
                self.send_header("x-backend", backend.name)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_HEAD = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def wait(self, count):
        """Until so many requests have arrived."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, WAIT_S), f"{self.name}: {self.seen}"
            return self.seen[:count]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def service(name, port):
    """A Service of namespace demo, its port 80 at a backend's port."""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: demo}}
spec: {{clusterIP: None, ports: [{{name: http, port: 80, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: demo, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"""


def gateway(listeners):
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: main, namespace: edge}}
spec:
  gatewayClassName: fairlead
  listeners:
{listeners}
"""


def route(name, rules, hostnames="", kind="HTTPRoute", parent="{name: main, namespace: edge}"):
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: demo}}
spec:
  parentRefs: [{parent}]
  hostnames: [{hostnames}]
  rules:
{rules}
"""


class Gateway:
    """with Gateway(control program, proxy program, {"world.yaml": text}) as gateway: gateway.ask(port, "/x")"""

    def __init__(self, control_program, proxy_program, files):
        self.program, self.folder, self.lines = proxy_program, tempfile.TemporaryDirectory(), []
        folder = self.folder.name
        subprocess.run([control_program, "token", "create", "--token-dir", f"{folder}/tokens", "--namespace", "edge",
                        "--service-account", "main-fairlead", "--out", f"{folder}/token"], check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)
        self.control = control_support.Control(control_program, files, "--listen", "127.0.0.1:0", "--ca-dir", f"{folder}/ca",
                                               "--token-dir", f"{folder}/tokens")
        self.process = None

    def __enter__(self):
        self.control.__enter__()
        path = pathlib.Path(self.folder.name) / "gateway.yaml"
        path.write_text(BOOTSTRAP.format(folder=self.folder.name, admin=free_port(), xds=self.control.ready["port"],
                                         name=CONTROL_NAME))
        self.ready = threading.Event()
        self.process = subprocess.Popen([self.program, "-c", path], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True, env={**os.environ})
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        if not self.ready.wait(WAIT_S):
            self.__exit__()
            raise AssertionError("the gateway did not start:\n" + "".join(self.lines[-20:]))
        return self

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if '"ready"' in line:
                self.ready.set()

    def __exit__(self, *_):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.reader.join()
            self.process.stderr.close()
        self.control.__exit__()
        self.folder.cleanup()

    def ask(self, port, path, host="a.example", method="GET", body=None, headers=()):
        """status, fields in lower case, what the backend told (or the text)."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("host", host)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            text = answer.read().decode()
            fields = {}
            for name, value in answer.getheaders():
                fields[name.lower()] = f"{fields[name.lower()]},{value}" if name.lower() in fields else value
            return answer.status, fields, json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()


def secret(name, namespace, certificate, key):
    """A TLS Secret of PEM texts."""
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = ", ".join(f"{field}: {base64.b64encode(text.encode()).decode()}" for field, text in data.items())
    return f"""---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: kubernetes.io/tls
data: {{{encoded}}}
"""
