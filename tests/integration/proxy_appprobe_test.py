"""The proxy's side of app probes and merged metrics, and its hooks: real app servers in a pod that is captured by the real
plugin and takes mTLS alone, asked by a kubelet that is not of the mesh.

    pod "a" (10.88.0.2, fd88::2): the kubelet, the scraper, the flood; not captured
    pod "b" (10.88.0.3, fd88::3): the apps and their sidecar, STRICT

    proxy_appprobe_test.py <fairlead-proxy> <fairlead-cni>
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time

import cni_support
import proxy_support as s
from proxy_support import ADDRESS, NAME, Proxy, Reader, eventually, inside, run

import grpc

PLUGIN = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else ""
KUBELET = {4: "10.88.0.9", 6: "fd88::9"}  # another address of pod a
SPEC = cni_support.spec(inbound_excludePorts=["8085"])
ENDLESS = threading.Event()


class World:
    """What the tests share: they run in their order."""
    asked = []  # (port, request line, fields, peer) of every request that an app has had
    hooks = []
    lock = threading.Lock()


def capture(role, probe=True):
    del probe
    if role == "b":
        cni_support.Plugin(PLUGIN).succeed("ADD", f"/run/netns/{NAME['b']}", cni_support.config(SPEC), CNI_IFNAME="m0")


# -- the apps ---------------------------------------------------------------------------------------------------------

class App:
    """A server in pod b, bound to `address`; each connection goes to `serve` in a thread of its own."""

    def __init__(self, port, serve, address="::", context=None):
        with inside("b"):
            self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(256)
        self.port, self.serve, self.context = port, serve, context
        self.open = self.most = self.count = 0
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            sock.settimeout(s.PATIENCE)
            threading.Thread(target=self.one, args=(sock, peer[0]), daemon=True).start()

    def one(self, sock, peer):
        with World.lock:
            self.open, self.count = self.open + 1, self.count + 1
            self.most = max(self.most, self.open)
        try:
            with contextlib.suppress(OSError, EOFError):
                if self.context:
                    sock = self.context.wrap_socket(sock, server_side=True)
                with sock:
                    self.serve(self, sock, peer)
        finally:
            with World.lock:
                self.open -= 1

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def answer(sock, status, *fields, body=b"secret"):
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields))
    sock.sendall(head.encode() + b"\r\n" + body)


def request_of(app, sock, peer):
    line, fields = Reader(sock).head()
    World.asked.append((app.port, line, fields, peer))
    return line.split()[1]


METRICS = """# HELP app_requests_total Requests of the app.
# TYPE app_requests_total counter
app_requests_total{{path="/"}} 42
# TYPE fairlead_build_info gauge
fairlead_build_info{{version="forged"}} 1
app_bucket{{le="1"}} 5 # {{trace_id="x"}} 0.5
this is no line
{more}# EOF
"""


def serve_web(app, sock, peer):
    if not app.context and sock.recv(1, socket.MSG_PEEK) == b"\x16":
        answer(sock, 400)  # as servers do that hear TLS where they speak HTTP
        return
    path = request_of(app, sock, peer)
    if path == "/metrics":
        answer(sock, 200, body=METRICS.format(more="").encode())
    elif path == "/metrics-large":
        answer(sock, 200, body=METRICS.format(more="".join(f'large{{n="{n}"}} 1\n' for n in range(60000))).encode())
    elif path == "/metrics-huge":
        answer(sock, 200, body=b'huge{n="1"} 1\n' * 700000)
    elif path == "/endless":
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x" * 65536)
        ENDLESS.set()
    elif path == "/hang":
        sock.recv(1)
    elif path == "/close":
        return
    elif path == "/cut":
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    elif path == "/garbage":
        sock.sendall(b"SSH-2.0-something\r\n\r\n")
    elif path == "/chunked":
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    elif path == "/slow":
        time.sleep(0.3)  # an app that takes its time; nothing waits for this but the answer itself
        answer(sock, 204, body=b"")
    elif path.startswith("/redirect"):
        where = {"/redirect": "/redirect2?x", "/redirect2?x": "ok", "/redirect-loop": "/redirect-loop",
                 "/redirect-elsewhere": "http://example.com/", "/redirect-loopback": "http://127.0.0.1:15000/quitquitquit",
                 "/redirect-own": f"http://{World.pod_ip}:15020/app-health/redirects-own/readyz",
                 "/redirect-port": f"http://{World.pod_ip}:8081/ok", "/redirect-nowhere": ""}[path]
        answer(sock, 302, *([f"Location: {where}"] if where else []))
    else:
        answer(sock, int(path[1:]) if path[1:].isdigit() else 200)


def serve_silent(app, sock, peer):
    del app, peer
    while sock.recv(65536):
        pass


def health(request, context):
    """grpc.health.v1.Health/Check over bytes: the service's name is the answer."""
    World.asked.append((9090, request, dict(context.invocation_metadata()), context.peer()))
    service = request[2:].decode()
    if service == "":
        return b"\x08\x01"
    if service == "down":
        return b"\x08\x02"
    if service == "hang":
        threading.Event().wait(s.PATIENCE)
    context.abort(grpc.StatusCode.NOT_FOUND, "no such service")


class Health(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(health) if details.method == "/grpc.health.v1.Health/Check" else None


def start_grpc():
    """In a process of its own: gRPC's threads are not to be in this one's namespaces."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Health()])
    with inside("b"):
        assert server.add_insecure_port("[::]:9090") == 9090
    server.start()
    return server


def tls_context(version):
    """A certificate that nobody can have any reason to trust, with a key that is short."""
    path = s.FOLDER / "app"
    if not path.with_suffix(".pem").exists():
        run("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "1", "-subj", "/CN=app", "-keyout",
            f"{path}.key", "-out", f"{path}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{path}.pem", f"{path}.key")
    context.maximum_version = context.minimum_version = version
    return context


def start_apps():
    World.web = App(8080, serve_web)
    World.silent = App(8083, serve_silent)
    World.apps = [
        World.web, World.silent, App(8085, serve_web),
        App(8081, serve_web, ADDRESS["b", 4]), App(8081, serve_web, ADDRESS["b", 6]),
        App(8082, serve_web, "127.0.0.1"), App(8082, serve_web, "::1"), App(8084, serve_web, "0.0.0.0"),
        App(8443, serve_web, context=tls_context(ssl.TLSVersion.TLSv1_3)),
        App(8444, serve_web, context=tls_context(ssl.TLSVersion.TLSv1_2))]
    World.grpc = start_grpc()


# -- the table --------------------------------------------------------------------------------------------------------

def http(port=8080, path="/ok", scheme="HTTP", **headers):
    return {"httpGet": {"scheme": scheme, "port": port, "path": path,
                        "headers": [{"name": name, "value": value} for name, value in headers.items()]}}


def tcp(port):
    return {"tcpSocket": {"port": port}}


def health_of(service, port=9090):
    return {"grpc": {"port": port, "service": service}}


READY = {  # container: handler, status that the kubelet gets
    "any": (http(), 200), "any-tcp": (tcp(8080), 200), "chunked": (http(path="/chunked"), 200), "slow": (http(path="/slow"), 204),
    "pod-ip": (http(8081), 200), "excluded": (http(8085), 200), "loopback": (http(8082), 502), "loopback-tcp": (tcp(8082), 502),
    "https": (http(8443, scheme="HTTPS"), 200), "https12": (http(8444, scheme="HTTPS"), 200), "https-fails": (http(8443, "/503", "HTTPS"), 503),
    "https-at-http": (http(8080, scheme="HTTPS"), 502), "http-at-https": (http(8443), 502),
    "fails": (http(path="/500"), 500), "unwell": (http(path="/404"), 404), "teapot": (http(path="/399"), 399),
    "nobody": (http(8099), 502), "nobody-tcp": (tcp(8099), 502),
    "hangs": (http(path="/hang"), 504), "hangs-tls": (http(8083, scheme="HTTPS"), 504), "endless": (http(path="/endless"), 200),
    "closes": (http(path="/close"), 502), "cuts": (http(path="/cut"), 502), "garbage": (http(path="/garbage"), 502),
    "redirects": (http(path="/redirect"), 200), "redirects-loop": (http(path="/redirect-loop"), 502),
    "redirects-elsewhere": (http(path="/redirect-elsewhere"), 302), "redirects-loopback": (http(path="/redirect-loopback"), 302),
    "redirects-own": (http(path="/redirect-own"), 502), "redirects-port": (http(path="/redirect-port"), 200),
    "redirects-nowhere": (http(path="/redirect-nowhere"), 302),
    "grpc": (health_of(""), 200), "grpc-down": (health_of("down"), 503), "grpc-unknown": (health_of("who"), 503),
    "grpc-hangs": (health_of("hang"), 504), "grpc-nobody": (health_of("", 8099), 502), "grpc-at-http": (health_of("", 8080), 502),
    "headers": (http(path="/headers?a=b c", Host="app.local", Authorization="Basic eDp5"), 200),
}
V4_ONLY = {"ipv4": (http(8084), 200)}


def probes():
    table = [{"container": name, "kind": "readyz", "timeoutSeconds": 1, **handler}
             for name, (handler, _) in {**READY, **V4_ONLY}.items()]
    table += [{"container": "any", "kind": kind, "timeoutSeconds": 3, **http(path=f"/{kind}")} for kind in ("startupz", "livez")]
    table += [{"container": "any", "kind": "poststartz", **http(path="/hook")}, {"container": "any", "kind": "prestopz", **http(path="/500")},
              {"container": "nobody", "kind": "prestopz", **http(8099)}, {"container": "slow", "kind": "poststartz", **http(path="/slow")},
              {"container": "https-at-http", "kind": "prestopz", **http(8080, "/bye", "HTTPS", Authorization="Basic eDp5")},
              {"container": "silent", "kind": "livez", "timeoutSeconds": 3600, **http(8083)}]
    return json.dumps({"version": 1, "probes": table})


def metrics(path="/metrics", port=8080, scheme="http"):
    return json.dumps({"version": 1, "scheme": scheme, "port": port, "path": path})


OUTBOUND = """
  listeners:
  - name: virtualOutbound
    traffic_direction: OUTBOUND
    address: {socket_address: {address: "::", port_value: 15001, ipv4_compat: true}}
    listener_filters:
    - name: envoy.filters.listener.original_dst
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}
    default_filter_chain:
      filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: outbound
          cluster: inbound
"""


def strict():
    """The golden server under STRICT, and where the start gate's dial comes back to."""
    return (s.GOLDEN / "server-strict.yaml").read_text().replace("\n  listeners:\n", OUTBOUND, 1)


@contextlib.contextmanager
def sidecar(family=4, app_metrics=None, environment=None, options=("--drain-time-s", "20")):
    World.pod_ip = ADDRESS["b", 4] if family == 4 else f"[{ADDRESS['b', 6]}]"
    ips = [ADDRESS["b", 4], ADDRESS["b", 6]]
    proxy = Proxy("b", strict(), "server", options=options, environment={
        "FAIRLEAD_CAPTURE": SPEC, "FAIRLEAD_PROBES": probes(), "FAIRLEAD_METRICS": app_metrics or metrics(),
        "POD_IPS": ",".join(ips if family == 4 else reversed(ips)), **(environment or {})})
    try:
        eventually(lambda: kubelet("/healthz/started", port=15021)[0] == 200, "the start gate does not open")
        yield proxy
        if proxy.process.poll() is None:
            proxy.stop()
    finally:
        if proxy.process.poll() is None:
            proxy.process.kill()
            proxy.process.wait()


# -- the kubelet ------------------------------------------------------------------------------------------------------

def kubelet(path, family=4, port=15020, source=None, fields=()):
    """Status, fields and body of an answer; None where the connection ends without one."""
    with inside("a"):
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    with sock:
        sock.settimeout(s.PATIENCE)
        sock.bind((source or KUBELET[family], 0))
        sock.connect((ADDRESS["b", family], port))
        lines = [f"GET {path} HTTP/1.1", "Host: x", "User-Agent: kube-probe/1.37", "Connection: close", *fields]
        sock.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        reader = Reader(sock)
        try:
            line, found = reader.head()
        except EOFError:
            return None
        return int(line.split()[1]), found, b"" if line.split()[1] == "204" else reader.body(found)


def ready(container, kind="readyz", **how):
    got = kubelet(f"/app-{'lifecycle' if kind in ('poststartz', 'prestopz') else 'health'}/{container}/{kind}", **how)
    return got[0] if got else None


def from_mesh(path="/ok", identity="client"):
    """Status and fields of a request over mTLS, as a client's sidecar sends it."""
    sock = s.tls_client(identity).wrap_socket(s.dial("a", "b", 8080))
    with sock:
        sock.sendall(b"FLP\x01\0\0" + s.get(path).encode())
        reader = Reader(sock)
        assert reader.exactly(4) == b"FLP\x01"
        reader.exactly(int.from_bytes(reader.exactly(2), "big"))
        line, fields = reader.head()
        reader.body(fields)
        return int(line.split()[1]), fields


# -- tests ------------------------------------------------------------------------------------------------------------

def every_kind_of_app(family):
    cases = {**READY, **(V4_ONLY if family == 4 else {})}
    with sidecar(family) as proxy, concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert s.refused("a", "b", 8080, family=family, say=s.get().encode()), "STRICT let a plain request in"
        got = dict(zip(cases, pool.map(lambda name: ready(name, family=family), cases)))
        wrong = {name: (status, cases[name][1]) for name, status in got.items() if status != cases[name][1]}
        assert not wrong, f"(got, expected): {wrong}"
        assert all(ready("any", kind, family=family) == 200 for kind in ("startupz", "livez"))
        assert ENDLESS.wait(s.PATIENCE), "an endless answer is read without end"
        assert proxy.metric("fairlead_app_probes_total", kind="readyz", result="timeout") == 3
        assert proxy.metric("fairlead_app_probes_total", kind="readyz", result="redirects") == 2
        assert not proxy.metric("fairlead_connections_refused_total", reason="loop"), "a probe went through the capture"
        World.asked.clear()


def probes_under_strict_over_ipv4():
    every_kind_of_app(4)


def probes_under_strict_over_ipv6():
    every_kind_of_app(6)


def the_app_sees_the_kubelets_request_from_the_pod_itself():
    with sidecar():
        World.asked.clear()
        status, fields, body = kubelet("/app-health/headers/readyz")
        assert status == 200 and b"secret" not in body and fields["content-type"].startswith("text/plain")
        port, line, fields, peer = World.asked[-1]
        assert (port, line, peer) == (8080, "GET /headers?a=b%20c HTTP/1.1", "::ffff:127.0.0.6"), World.asked[-1]
        assert fields["host"] == "app.local" and fields["authorization"] == "Basic eDp5"
        assert fields["user-agent"] == "kube-probe/1.37" and fields["accept"] == "*/*" and fields["connection"] == "close"
        assert ready("any") == 200
        assert World.asked[-1][2]["host"] == "10.88.0.3:8080"


def lifecycle_handlers():
    with sidecar():
        World.asked.clear()
        assert ready("any", "poststartz") == 200 and World.asked[-1][1].startswith("GET /hook ")
        assert ready("any", "prestopz") == 500  # success to the kubelet
        assert ready("slow", "poststartz") == 204
        assert ready("nobody", "prestopz") is None  # an error to the kubelet, as without us
        assert ready("https-at-http", "prestopz") == 200
        assert World.asked[-1][1].startswith("GET /bye ") and "authorization" not in World.asked[-1][2]


def unknown_paths_dial_nobody():
    with sidecar():
        World.asked.clear()
        for path in ("/app-health/any/prestopz", "/app-health/other/readyz", "/app-health/any/../any/readyz", "/app-health"):
            status, _, body = kubelet(path)
            assert status == 404 and b"/app-health/" in body, (path, status, body)
        assert not World.asked


def the_merged_page():
    with sidecar() as proxy:
        status, fields, body = kubelet("/stats/prometheus", fields=["X-Prometheus-Scrape-Timeout-Seconds: 5"])
        lines = body.decode().splitlines()
        assert status == 200 and fields["content-type"].startswith("text/plain; version=0.0.4")
        assert 'app_requests_total{path="/"} 42' in lines and 'app_bucket{le="1"} 5' in lines
        assert not any("forged" in line or "no line" in line or "EOF" in line for line in lines)
        assert lines.count("# TYPE fairlead_build_info gauge") == 1
        assert proxy.metric("fairlead_app_scrapes_total", result="merged") == 1
        assert proxy.metric("fairlead_app_metrics_lines_dropped_total", reason="collision") == 2
        assert proxy.metric("fairlead_app_metrics_lines_dropped_total", reason="malformed") == 1
        assert b"app_requests" not in kubelet("/stats/prometheus", port=15090)[2]
        assert proxy.admin("/stats/prometheus")[1].count("app_requests") == 0
        accept = [fields["accept"] for _, line, fields, _ in World.asked if "/metrics" in line]
        assert accept and accept[-1].startswith("text/plain;version=0.0.4")


def an_app_never_spoils_the_merged_page():
    cases = [(metrics("/500"), "status"), (metrics(port=8099), "connect"), (metrics("/garbage"), "protocol"), (metrics("/cut"), "protocol"),
             (metrics("/metrics-huge"), "too_large"), (metrics("/hang"), "timeout"), (metrics(scheme="https"), "tls")]
    for app_metrics, result in cases:
        with sidecar(app_metrics=app_metrics) as proxy:
            patience = 3 if result == "timeout" else 30  # what is huge takes a busy machine a while
            status, _, body = kubelet("/stats/prometheus", fields=[f"X-Prometheus-Scrape-Timeout-Seconds: {patience}"])
            assert status == 200 and b"fairlead_build_info{" in body and b"huge" not in body, result
            assert f'fairlead_app_scrapes_total{{result="{result}"}} 1' in body.decode(), result
            assert proxy.metric("fairlead_app_scrapes_total", result=result) == 1
    with sidecar(app_metrics=metrics("/metrics-large")):
        assert kubelet("/stats/prometheus")[2].count(b"large{n=") == 60000
    with sidecar(app_metrics=metrics(scheme="https", port=8443)):
        assert b"app_requests_total" in kubelet("/stats/prometheus")[2]


class Flood:
    """Connections that ask 15020 from pod a's own address as fast as they can."""
    PATHS = ["/app-health/silent/livez", "/stats/prometheus", "/app-health/any/readyz", "/app-health/any-tcp/readyz", "/nothing"]

    def __init__(self, threads=12):
        self.over, self.count = threading.Event(), 0
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        held = []
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                with inside("a"):
                    sock = socket.create_connection((ADDRESS["b", 4], 15020), 1)
                sock.sendall(f"GET {self.PATHS[(number + self.count) % len(self.PATHS)]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                held.append(sock)
                self.count += 1
            while len(held) > 16:  # most are left to wait
                held.pop(0).close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(s.PATIENCE)


def a_flood_on_15020_harms_nobody():
    with sidecar() as proxy:
        before = World.silent.count
        flood = Flood()
        try:
            for step in range(100):
                assert from_mesh()[0] == 200, f"traffic failed at step {step}"
                assert ready("fails") == 500, f"the kubelet was not heard at step {step}"
                if step % 10 == 0:
                    assert proxy.admin("/ready")[0] == 200
        finally:
            flood.stop()
        assert flood.count > 200, flood.count
        assert World.silent.most <= 1, "one probe was asked more than once at a time"
        assert proxy.private_kib() < s.SMALL + 16384, proxy.private_kib()
        assert World.silent.count > before
        eventually(lambda: World.silent.open == 0, "a probe that nobody waits for is not given up")
        assert ready("any") == 200


def hook(role, *words):
    """Exit status and what was said, of the program as a hook runs it: uid 1337, in the pod."""
    command = ["ip", "netns", "exec", NAME[role], "setpriv", "--reuid", str(s.UID), "--regid", str(s.GID), "--clear-groups",
               "--no-new-privs", str(s.RUNNABLE), *words]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=s.PATIENCE, cwd="/", env={**os.environ, **s.SANITIZER})
    return result.returncode, result.stdout


def wait_holds_until_the_proxy_has_started():
    status, said = hook("b", "wait", "--seconds", "0")
    assert status == 1 and said == "fairlead-proxy wait: the proxy has not started within 0 s: port 15021: Connection refused\n", said
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(hook, "b", "wait")
        with sidecar():
            assert held.result(s.PATIENCE) == (0, "")
            assert hook("b", "wait", "--seconds", "5") == (0, "")
    # In pod a nothing captures: the gate stays shut.
    proxy = Proxy("a", (s.GOLDEN / "server-strict.yaml").read_text(), "server", wait=False, environment={"FAIRLEAD_CAPTURE": SPEC})
    proxy.wait_for("start gate waits")
    # Answers are kept waiting while the gate is shut: the last question's time is cut short, and what the one before heard is told.
    status, said = hook("a", "wait", "--seconds", "4")
    assert status == 1 and said.endswith("within 4 s: start gate: waiting\n"), said
    proxy.stop()
    for words in (["wait", "--seconds", "x"], ["wait", "now"], ["drain", "--seconds"], ["wait", "--seconds", "86401"]):
        assert hook("a", *words)[0] == 2, words


def drain_asks_clients_to_leave_and_serves_on():
    status, said = hook("b", "drain")
    assert status == 1 and said == "fairlead-proxy drain: ask the proxy at 127.0.0.1:15000: Connection refused\n", said
    volume = s.volume("hooks")
    with sidecar(options=("--drain-time-s", "20", "--state-dir", volume)) as proxy:
        assert kubelet("/healthz/ready", port=15021)[0] == 200
        status, fields = from_mesh()
        assert status == 200 and "connection" not in fields, fields
        status, said = hook("b", "drain", "--state-dir", "/nowhere")
        assert status == 1 and said.startswith("fairlead-proxy drain: the proxy wants its secret: read /nowhere/"), said
        assert hook("b", "drain", "--seconds", "1", "--state-dir", volume) == (0, "")
        assert hook("b", "drain", "--state-dir", volume) == (0, "")  # again: nothing new
        assert kubelet("/healthz/ready", port=15021)[0] == 503 and kubelet("/healthz/started", port=15021)[0] == 200
        assert proxy.admin("/ready") == (503, "DRAINING\n")
        status, fields = from_mesh()
        assert status == 200 and fields["connection"] == "close", fields
        assert ready("any") == 200 and b"app_requests_total" in kubelet("/stats/prometheus")[2]
        assert proxy.metric("fairlead_draining") == 1
        proxy.stop()


def a_wrong_table_is_refused_by_name():
    proxy = Proxy("b", (s.GOLDEN / "server-strict.yaml").read_text(), "server", wait=False, environment={"FAIRLEAD_PROBES": '{"version":1}'})
    assert "FAIRLEAD_PROBES: $.probes" in proxy.wait_for("stopped")["reason"]
    assert proxy.process.wait(s.PATIENCE) == 1


TESTS = [probes_under_strict_over_ipv4, probes_under_strict_over_ipv6, the_app_sees_the_kubelets_request_from_the_pod_itself,
         lifecycle_handlers, unknown_paths_dial_nobody, the_merged_page, an_app_never_spoils_the_merged_page,
         a_flood_on_15020_harms_nobody, wait_holds_until_the_proxy_has_started, drain_asks_clients_to_leave_and_serves_on,
         a_wrong_table_is_refused_by_name]


def main():
    s.skip_unless_possible()
    if not PLUGIN or not pathlib.Path(PLUGIN).exists():
        print("skipped: no fairlead-cni")
        sys.exit(s.SKIPPED)
    s.program_capture = capture
    s.make_pods()
    run("ip", "-n", NAME["a"], "addr", "add", KUBELET[4] + "/24", "dev", "m0")
    run("ip", "-n", NAME["a"], "addr", "add", KUBELET[6] + "/64", "dev", "m0", "nodad")
    s.make_ca("ca")
    s.make_identity("client", s.CLIENT_ID)
    s.make_identity("server", s.SERVER_ID)
    start_apps()
    s.run_tests([test for test in TESTS if len(sys.argv) < 4 or test.__name__ in sys.argv[3:]])


if __name__ == "__main__":
    main()
