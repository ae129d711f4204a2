#!/usr/bin/env python3
"""Opaque TCP through two proxies on loopback, client → A → B → server: plain and TLS between them; the PROXY protocol in
and out (beside HAProxy where that is installed), half-close in every order, resets, silent and slow peers in bounded
memory.

    proxy_opaque_test.py PROGRAM
"""
import atexit
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

from waiting import PATIENCE, eventually, free_port

PROGRAM = os.path.abspath(sys.argv[1])
SANITIZED = b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()
SANITIZER = {"ASAN_OPTIONS": "quarantine_size_mb=1"} if SANITIZED else {}  # what was freed would count as memory
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="fl-opaque-"))
TYPE = "type.googleapis.com/envoy.extensions."
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
processes = []


def clean_up():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)


# -- what stands around -----------------------------------------------------------------------------------------------

class Server:
    """Every connection goes to `serve` in a thread of its own."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            sock, _ = self.listener.accept()
            sock.settimeout(PATIENCE)
            threading.Thread(target=self.one, args=(sock,), daemon=True).start()

    def one(self, sock):
        with contextlib.suppress(OSError), sock:
            self.serve(sock)


def to_end(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, data
        data += piece
    return data


def dial(port, data=b""):
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    if data:
        sock.sendall(data)
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_pki():
    new = ["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    openssl(*new, "-x509", "-subj", "/CN=ca", "-keyout", FOLDER / "ca.key", "-out", FOLDER / "ca.pem")
    openssl(*new, "-subj", "/CN=x", "-keyout", FOLDER / "key.pem", "-out", FOLDER / "csr")
    (FOLDER / "ext").write_text("subjectAltName=critical,URI:spiffe://cluster.local/ns/demo/sa/x\n")
    openssl("x509", "-req", "-in", FOLDER / "csr", "-CA", FOLDER / "ca.pem", "-CAkey", FOLDER / "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", FOLDER / "ext", "-out", FOLDER / "cert.pem")


# -- proxies ----------------------------------------------------------------------------------------------------------

def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": TYPE + kind, **fields}}


def tls(kind, **fields):
    return typed("tls", f"transport_sockets.tls.v3.{kind}", **fields, common_tls_context={
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}, "alpn_protocols": ["fairlead-tcp/1"],
        "tls_certificates": [{"certificate_chain": {"filename": str(FOLDER / "cert.pem")},
                              "private_key": {"filename": str(FOLDER / "key.pem")}}],
        "validation_context": {"trusted_ca": {"filename": str(FOLDER / "ca.pem")}, "match_typed_subject_alt_names": [
            {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]}})


def told(version, inner=None):
    """A cluster's transport that begins with the PROXY protocol."""
    return typed("pp", "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                 config={"version": f"V{version}"}, **({"transport_socket": inner} if inner else {}))


def hears(**fields):
    return typed("pp", "filters.listener.proxy_protocol.v3.ProxyProtocol", **fields)


class Proxy:
    def __init__(self, name, upstream, listener_filters=(), transport=None, out=None, options=(), **listener):
        self.name, self.port, self.admin = name, free_port(), free_port()
        address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        chain = {"filters": [typed("tcp", "filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="t", cluster="up")],
                 **({"transport_socket": transport} if transport else {})}
        cluster = {"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address(upstream)}}]}]}, **({"transport_socket": out} if out else {})}
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps({
            "node": {"id": name, "cluster": name}, "admin": {"address": address(self.admin)}, "static_resources": {
                "clusters": [cluster],
                "listeners": [{"name": name, "address": address(self.port), "listener_filters": list(listener_filters),
                               "filter_chains": [chain], **listener}]}}))
        self.log = FOLDER / f"{name}.err"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([PROGRAM, "-c", path, "--concurrency", "1", *options], stderr=log,
                                            stdin=subprocess.DEVNULL, env={**os.environ, **SANITIZER})
        processes.append(self.process)
        eventually(self.is_ready, f"{name} is ready")

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("/ready")[0] == 200
        except OSError:
            return False

    def metric(self, name, label=""):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.ask("/stats/prometheus")[1].splitlines()
                   if line.startswith(name) and label in line)

    def private_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(size) for size in re.findall(r"Private_\w+: +(\d+) kB", text))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


@contextlib.contextmanager
def pair(server, secure, **more):
    b = Proxy("b", server.port, transport=tls("DownstreamTlsContext", require_client_certificate=True) if secure else None)
    a = Proxy("a", b.port, out=tls("UpstreamTlsContext") if secure else None, **more)
    yield a, b
    a.stop()
    b.stop()


# -- the PROXY protocol -----------------------------------------------------------------------------------------------

def header_of(sock):
    """(source, destination, what follows) of whoever writes a header first."""
    start = exactly(sock, 12)
    if start != SIGNATURE:
        line = start
        while not line.endswith(b"\r\n"):
            line += exactly(sock, 1)
        words = line.split()
        return (words[2].decode(), int(words[4])), (words[3].decode(), int(words[5])), 1
    command, family, size = struct.unpack("!BBH", exactly(sock, 4))
    assert (command, family, size) == (0x21, 0x11, 12)
    source, destination, source_port, destination_port = struct.unpack("!4s4sHH", exactly(sock, 12))
    return (socket.inet_ntoa(source), source_port), (socket.inet_ntoa(destination), destination_port), 2


def the_client_is_told_through_two_proxies():
    seen = []

    def serve(sock):
        seen.append((*header_of(sock), to_end(sock)))
        sock.sendall(b"answer")

    server = Server(serve)
    for first, second, secure in ((1, 2, False), (2, 1, False), (1, 1, True), (2, 2, True)):
        inside = tls("UpstreamTlsContext") if secure else None
        transport = tls("DownstreamTlsContext", require_client_certificate=True) if secure else None
        b = Proxy("b", server.port, [hears()], transport, told(second))
        a = Proxy("a", b.port, out=told(first, inside))
        with dial(a.port, b"question") as sock:
            sock.shutdown(socket.SHUT_WR)
            assert to_end(sock) == b"answer"
            assert seen.pop() == (sock.getsockname(), ("127.0.0.1", a.port), second, b"question")
        a.stop()
        b.stop()


def headers_from_outside():
    def serve(sock):
        seen = header_of(sock)
        sock.sendall(repr(seen[:2]).encode())
        sock.shutdown(socket.SHUT_WR)
        to_end(sock)

    server = Server(serve)
    proxy = Proxy("p", server.port, [hears()], out=told(2))
    v2 = SIGNATURE + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12 + 300, socket.inet_aton("192.0.2.1"),
                                 socket.inet_aton("192.0.2.2"), 1, 2) + b"\x04\x01\x29" + bytes(297)
    for header, client in ((b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", True), (v2, True), (b"PROXY UNKNOWN\r\n", False),
                           (SIGNATURE + b"\x20\x00\x00\x00", False)):
        for cut in (0, 5, 13, len(header)):
            with dial(proxy.port) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(header[:cut])
                sock.sendall(header[cut:])
                expected = ("192.0.2.1", 1), ("192.0.2.2", 2)
                if not client:
                    expected = sock.getsockname(), ("127.0.0.1", proxy.port)
                assert to_end(sock).decode() == repr(expected), header
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 x y 1 2\r\n", SIGNATURE + b"\x21\x11\xff\xff"):
        with dial(proxy.port, data) as sock:
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
    eventually(lambda: proxy.metric("fairlead_connections_refused_total", 'reason="proxy_protocol"') == 3, "three are counted")
    loop = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 15000\r\n"
    with dial(proxy.port, loop) as sock, contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    eventually(lambda: proxy.metric("fairlead_connections_refused_total", 'reason="loop"') == 1, "the loop is counted")
    proxy.stop()
    optional = Proxy("o", server.port, [hears(allow_requests_without_proxy_protocol=True, disallowed_versions=["V1"])],
                     out=told(1))
    with dial(optional.port, b"PROX IES") as sock:
        assert to_end(sock).decode() == repr((sock.getsockname(), ("127.0.0.1", optional.port)))
    with dial(optional.port, b"PROXY UNKNOWN\r\n") as sock, contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    optional.stop()


def haproxy_as_peer():
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not os.path.exists(program):
        print("without HAProxy: it is not installed")
        return
    server = Server(lambda sock: sock.sendall(sock.recv(100)))
    for word, version in (("send-proxy", 1), ("send-proxy-v2", 2)):
        first, last = free_port(), free_port()
        proxy = Proxy("p", last, [hears()], out=told(version))
        path = FOLDER / "haproxy.cfg"
        path.write_text("defaults\n mode tcp\n timeout connect 5s\n timeout client 9s\n timeout server 9s\n"
                        f"listen first\n bind 127.0.0.1:{first}\n server s 127.0.0.1:{proxy.port} {word}\n"
                        f"frontend last\n bind 127.0.0.1:{last} accept-proxy\n use_backend b\n"
                        f"backend b\n server s 127.0.0.1:{server.port} send-proxy\n")
        haproxy = subprocess.Popen([program, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.append(haproxy)

        def answers():
            assert haproxy.poll() is None
            try:
                return dial(first)
            except OSError:
                return None

        with eventually(answers, "HAProxy listens") as sock:
            sock.sendall(b"x")
            words = sock.recv(100).split()
            assert words[:3] == [b"PROXY", b"TCP4", b"127.0.0.1"] and int(words[4]) == sock.getsockname()[1], words
        haproxy.terminate()
        haproxy.wait(PATIENCE)
        proxy.stop()


# -- ends -------------------------------------------------------------------------------------------------------------

BULK = os.urandom(3 << 20)


def half_close_in_every_order():
    def ends_last(sock):  # the client has ended first
        sock.sendall(to_end(sock)[::-1])

    def ends_first(sock):
        sock.sendall(BULK)
        sock.shutdown(socket.SHUT_WR)
        data = to_end(sock)
        results.append(data)

    results = []
    for secure in (False, True):
        last, first = Server(ends_last), Server(ends_first)
        with pair(last, secure) as (a, _b):
            for data in (b"few", BULK):
                with dial(a.port, data) as sock:
                    sock.shutdown(socket.SHUT_WR)
                    assert to_end(sock) == data[::-1]
            with dial(a.port) as sock:  # nothing at all
                sock.shutdown(socket.SHUT_WR)
                assert to_end(sock) == b""
        with pair(first, secure) as (a, _b):
            with dial(a.port) as sock:
                assert to_end(sock) == BULK
                sock.sendall(b"the client goes on")
                sock.shutdown(socket.SHUT_WR)
                eventually(lambda: results, "the server has heard all")
                assert results.pop() == b"the client goes on"
            with dial(a.port, BULK) as sock:  # both at once
                sock.shutdown(socket.SHUT_WR)
                assert to_end(sock) == BULK
                eventually(lambda: results, "the server has heard all")
                assert results.pop() == BULK


def resets_are_carried():
    heard = []

    def serve(sock):
        first = sock.recv(1)
        if first == b"r":
            reset(sock)
            return
        sock.sendall(b"ok")
        try:
            heard.append(to_end(sock))
        except ConnectionResetError:
            heard.append("reset")

    server = Server(serve)
    for secure in (False, True):
        with pair(server, secure) as (a, _b):
            with dial(a.port, b"r") as sock:
                try:
                    assert False, sock.recv(1)
                except ConnectionResetError:
                    pass
            sock = dial(a.port, b"x")
            assert exactly(sock, 2) == b"ok"
            reset(sock)
            eventually(lambda: heard, "the server hears of the client's end")
            assert heard.pop() == "reset"


def a_slow_reader_costs_no_memory():
    size = (64 if SANITIZED else 1024) << 20

    def serve(sock):
        sock.settimeout(None)
        piece = bytes(1 << 20)
        for _ in range(size >> 20):
            sock.sendall(piece)

    server = Server(serve)
    for secure in (False, True):
        with pair(server, secure) as (a, b):
            with dial(a.port) as sock:
                before = [a.private_kib(), b.private_kib()]
                buffer = memoryview(bytearray(1 << 20))
                got = sock.recv_into(buffer)
                most = [0, 0]
                turn = 0
                while got < size:
                    count = sock.recv_into(buffer)
                    assert count > 0, got
                    got += count
                    turn += 1
                    if turn % (8 if SANITIZED else 256) == 1:
                        most = [max(m, p.private_kib()) for m, p in zip(most, (a, b))]
                limit = 8192 if SANITIZED else 4096
                assert all(m - s < limit for m, s in zip(most, before)), (before, most)


def main():
    atexit.register(clean_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    make_pki()
    for test in (the_client_is_told_through_two_proxies, headers_from_outside, haproxy_as_peer, half_close_in_every_order,
                 resets_are_carried, a_slow_reader_costs_no_memory):
        print(test.__name__.replace("_", " "), flush=True)
        test()


main()
