"""HBONE: tunnels by CONNECT over HTTP/2 and mTLS on port 15008, between two of ours and with clients made by hand.

    proxy_hbone_test.py <fairlead-proxy>

Pod a's sidecar reaches pod b's through tunnels alone: opaque bytes (9000) and HTTP (8080).
"""
import contextlib
import os
import re
import signal
import socket
import struct

import proxy_support as support
from proxy_support import ADDRESS, CLIENT_ID, FOLDER, GOLDEN, NAME, SERVER_ID, Client, Origin, Proxy, Reader, dial, eventually, get

B = ADDRESS["b", 4]
HBONE = 15008
BIG = 32 << 20

LISTENER = """
  - name: hbone
    traffic_direction: INBOUND
    address: {socket_address: {address: "::", port_value: 15008, ipv4_compat: true}}
    bind_to_port: false
    filter_chains:
    - name: hbone
%s
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hbone
          codec_type: HTTP2
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            name: hbone
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: virtualInbound, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""
DENY = """
      - name: rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
          stat_prefix: p
          rules: {action: ALLOW, policies: {client: {permissions: [{any: true}], principals: [{authenticated: {principal_name: {exact: "%s"}}}]}}}
""".strip("\n")


def server_config():
    """The golden server under STRICT, with the listener of tunnels; bytes are for the client's identity alone."""
    text = (GOLDEN / "server-strict.yaml").read_text()
    socket_ = re.search(r"      transport_socket:\n(?:        .*\n)+", text)[0].replace("fairlead-tcp/1", "h2").rstrip("\n")
    chain = text.index("      name: tcp")
    filters = text.index("      filters:\n", chain) + len("      filters:\n")
    text = text[:filters] + DENY % CLIENT_ID + "\n" + text[filters:]
    text = text.replace("    listener_filters:", "    use_original_dst: true\n    listener_filters:", 1)  # it hands over
    return text.replace("  clusters:", (LISTENER % socket_).strip("\n") + "\n  clusters:", 1)


def client_config():
    """The golden client, whose endpoints are behind tunnels."""
    text = support.client_config().replace("alpn_protocols: [fairlead-tcp/1]", "alpn_protocols: [h2]")
    for port in (8080, 9000):
        endpoint = f"        - endpoint: {{address: {{socket_address: {{address: 10.88.0.3, port_value: {port}}}}}}}\n"
        assert endpoint in text
        text = text.replace(endpoint, endpoint + "          metadata: {filter_metadata: {envoy.transport_socket_match: {tunnel: http}}}\n")
    return text


# -- HTTP/2 by hand ---------------------------------------------------------------------------------------------------

DIGITS = ["00000", "00001", "00010", "011001", "011010", "011011", "011100", "011101", "011110", "011111"]  # RFC 7541, appendix B
STATUS = {0x88: 200, 0x8c: 400, 0x8d: 404}


def status_of(block):
    """:status at the beginning of a header block."""
    while block[0] & 0xe0 == 0x20:  # the table's size
        block = block[1:]
    if block[0] in STATUS:
        return STATUS[block[0]]
    assert block[0] & 0x0f == 8, block
    huffman, size = block[1] & 0x80, block[1] & 0x7f
    value = block[2:2 + size]
    if not huffman:
        return int(value)
    bits, out = "".join(f"{byte:08b}" for byte in value), ""
    while len(out) < 3:
        digit = next(i for i, code in enumerate(DIGITS) if bits.startswith(code))
        bits, out = bits[len(DIGITS[digit]):], out + str(digit)
    return int(out)


class Tunnels:
    """A connection of HTTP/2 over mTLS, and CONNECT over it."""

    def __init__(self, identity="client", role="a", to=B, window=1 << 20):
        sock = dial(role, to, HBONE, as_proxy=True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = support.tls_client(identity, "h2").wrap_socket(sock, suppress_ragged_eofs=True)
        self.reader = Reader(self.sock)
        self.next = 1
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, struct.pack(">HIHI", 4, window, 3, 100))

    def frame(self, kind, flags, stream, payload=b""):
        self.sock.sendall(struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload)

    def read(self):
        """The next frame that says something to us: (kind, flags, stream, payload)."""
        while True:
            head = self.reader.exactly(9)
            kind, flags = head[3], head[4]
            stream = struct.unpack(">I", head[5:])[0]
            payload = self.reader.exactly(int.from_bytes(head[:3], "big"))
            if kind == 4 and not flags & 1:
                self.frame(4, 1, 0)
            elif kind == 6 and not flags & 1:
                self.frame(6, 1, 0, payload)
            elif kind == 7 and struct.unpack(">I", payload[4:8])[0] != 0:
                raise AssertionError(f"GOAWAY {payload!r}")
            elif kind not in (4, 6, 7, 8):
                return kind, flags, stream, payload

    def ask(self, authority, method="CONNECT", more=b""):
        stream, self.next = self.next, self.next + 2
        block = b""
        for name, value in ((b":method", method.encode()), (b":authority", authority.encode())):
            block += bytes((0, len(name))) + name + bytes((len(value),)) + value
        self.frame(1, 4, stream, block + more)
        return stream

    def connect(self, authority, **how):
        """A status, or "reset"."""
        stream = self.ask(authority, **how)
        while True:
            kind, _, on, payload = self.read()
            if on == stream and kind in (1, 3):
                return stream, status_of(payload) if kind == 1 else "reset"

    def status(self, authority, **how):
        return self.connect(authority, **how)[1]

    def data(self, stream, text, end=False):
        self.frame(0, 1 if end else 0, stream, text)

    def to_end(self, stream):
        """What comes until the stream's end, with windows given; and how it ended."""
        text, used = bytearray(), 0
        while True:
            kind, flags, on, payload = self.read()
            if on != stream:
                continue
            if kind == 3:
                return bytes(text), "reset"
            text += payload
            used += len(payload)
            if used >= 32768:
                for on in (0, stream):
                    self.frame(8, 0, on, struct.pack(">I", used))
                used = 0
            if flags & 1:
                return bytes(text), "end"

    def close(self):
        self.sock.close()


# -- servers ----------------------------------------------------------------------------------------------------------

def serve_bytes(sock):
    """By the first byte: e echo until the end, then a word; b big and end; s sink, and how much it was; r reset; w a
    word first of all."""
    word = sock.recv(1)
    if word == b"e":
        while piece := sock.recv(65536):
            sock.sendall(piece)
        sock.sendall(b"bye")
    elif word == b"b":
        piece = bytes(range(256)) * 256
        for _ in range(BIG // len(piece)):
            sock.sendall(piece)
    elif word == b"s":
        size = 0
        while piece := sock.recv(65536):
            size += len(piece)
        sock.sendall(str(size).encode())
    elif word == b"r":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve_http(sock):
    reader = Reader(sock)
    while True:
        line, fields = reader.head()
        text = f"{line} {fields.get('x-forwarded-client-cert', '')}".encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


class World:
    """What the tests share: they run in their order."""


# -- two of ours ------------------------------------------------------------------------------------------------------

def test_bytes():
    Origin(9000, serve_bytes)
    Origin(8080, serve_http)
    World.banner = Origin(9001, lambda sock: sock.sendall(b"220 hello\r\n"))
    World.b = Proxy("b", server_config(), "server")
    World.a = Proxy("a", client_config(), "client")
    sock = dial("a", "b", 9000)
    sock.sendall(b"ehello")
    reader = Reader(sock)
    assert reader.exactly(5) == b"hello"
    sock.shutdown(socket.SHUT_WR)
    assert reader.to_end() == b"bye", "the server's end after the client's"
    assert World.b.metric("istio_tcp_connections_opened_total", reporter="destination", source_principal=CLIENT_ID,
                          connection_security_policy="mutual_tls") >= 1
    assert World.a.metric("istio_tcp_connections_opened_total", destination_principal=SERVER_ID) >= 1


def test_one_connection_is_shared():
    socks = [dial("a", "b", 9000) for _ in range(20)]
    for i, sock in enumerate(socks):
        sock.sendall(b"e%d" % i)
    for i, sock in enumerate(socks):
        assert Reader(sock).exactly(len(str(i))) == b"%d" % i
    found = support.run("ip", "netns", "exec", NAME["a"], "ss", "-Htn", "state", "established", f"dport = :{HBONE}").splitlines()
    workers = 2  # at most, in this test
    assert 1 <= len([line for line in found if line.strip()]) <= workers, found
    for sock in socks:
        sock.close()


def test_big():
    sock = dial("a", "b", 9000)
    sock.sendall(b"b")
    text = Reader(sock).to_end()
    assert len(text) == BIG and text == bytes(range(256)) * (BIG // 256)
    sock = dial("a", "b", 9000)
    sock.sendall(b"s")
    for _ in range(BIG >> 16):
        sock.sendall(b"x" * 65536)
    sock.shutdown(socket.SHUT_WR)
    assert Reader(sock).to_end() == str(BIG).encode()


def test_a_slow_reader_holds_nobody():
    slow = dial("a", "b", 9000)
    slow.sendall(b"b")
    test_bytes_again()
    for proxy in (World.a, World.b):
        assert proxy.private_kib() < support.SMALL * 2, "what a reader does not take is bounded"
    assert len(Reader(slow).to_end()) == BIG


def test_bytes_again():
    sock = dial("a", "b", 9000)
    sock.sendall(b"eagain")
    assert Reader(sock).exactly(5) == b"again"
    sock.close()


def test_a_reset_is_one():
    sock = dial("a", "b", 9000)
    sock.sendall(b"r")
    try:
        assert sock.recv(1) == b"", "a reset is no byte"
        raise AssertionError("a reset came as an end")
    except ConnectionResetError:
        pass


def test_http():
    client = Client("a", "b", 8080)
    for path in ("/one", "/two"):
        status, _, body = client.ask(get(path))
        assert status == 200 and f"GET {path}".encode() in body, body
    assert World.b.metric("istio_requests_total", reporter="destination", source_principal=CLIENT_ID,
                          connection_security_policy="mutual_tls") >= 2
    assert World.a.metric("istio_requests_total", reporter="source", destination_principal=SERVER_ID, response_code="200") >= 2


# -- by hand ----------------------------------------------------------------------------------------------------------

def test_by_hand():
    tunnels = Tunnels()
    one, status = tunnels.connect(f"{B}:9000")
    assert status == 200, status
    two, status = tunnels.connect(f"{B}:8080")
    assert status == 200, status
    tunnels.data(one, b"ehello", end=True)
    assert tunnels.to_end(one) == (b"hellobye", "end")
    tunnels.data(two, get("/by-hand", "Connection: close").encode())
    text, how = tunnels.to_end(two)
    assert how == "end" and text.startswith(b"HTTP/1.1 200") and b"/by-hand" in text, text
    three, status = tunnels.connect(f"{B}:9000")
    tunnels.data(three, b"b")
    text, how = tunnels.to_end(three)
    assert status == 200 and how == "end" and len(text) == BIG
    four, status = tunnels.connect(f"{B}:9000")
    tunnels.data(four, b"r")
    assert tunnels.to_end(four) == (b"", "reset")
    five, status = tunnels.connect(f"{B}:9001")
    assert tunnels.to_end(five)[0] == b"220 hello\r\n", "a server that speaks first"
    six, status = tunnels.connect(f"{B}:1")
    assert tunnels.to_end(six)[1] == "reset", "where nobody listens"
    tunnels.close()


def test_attacks():
    """A certificate of the mesh opens this pod's ports, by its own address, and nothing else."""
    tunnels = Tunnels()
    for authority in ("127.0.0.1:9000", "127.0.0.1:15000", "[::1]:9000", "[::ffff:127.0.0.1]:9000", "0.0.0.0:9000",
                      f"{ADDRESS['a', 4]}:8080", f"[{ADDRESS['b', 6]}]:9000", "server.demo:9000", "localhost:9000",
                      f"{B}:15000", f"{B}:15001", f"{B}:15006", f"{B}:15008", f"{B}:15020", f"{B}:15090", f"{B}:0"):
        assert tunnels.status(authority) == 400, authority
    for authority in (B, f"{B}:", f"{B}:99999", f"{B}:x", ":9000", "", f"user@{B}:9000", f"{B}:9000/x"):
        assert tunnels.status(authority) in (400, "reset"), authority
    assert tunnels.status(f"{B}:9000", method="GET", more=b"\x84\x87") == 404
    tunnels.data(tunnels.connect(f"{B}:9000")[0], b"e")
    assert tunnels.status(f"{B}:9000") == 200, "the connection goes on"
    tunnels.close()


def test_who_is_not_allowed():
    tunnels = Tunnels("stranger")
    assert tunnels.status(f"{B}:9000") == 401, "the policy of bytes"
    assert tunnels.status(f"{B}:8080") == 200, "HTTP has none"
    tunnels.close()
    for identity, alpn in ((None, "h2"), ("outsider", "h2")):
        with contextlib.suppress(OSError), dial("a", B, HBONE, as_proxy=True) as raw:
            sock = support.tls_client(identity, alpn).wrap_socket(raw)
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
            assert sock.recv(1) == b"", "no certificate, no answer"
    with dial("a", B, HBONE, as_proxy=True) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with contextlib.suppress(OSError):
            assert b"HTTP" not in raw.recv(100), "plaintext"


def test_the_connection_breaks():
    """Tunnels end with what carries them, and those at the other end hear of it."""
    tunnels = Tunnels()
    stream, _ = tunnels.connect(f"{B}:9000")
    tunnels.data(stream, b"ex")
    before = World.b.metric("istio_tcp_connections_closed_total", reporter="destination")
    tunnels.close()
    eventually(lambda: World.b.metric("istio_tcp_connections_closed_total", reporter="destination") > before, "it lives on")


def test_reload_denies():
    """A policy that changes ends what it would not let in."""
    sock = dial("a", "b", 9000)
    sock.sendall(b"ex")
    assert Reader(sock).exactly(1) == b"x"
    text = server_config().replace(CLIENT_ID, "spiffe://cluster.local/ns/demo/sa/nobody")
    (FOLDER / "b.new").write_text(text.replace("/run/fairlead", str(FOLDER / "server")).replace(support.ALPN_TCP, support.ALPN))
    os.rename(FOLDER / "b.new", FOLDER / "b.yaml")
    World.b.process.send_signal(signal.SIGHUP)
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b"", "it was not ended"
    with contextlib.suppress(ConnectionResetError):
        refused = dial("a", "b", 9000)  # reset before or after connect() has returned
        refused.sendall(b"ex")
        assert refused.recv(1) == b""


def test_they_end_well():
    slow = dial("a", "b", 8080)
    World.a.stop()
    World.b.stop()
    slow.close()


def main():
    support.skip_unless_possible()
    support.make_pods()
    support.make_ca("ca")
    support.make_ca("other-ca")
    support.make_identity("client", CLIENT_ID)
    support.make_identity("server", SERVER_ID)
    support.make_identity("stranger", "spiffe://cluster.local/ns/demo/sa/stranger")
    support.make_identity("outsider", CLIENT_ID, authority="other-ca")
    support.run_tests([test_bytes, test_one_connection_is_shared, test_big, test_a_slow_reader_holds_nobody, test_a_reset_is_one,
                       test_http, test_by_hand, test_attacks, test_who_is_not_allowed, test_the_connection_breaks,
                       test_reload_denies, test_they_end_well])


if __name__ == "__main__":
    main()
