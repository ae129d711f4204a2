"""Two meshed pods and an outsider for the tests that attack fairlead-proxy: real network namespaces on one bridge,
programmed by fairlead-cni, a real sidecar in each pod as uid and gid 1337, certificates of our own and of strangers.

The test is one process: a socket belongs to the namespace that its thread was in when it was made, so `with inside(ns)`
around socket() is enough to attack from anywhere and to play the app.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

import cni_support as cni

OUTSIDE, CLIENT, SERVER = "10.88.0.1", "10.88.0.2", "10.88.0.3"
GOLDEN = pathlib.Path(cni.TOP) / "tests" / "golden" / "bootstrap"
ALPN = "fairlead-tcp/1"
TIMEOUT = 10


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the namespace; sockets made here stay there."""
    with open("/proc/thread-self/ns/net") as home:
        cni.enter(namespace.path)
        try:
            yield
        finally:
            if cni.libc.setns(home.fileno(), cni.CLONE_NEWNET) != 0:
                raise OSError("setns back")


def listen(namespace, port, address="0.0.0.0", backlog=512):
    with inside(namespace):
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(backlog)
    listener.settimeout(TIMEOUT)
    return listener


def dial(namespace, address, port, timeout=TIMEOUT, receive=None):
    with inside(namespace):
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    if receive is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    connection.connect((address, port))
    return connection


def reset(connection):
    """Closes with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection):
    """Everything until the end, a reset or silence."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except OSError:
        pass
    return data


def read_until(connection, mark):
    data = b""
    while mark not in data:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


def until(what, condition, seconds=TIMEOUT):
    """Polls an outside process, which cannot tell us."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Pki:
    """ca: ours; stranger: another root. Leaves are named by what is wrong with them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for ca in ("ca", "stranger"):
            self.openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-days", "30", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.crt")
        self.leaf("client", "URI:spiffe://cluster.local/ns/demo/sa/client")
        self.leaf("server", "URI:spiffe://cluster.local/ns/demo/sa/server")
        self.leaf("stranger-signed", "URI:spiffe://cluster.local/ns/demo/sa/client", ca="stranger")
        self.leaf("foreign-domain", "URI:spiffe://elsewhere.example/ns/demo/sa/client")
        self.leaf("longer-domain", "URI:spiffe://cluster.local.evil.example/ns/demo/sa/client")
        self.leaf("no-uri", "DNS:client.demo")
        self.leaf("two-uris", "URI:spiffe://cluster.local/ns/demo/sa/client,URI:spiffe://cluster.local/ns/x/sa/y")
        self.leaf("expired", "URI:spiffe://cluster.local/ns/demo/sa/client", days="-1")
        self.leaf("other-server", "URI:spiffe://cluster.local/ns/demo/sa/other")

    def openssl(self, *arguments):
        cni.run("openssl", *arguments, cwd=self.folder)

    def leaf(self, name, names, ca="ca", days="30"):
        self.openssl("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=critical,{names}\nkeyUsage=digitalSignature\n")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial",
                     "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def client_context(self, name, alpn=(ALPN,)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def server_context(self, name, alpn=(ALPN,)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def preface(**fields):
    """The bytes of ALPN fairlead-tcp/1's preface: preface(workload="w")."""
    types = {"workload": 1, "namespace": 2, "app": 3, "version": 4, "cluster": 5, "service": 6, "revision": 7}
    body = b"".join(struct.pack("!BH", types[name], len(value.encode())) + value.encode()
                    for name, value in fields.items())
    return b"FLP\x01" + struct.pack("!H", len(body)) + body


class Proxy:
    """One sidecar. Standard output is its access log, standard error its log."""

    def __init__(self, binary, namespace, folder, name, config, limits=()):
        self.namespace, self.folder, self.name = namespace, folder, name
        self.path = folder / f"{name}.json"
        self.path.write_text(config if isinstance(config, str) else json.dumps(config))
        self.log_path, self.access_path = folder / f"{name}.log", folder / f"{name}.access"
        environment = {**os.environ, "FAIRLEAD_CAPTURE": cni.spec(),
                       "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:quarantine_size_mb=1"}
        command = ["ip", "netns", "exec", namespace.name, *limits, "setpriv", "--reuid", "1337", "--regid", "1337",
                   "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", binary, "-c", str(self.path),
                   "--drain-time-s", "2"]
        with open(self.log_path, "ab") as log, open(self.access_path, "ab") as access:
            self.process = subprocess.Popen(command, env=environment, stdout=access, stderr=log)
        try:
            until(f"{name} opens its start gate", self.is_started)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{name} does not start: {self.log()}") from None

    def is_started(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.log()}")
        try:
            return self.get(15021, "/healthz/started")[0] == 200
        except OSError:
            return False

    def get(self, port, path, method="GET", headers=""):
        with dial(self.namespace, "127.0.0.1", port, timeout=5) as connection:
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
            connection.sendall(request.encode())
            data = read_all(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head:
            raise OSError("no answer")
        return int(head.split()[1]), body.decode()

    def stats(self):
        return self.get(15000, "/stats/prometheus")[1]

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in self.stats().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            wanted = [f'{key}="{value}"' for key, value in labels.items()]
            if match and match[1] == name and all(label in (match[2] or "") for label in wanted):
                total += float(match[3])
        return total

    def rss(self):
        """KiB."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def access(self):
        return self.access_path.read_text(errors="replace")

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self):
        """SIGTERM; 0 where it drained and leaked nothing."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


# What a real sidecar has beside the golden file of a server: the start gate's dial comes back to it.
OUTBOUND = """  listeners:
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
          stat_prefix: PassthroughCluster
          cluster: PassthroughCluster
"""
PASSTHROUGH = """  clusters:
  - name: PassthroughCluster
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 10s
"""


def golden(name, folder):
    text = (GOLDEN / name).read_text()
    if "virtualOutbound" not in text:
        text = text.replace("  listeners:\n", OUTBOUND).replace("  clusters:\n", PASSTHROUGH)
    for there, here in (("cert-chain.pem", "cert.pem"), ("key.pem", "key.pem"), ("root-cert.pem", "ca.pem")):
        text = text.replace(f"/run/fairlead/{there}", f"{folder}/{here}")
    return text


class Mesh:
    """client and server pods, and outside; .start() makes a sidecar of a golden bootstrap."""

    def __init__(self, binaries):
        self.binaries = pathlib.Path(binaries)
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="proxy-attack-")))
        self.folder.chmod(0o777)
        self.pki = Pki(self.folder)
        self.proxies = {}
        self.lan, self.outside = cni.Namespace("lan"), cni.Namespace("out")
        self.client, self.server = cni.Namespace("cli"), cni.Namespace("srv")
        self.lan.ip("link", "add", "br0", "type", "bridge")
        self.lan.ip("link", "set", "br0", "up")
        hosts = ((self.outside, OUTSIDE), (self.client, CLIENT), (self.server, SERVER))
        for number, (namespace, address) in enumerate(hosts):
            cni.run("ip", "link", "add", "eth0", "netns", namespace.name, "type", "veth", "peer", "name", f"p{number}",
                    "netns", self.lan.name)
            self.lan.ip("link", "set", f"p{number}", "master", "br0", "up")
            namespace.ip("link", "set", "lo", "up")
            namespace.ip("addr", "add", f"{address}/24", "dev", "eth0")
            namespace.ip("addr", "add", f"fd88::{address[-1]}/64", "dev", "eth0", "nodad")
            namespace.ip("link", "set", "eth0", "up")
        plugin = cni.Plugin(str(self.binaries / "fairlead-cni"))
        for pod in (self.client, self.server):
            plugin.succeed("ADD", pod.path, cni.config(cni.spec()))

    def secrets(self, name, leaf=None):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        leaf = leaf or name
        for source, target in ((f"{leaf}.crt", "cert.pem"), (f"{leaf}.key", "key.pem"), ("ca.crt", "ca.pem")):
            data = (self.folder / source).read_bytes()
            (folder / (target + ".new")).write_bytes(data)
            (folder / (target + ".new")).chmod(0o644)
            (folder / (target + ".new")).rename(folder / target)
        return folder

    def start(self, role, golden_name=None, change=lambda text: text, limits=(), leaf=None):
        namespace = self.client if role == "client" else self.server
        config = change(golden(golden_name or f"{role}.yaml", self.secrets(role, leaf)))
        self.proxies[role] = Proxy(str(self.binaries / "fairlead-proxy"), namespace, self.folder, role, config, limits)
        return self.proxies[role]

    def stop(self):
        failed = []
        for proxy in self.proxies.values():
            code = proxy.stop()
            if code != 0:
                failed.append(f"{proxy.name}: exit {code}\n{proxy.log()[-6000:]}")
        self.proxies = {}
        return "\n".join(failed)

    def close(self):
        failed = self.stop()
        for namespace in (self.client, self.server, self.outside, self.lan):
            namespace.remove()
        self.stack.close()
        if failed:
                raise AssertionError(failed)

    def meshed(self, leaf="client", alpn=(ALPN,), first=preface(workload="attacker"), port=8080, timeout=TIMEOUT):
        """An mTLS connection from outside straight to the server's sidecar, by a hand-made client."""
        plain = dial(self.outside, SERVER, port, timeout)
        connection = self.pki.client_context(leaf, alpn).wrap_socket(plain)
        if first:
            connection.sendall(first)
        return connection


class App:
    """The server's app: hands every accepted connection to `handle` in a thread of its own."""

    def __init__(self, namespace, handle, port=8080, address="0.0.0.0"):
        self.listener = listen(namespace, port, address)
        self.handle = handle
        self.connections = []
        self.errors = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        self.listener.settimeout(None)
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(30)
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            self.handle(connection)
        except OSError:
            pass
        except Exception as error:  # shown by the test
            self.errors.append(repr(error))
        finally:
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:  # their threads close them
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def echo_head(connection):
    """An honest app: answers each request with its own head and body's length, keep-alive."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return
            data += part
        head, _, data = data.partition(b"\r\n\r\n")
        body = b""
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            while len(data) < int(length[1]):
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            body, data = data[:int(length[1])], data[int(length[1]):]
        elif re.search(rb"(?i)\r\ntransfer-encoding", head):
            while not data.endswith(b"0\r\n\r\n") and b"\r\n0\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            _, _, data = data.partition(b"0\r\n\r\n")
        answer = head + b"\r\nbody: %d" % len(body)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
