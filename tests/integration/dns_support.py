"""What the tests of the DNS port share: a pod whose DNS is captured by the plugin, its peer with a small authoritative
server of ours, the proxy, and applications with their own resolvers.

    pod 10.77.0.2, fd77::2 ──veth── peer 10.77.0.1, fd77::1, and further addresses of servers
"""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import cni_support as cni
from waiting import PATIENCE, eventually

POD4, PEER4, POD6, PEER6 = "10.77.0.2", "10.77.0.1", "fd77::2", "fd77::1"
SECOND4 = "10.77.0.53"  # another server's
PORT = 15053
A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, UNKNOWN = 1, 2, 5, 6, 12, 16, 28, 33, 41, 65280
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
libc = ctypes.CDLL(None, use_errno=True)

CONFIG = """
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 15000}}
static_resources:
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
          stat_prefix: PassthroughCluster
          cluster: PassthroughCluster
  clusters:
  - name: PassthroughCluster
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 10s
"""


# -- messages ---------------------------------------------------------------------------------------------------------

def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def query(name, kind=A, ident=0x1234, flags=0x0100, edns=None, options=b""):
    extra = b"" if edns is None else b"\0" + struct.pack(">HHIH", OPT, edns, 0, len(options)) + options
    return struct.pack(">6H", ident, flags, 1, 0, 0, edns is not None) + name_bytes(name) + struct.pack(">HH", kind, 1) + extra


def record(kind, ttl, data, owner=b"\xc0\x0c"):
    return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def question_end(packet):
    at = 12
    while packet[at] != 0:
        at += packet[at] + 1
    return at + 5


def question(packet):
    labels, at = [], 12
    while packet[at] != 0:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += packet[at] + 1
    return ".".join(labels), struct.unpack_from(">H", packet, at + 1)[0]


def limit(packet):
    """Bytes that the client of a query takes by UDP."""
    end = question_end(packet)
    return max(512, struct.unpack_from(">H", packet, end + 3)[0]) if struct.unpack_from(">H", packet, 10)[0] else 512


def answer(packet, answers=(), authority=(), rcode=NOERROR, flags=0x8580):
    edns = record(OPT, 0, b"", b"\0")[:3] + struct.pack(">HIH", 1232, 0, 0) if struct.unpack_from(">H", packet, 10)[0] else b""
    return packet[:2] + struct.pack(">5H", flags | rcode, 1, len(answers), len(authority), bool(edns)) + \
        packet[12:question_end(packet)] + b"".join(answers) + b"".join(authority) + edns


SOA_RECORD = record(SOA, 60, name_bytes("ns.test") + name_bytes("me.test") + struct.pack(">5I", 1, 2, 3, 4, 30))


class Answer:
    def __init__(self, packet):
        self.packet = packet
        self.id, self.flags, _, self.count, self.authority, self.additional = struct.unpack_from(">6H", packet)
        self.rcode, self.truncated = self.flags & 15, bool(self.flags & 0x200)
        self.ttls, self.data = [], []
        at = question_end(packet) if len(packet) > 12 else 12
        for _ in range(self.count):
            at += 2 if packet[at] >= 0xc0 else packet.index(b"\0", at) + 1 - at
            ttl, size = struct.unpack_from(">IH", packet, at + 4)
            self.ttls.append(ttl)
            self.data.append(packet[at + 10:at + 10 + size])
            at += 10 + size


# -- the server -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def inside(namespace, uid=0, gid=0):
    """This thread, in the network namespace; its sockets belong to uid and gid."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    cni.enter(namespace.path)
    libc.setfsgid(gid)
    libc.setfsuid(uid)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)
        libc.setns(home, 0x40000000)
        os.close(home)


class Server:
    """Answers from `self.zone`, {(name, type): records}; other names do not exist. What was asked is in `self.asked`:
    (name, type, "udp" or "tcp", the asking address)."""

    def __init__(self, namespace, address=PEER4):
        self.namespace, self.address = namespace, address
        self.zone, self.names, self.asked = {}, set(), []
        self.hook = None  # hook(server, packet, send) → True: has seen to it
        self.lock = threading.Lock()
        self.start()

    def put(self, name, kind, *records):
        self.zone[name.lower(), kind] = records
        self.names.add(name.lower())

    def start(self):
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with inside(self.namespace):
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.bind((self.address, 53))
        self.tcp.bind((self.address, 53))
        self.tcp.listen(64)
        self.threads = [threading.Thread(target=serve, args=(sock,), daemon=True)
                        for serve, sock in ((self.serve_udp, self.udp), (self.serve_tcp, self.tcp))]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Nothing listens any more when this returns: a thread within recvfrom would keep the port."""
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(PATIENCE)
        for sock in (self.udp, self.tcp):
            sock.close()

    def serve_udp(self, sock):
        while True:
            try:
                packet, peer = sock.recvfrom(65535)
            except OSError:
                return
            if not packet:  # it is shut down
                return
            with contextlib.suppress(OSError):
                self.one(packet, "udp", peer, lambda data, peer=peer: sock.sendto(data, peer))

    def serve_tcp(self, sock):
        while True:
            try:
                client, peer = sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_connection, args=(client, peer), daemon=True).start()

    def serve_connection(self, client, peer):
        with contextlib.suppress(OSError, EOFError), client:
            client.settimeout(PATIENCE)
            while True:
                packet = receive_tcp(client)
                self.one(packet, "tcp", peer, lambda data: client.sendall(struct.pack(">H", len(data)) + data))

    def one(self, packet, transport, peer, send):
        name, kind = question(packet)
        with self.lock:
            self.asked.append((name.lower(), kind, transport, peer[0]))
        if self.hook is not None and self.hook(self, packet, send):
            return
        records = self.zone.get((name.lower(), kind))
        if records is None:
            send(answer(packet, authority=[SOA_RECORD], rcode=NOERROR if name.lower() in self.names else NXDOMAIN))
            return
        whole = answer(packet, records)
        if transport == "udp" and len(whole) > limit(packet):
            fit = [one for i, one in enumerate(records) if len(answer(packet, records[:i + 1])) <= limit(packet)]
            whole = answer(packet, fit, flags=0x8780)
        send(whole)

    def count(self, name, kind=A, transport=None):
        with self.lock:
            return sum(1 for asked in self.asked if asked[0] == name and asked[1] == kind and transport in (None, asked[2]))


def receive_tcp(sock):
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack_from(">H", data)[0]:
        piece = sock.recv(65535)
        if not piece:
            raise EOFError
        data += piece
    return data[2:]


# -- the pod ----------------------------------------------------------------------------------------------------------

class Pod:
    """The pod, its peer and the proxy in it. `resolv` is the text of everybody's resolv.conf."""

    def __init__(self, program, plugin, resolv=f"nameserver {PEER4}\n", capture=None, environment=None, config=CONFIG):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fl-dns-"))
        os.chmod(self.folder, 0o755)
        self.pod, self.peer = cni.Namespace("pod"), cni.Namespace("peer")
        cni.connect_pair(self.pod, self.peer, 77)
        self.pod.ip("route", "add", "default", "via", PEER4)
        self.peer.ip("addr", "add", f"{SECOND4}/32", "dev", "lo")
        self.spec = capture or cni.spec(dns=True)
        plugin.succeed("ADD", self.pod.path, cni.config(self.spec))
        self.resolv = self.folder / "resolv.conf"
        self.write_resolv(resolv)
        shutil.copy(program, self.folder / "proxy")
        (self.folder / "config.yaml").write_text(config)
        self.sockets = []
        self.start(environment or {})

    def start(self, environment, wait=True):
        options = ["-c", self.folder / "config.yaml"] if (self.folder / "config.yaml").read_text() else []
        self.log = open(self.folder / "log", "ab+")
        self.process = subprocess.Popen(
            ["nsenter", f"--net={self.pod.path}", "setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", self.folder / "proxy",
             *options, "-l", "debug"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1", "FAIRLEAD_CAPTURE": self.spec,
                 "FAIRLEAD_RESOLV_CONF": str(self.resolv), **environment})
        if wait:
            self.wait_for("DNS servers")
            eventually(lambda: self.asks_at_all(), "the DNS port is open")

    def asks_at_all(self):
        assert self.process.poll() is None, self.text()
        try:
            return self.ask(query("x", flags=0x2900), "127.0.0.1", PORT).rcode == NOTIMP
        except OSError:
            return False

    def write_resolv(self, text):
        """In place, as the kubelet's bind mount has it."""
        self.resolv.write_text(text)

    def text(self):
        return (self.folder / "log").read_text(errors="replace")

    def lines(self, message):
        return [json.loads(line) for line in self.text().splitlines() if f'"{message}"' in line]

    def wait_for(self, message, count=1):
        eventually(lambda: len(self.lines(message)) >= count or self.process.poll() is not None, f"{message!r} in the log")
        assert len(self.lines(message)) >= count, self.text()

    def remove(self):
        for sock in self.sockets:
            sock.close()
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0, self.text()
        self.log.close()
        self.pod.remove()
        self.peer.remove()
        shutil.rmtree(self.folder)

    # -- what applications do --

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, uid=1000, gid=1000):
        with inside(self.pod, uid, gid):
            sock = socket.socket(family, kind)
        sock.settimeout(PATIENCE)
        return sock

    def ask(self, packet, address=PEER4, port=53):
        """By UDP, from the application."""
        with self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.connect((address, port))
            sock.send(packet)
            return Answer(sock.recv(65535))

    def connect(self, address=PEER4, port=53):
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.connect((address, port))
        return sock

    def ask_tcp(self, packet, address=PEER4):
        with self.connect(address) as sock:
            sock.sendall(struct.pack(">H", len(packet)) + packet)
            return Answer(receive_tcp(sock))

    def run(self, *command, resolv=None, environment=None):
        """A program of the application, with the pod's resolv.conf; its output."""
        script = f'mount --bind {resolv or self.resolv} /etc/resolv.conf && exec setpriv --reuid=1000 --regid=1000 --clear-groups "$@"'
        return subprocess.run(["nsenter", f"--net={self.pod.path}", "unshare", "--mount", "sh", "-c", script, "sh", *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
                              env={**os.environ, **(environment or {})}).stdout

    # -- what operators see --

    def admin(self, path):
        with self.socket(kind=socket.SOCK_STREAM) as sock:
            sock.connect(("127.0.0.1", 15000))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return data.decode()

    def metric(self, name, **labels):
        total = 0.0
        for line in self.admin("/stats/prometheus").splitlines():
            if line.startswith(name) and line[len(name):len(name) + 1] in ("{", " ") and \
                    all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def private_kib(self):
        lines = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
